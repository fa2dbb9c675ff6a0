"""The kinds of queries that are sent in loops."""

from __future__ import annotations

from enum import StrEnum


class Kind(StrEnum):
    """What a statement in a loop was sent for; the value is what people read."""

    FORWARD = "foreign key"
    REVERSE_ONE_TO_ONE = "reverse one-to-one"
    GENERIC = "generic foreign key"
    DEFERRED = "deferred field"
    RELATED_ROWS = "related rows"
    RELATED_PART = "part of the related rows"
    RELATED_VALUES = "values of the related rows"
    RELATED_FIRST = "one of the related rows"
    RELATED_COUNT = "count of the related rows"
    RELATED_EXISTS = "existence of related rows"
    RELATED_AGGREGATE = "aggregate of the related rows"
    GET = "get()"
    FILTER = "filter()"
    FIRST = "first()"
    COUNT = "count()"
    EXISTS = "exists()"
    AGGREGATE = "aggregate()"
    GET_OR_CREATE = "get_or_create()"
    UPDATE_OR_CREATE = "update_or_create()"
    INSERT = "insert of a row"
    SAVE = "save() of a row"
    UPDATE = "update()"
    DELETE = "delete()"
    REFRESH = "refresh_from_db()"
    RAW = "raw SQL"
