"""A write that is done as in earnest and taken back, to see whether it would succeed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connections, transaction

from perfkit.bulk.plan import RowPlan


@contextmanager
def taken_back(plan: RowPlan, alias: str) -> Iterator[None]:
    """Do what is done within, look whether it would hold at COMMIT, and roll it back.

    Raises:
        IntegrityError: It would not hold at COMMIT.
    """
    connection = connections[alias]
    with transaction.atomic(using=alias):
        if connection.vendor == "postgresql" and not plan.refers_to_itself:  # as in a transaction of its own
            with connection.cursor() as cursor:
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        yield
        connection.check_constraints(table_names=[plan.model._meta.db_table])
        transaction.set_rollback(True, using=alias)
