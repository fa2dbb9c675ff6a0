"""Vectors made of single events."""

from __future__ import annotations

from perfkit.monitoring.ledgers import Vector
from perfkit.monitoring.series import Series, vector_of


def add_event(vector: Vector, series: Series, first: int, second: int, third: int) -> None:
    """Add one event to the vector of its series."""
    for index, number in vector_of(series.kind, [(first, second, third)]).items():
        vector[index] = vector.get(index, 0) + number
