"""Calls that write the same table one after the other, so that none of them can deadlock (PostgreSQL).

# Note [Turns]

A call of several statements holds the rows of the first while it waits for those of the second.
Two such calls over the same rows in another order would wait for each other.
So each takes the table's advisory lock before its first row, and gives it back as its transaction ends.
Nobody else looks at that lock: `save`, and calls of one statement, go on beside it.
"""

from __future__ import annotations

from typing import Final

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

NUMBER: Final = 1_885_500_011
"""The first half of the lock's number; the other is the table's."""


def take_turn(connection: BaseDatabaseWrapper, model: type[models.Model]) -> None:
    """Wait until no other such call writes the table. See Note [Turns]. Queries: one."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_advisory_xact_lock(%s, (%s::regclass::oid::int8 - 2147483648)::int4)",
            [NUMBER, connection.ops.quote_name(model._meta.db_table)],
        )
