"""Fixture plugins: one per kind of server, and what makes a run quick."""
