"""Tells a database that cannot be reached from a statement that is wrong."""

from __future__ import annotations

from typing import Final

from django.db import OperationalError

UNAVAILABLE: Final = "Temporarily unavailable."
"""What clients are told; the cause is for the log."""

# Connection exceptions, the three ways of a server to go down or come up, and no place for one more connection.
STATES: Final = ("08", "57P01", "57P02", "57P03", "53300")


def is_outage(error: BaseException) -> bool:
    """Tell whether an error of Django's means that no connection could be had, or that one was lost.

    So it is where the server is down, starts or stops, refuses the connection, has no place for one more, or ends
    the session, and where a pool has none in time. What the statement did before that is rolled back, save that
    nobody knows of a COMMIT whose answer was lost.

    All other errors are not: a deadlock or a time limit, say, is an answer of a server that is well.
    On SQLite nothing is, for there is no server.

    Source:
        PostgreSQL manual, appendix "PostgreSQL Error Codes"; an error of the driver's own has no code, and libpq's
        errors that are no connection's are of other classes.
    """
    if not isinstance(error, OperationalError):
        return False
    cause = error.__cause__
    for name in ("sqlstate", "pgcode"):  # of psycopg, and of psycopg2
        if hasattr(cause, name):
            state = getattr(cause, name)
            return state is None or str(state).startswith(STATES)
    return False
