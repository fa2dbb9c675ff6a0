"""Writes over HTTP: many rows at once, each request once, and work after the answer."""
