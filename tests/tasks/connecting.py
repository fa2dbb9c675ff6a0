"""A task that tells which connection it was done on."""

from __future__ import annotations

from celery import shared_task
from django.db import connection


@shared_task(name="tests.quick.session")
def session() -> int:
    """Return the process of the server that this worker's connection has."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


@shared_task(name="tests.quick.spoil")
def spoil() -> int:
    """Lose the connection within the task, and leave a transaction open on the next one."""
    connection.set_autocommit(False)
    return session()
