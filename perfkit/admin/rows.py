"""What becomes of a row of a file on its way into the table."""

from __future__ import annotations

from typing import Any, NamedTuple

from django.db import models

Values = dict[str, Any]
"""Of a row, by the fields' `attname`."""


class Problem(NamedTuple):
    """What is wrong with a value; `field` is the name of the model's field, None where it is not one alone."""

    field: str | None
    text: str


class CleanRow(NamedTuple):
    """A row with nothing wrong that shows before it is written.

    Attributes:
        links: What it refers to by its relations to many, by name.
    """

    values: Values
    links: dict[str, list[Any]]


class Existing(NamedTuple):
    """The rows of the table that those of a file may mean.

    Attributes:
        key: The names of the fields by which they are found.
        is_required: Whether each row of the file has to be one of these.
    """

    rows: models.QuerySet[Any]
    key: tuple[str, ...]
    is_required: bool


Cleaned = CleanRow | list[Problem]
