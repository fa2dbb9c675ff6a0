"""Comments at the end of statements, which say what has sent them, in sqlcommenter's format.

# Note [Statements without a comment]
A comment names its request, so no two texts are alike. A driver that prepares a text which it sees again would
prepare each for nothing, and push out those that are worth it: so what is prepared gets none (the lists that
perfkit prepares, and connections that prepare by themselves). What has a comment already is left as it is, as
the specification says.

# Note [Where the comment is put on]
psycopg remembers where the parameters are in the last 128 texts, and to look for them takes longer than all of
this. So the comment is put onto what it is about to send, after that: for one statement the cursor has another
class of queries. Where there is none, as in other drivers, and for many rows at once, it is put onto the text.

Source:
    sqlcommenter specification, "Format" and "Exceptions".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote

import django

from perfkit.conf import options
from perfkit.postgres.prepared import PREPARE_WHEN_ASKED
from perfkit.tracing.origins import current
from perfkit.tracing.spans import current_span, traceparent_of
from perfkit.watching import watch_connections

NAME: Final = "perfkit.sql_comments"
FRAMEWORK: Final = f"django:{django.get_version()}"
LONGEST_VALUE: Final = 256
_KIND: Final = "_query_cls"
"""Where a cursor of psycopg has its class of queries."""


def install() -> None:
    """Put the comments onto what every connection sends, where `SQL_COMMENTS` is on."""
    watch_connections(commented, name=NAME, is_inmost=True)


def commented(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]) -> Any:
    """Run a statement with its comment, as an execute wrapper of Django's."""
    if not options.SQL_COMMENTS or _is_prepared(context):
        return execute(sql, params, many, context)
    cursor = context["cursor"].cursor
    kind = None if many or type(sql) is not str else getattr(type(cursor), _KIND, None)
    if kind is None:
        return execute(_with_current(sql, params, context, many=many), params, many, context)
    if has_comment(sql):
        return execute(sql, params, many, context)
    setattr(cursor, _KIND, _commenting(kind))
    try:
        return execute(sql, params, many, context)
    finally:
        delattr(cursor, _KIND)


def _with_current(sql: Any, params: Any, context: dict[str, Any], *, many: bool) -> Any:
    comment = current_comment()
    if not comment:
        return sql
    # Where there are parameters the driver takes %s for one, and %% for a percent sign.
    return with_comment(
        _text_of(sql, context), comment if params is None and not many else comment.replace("%", "%%")
    )


@lru_cache(maxsize=16)
def _commenting(kind: Any) -> Any:
    """Return a class of psycopg's queries that puts the comment onto what is sent.

    See Note [Where the comment is put on].
    """

    class Commented(kind):  # type: ignore[misc]  # of psycopg, which not every project has
        query: bytes

        def convert(self, query: Any, vars: Any) -> None:  # noqa: A002  # psycopg's name for it
            super().convert(query, vars)
            if comment := current_comment():
                self.query = _ended(self.query, comment.encode(), b" ", b";")

    return Commented


def comment_of(facts: Mapping[str, str]) -> str:
    """Return facts as one comment; those that are empty are left out.

    Example:
        >>> comment_of({"route": "flights/<int:pk>", "controller": "it's"})
        "/*controller='it%27s',route='flights%2F%3Cint%3Apk%3E'*/"
    """
    pairs = [f"{key}='{_quoted(value)}'" for key, value in sorted(facts.items()) if value]
    return f"/*{','.join(pairs)}*/" if pairs else ""


def with_comment(sql: Any, comment: str) -> Any:
    """Return a statement with a comment at its end, before a semicolon there; one that has a comment as it is.

    Example:
        >>> with_comment("SELECT 1;", "/*a='b'*/"), with_comment("SELECT 1 -- one", "/*a='b'*/")
        ("SELECT 1 /*a='b'*/;", 'SELECT 1 -- one')
    """
    if isinstance(sql, bytes):
        return sql if b"/*" in sql or b"--" in sql else _ended(sql, comment.encode(), b" ", b";")
    return _ended(sql, comment, " ", ";") if isinstance(sql, str) and not has_comment(sql) else sql


def has_comment(sql: str) -> bool:
    """Say whether a statement may have a comment; a text in it that looks like one counts."""
    # One character is found ten times as fast as two, and is rarely there.
    return ("*" in sql and "/*" in sql) or ("-" in sql and "--" in sql)


def current_comment() -> str:
    """Return the comment of what is sent now; empty where nobody knows whence it comes."""
    origin, span = current.get(), current_span()
    if origin is None:
        return "" if span is None else _comment("", None, "", traceparent_of(span))
    match = origin.match
    made_of, made_in, comment = origin.comment
    if comment and made_of is match and made_in is span:
        return comment
    sent_by = origin.traceparent if span is None else traceparent_of(span)
    comment = _comment(origin.request_id, match, origin.task, sent_by)
    origin.comment = (match, span, comment)
    return comment


def _comment(request_id: str, match: Any, task: str, traceparent: str) -> str:
    facts = {"framework": FRAMEWORK, "request_id": request_id, "task": task, "traceparent": traceparent}
    if match is not None:
        facts |= {"controller": match.view_name, "route": match.route or ""}
    return comment_of(facts)


@lru_cache(maxsize=4096)
def _quoted(value: str) -> str:
    return quote(value[:LONGEST_VALUE], safe="", errors="replace")


def _is_prepared(context: dict[str, Any]) -> bool:
    """Say whether the driver prepares what this cursor executes; see Note [Statements without a comment]."""
    connection = context["connection"]
    if connection.vendor != "postgresql":
        return False
    if hasattr(context["cursor"].cursor, "is_binary"):  # perfkit's own, see `perfkit.postgres.cursors`
        return True
    own = connection.settings_dict["OPTIONS"]
    threshold = own.get("prepare_threshold")
    return bool(own.get("server_side_binding")) and threshold is not None and threshold < PREPARE_WHEN_ASKED


def _text_of(sql: Any, context: dict[str, Any]) -> Any:
    """Return what psycopg has composed as the text that it would send."""
    return sql.as_string(context["connection"].connection) if hasattr(sql, "as_string") else sql


def _ended(sql: Any, comment: Any, space: Any, semicolon: Any) -> Any:
    text = sql.rstrip()
    if text[-1:] == semicolon:
        return text[:-1].rstrip() + space + comment + semicolon
    return text + space + comment
