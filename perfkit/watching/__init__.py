"""What runs on the database's connections: each statement as it is sent, its text, and the lines that sent it.

`watch_connections` puts a function around every statement of the process.
`calls` yields the project's own lines that led to a frame, `normalised` returns SQL without the values in it.
"""

from perfkit.watching.awaited import AwaitedFrom, awaited_from
from perfkit.watching.callers import Call, calling_line, calls
from perfkit.watching.connections import (
    is_perfkits,
    unwatch_connections,
    watch_connection,
    watch_connections,
)
from perfkit.watching.following import follow_awaits
from perfkit.watching.names import quoted_names
from perfkit.watching.sql import as_text, fingerprint, literals_of, normalised
from perfkit.watching.stack import Landmarks, Path, path_here
from perfkit.watching.written import ANYTHING, Moment, on_rollback, watch_rollbacks, write_log, written_text

__all__ = [
    "ANYTHING",
    "AwaitedFrom",
    "Call",
    "Landmarks",
    "Moment",
    "Path",
    "as_text",
    "awaited_from",
    "calling_line",
    "calls",
    "fingerprint",
    "follow_awaits",
    "is_perfkits",
    "literals_of",
    "normalised",
    "on_rollback",
    "path_here",
    "quoted_names",
    "unwatch_connections",
    "watch_connection",
    "watch_connections",
    "watch_rollbacks",
    "write_log",
    "written_text",
]
