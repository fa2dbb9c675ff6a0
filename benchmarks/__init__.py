"""perfkit against its peers, room by room: `python -m benchmarks.run ROOM`."""
