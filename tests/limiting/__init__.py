"""Tests of the room `limiting`."""
