"""Cached functions and methods: `cached`, and `invalidates`."""
