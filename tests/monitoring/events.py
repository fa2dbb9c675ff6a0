"""Vectors made of single events."""

from __future__ import annotations

from perfkit.monitoring.ledgers import Vector, add_to
from perfkit.monitoring.series import Series, vector_of


def add_event(vector: Vector, series: Series, first: int, second: int, third: int) -> None:
    """Add one event to the vector of its series."""
    add_to(vector, vector_of(series.kind, [(first, second, third)]).items())
