"""An app whose migrations use every operation of the room; installed by the tests that run them."""
