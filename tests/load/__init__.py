"""The demo under load, on real servers that are killed meanwhile: `make load`."""
