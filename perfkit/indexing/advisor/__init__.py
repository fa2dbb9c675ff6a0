"""Says which indexes a database lacks and which it could do without, and proves it."""
