"""Prepared statements: on which connections they may be used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper

PREPARE_WHEN_ASKED: Final = 2**31 - 1
"""A `prepare_threshold` that no statement reaches: psycopg prepares what asks for it, and nothing else.

With None, which is what Django gives it, psycopg ignores `prepare=True` without a word.
"""


def may_prepare(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether `execute(…, prepare=True)` of a psycopg cursor is obeyed on this connection, and safe.

    It is where the database's OPTIONS have a `prepare_threshold`, and no pooler is declared that gives each
    transaction another session: there a statement that one session prepared is unknown to the next.

    Django's own cursors put the values into the text and never prepare;
    `psycopg.Cursor(connection.connection)` does.

    Queries:
        None; connects where it is not yet connected.

    Source:
        psycopg manual, "Prepared statements".
    """
    if connection.vendor != "postgresql" or is_behind_pooler(connection.settings_dict):
        return False
    connection.ensure_connection()
    # Of psycopg 2 there is none.
    return getattr(connection.connection, "prepare_threshold", None) is not None


def is_behind_pooler(settings: Mapping[str, Any]) -> bool:
    """Tell whether this entry of DATABASES declares a pooler in transaction mode, in the way of Django's manual.

    Source:
        Django manual, "Databases: transaction pooling and server-side cursors".
    """
    return bool(settings.get("DISABLE_SERVER_SIDE_CURSORS"))
