"""Rows out of the table into a file, as fast as the database writes them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, Any, Final, Literal, get_args

from django.core.exceptions import EmptyResultSet
from django.db import connections, models

from perfkit.bulk.chunks import chunks
from perfkit.bulk.table import has_copy
from perfkit.bulk.telling import told
from perfkit.errors import UsageError, nearest

FileFormat = Literal["csv", "binary"]
CHUNK_ROWS: Final = 2000


@dataclass(frozen=True)
class CopyResult:
    """What a `bulk_copy_out` did.

    Attributes:
        rows: Rows written.
        size_bytes: Bytes written.
        seconds: Wall-clock time of the whole call.
        rows_per_second: `rows / seconds`.
        method: `"copy"` (PostgreSQL's COPY) or `"select"`.
    """

    rows: int
    size_bytes: int
    seconds: float
    rows_per_second: float
    method: str


@told("copy_out")
def bulk_copy_out(
    queryset: models.QuerySet[Any],
    file: IO[bytes],
    *,
    fields: Sequence[str] | None = None,
    file_format: FileFormat = "csv",
    null: str = "",
) -> CopyResult:
    r"""Write the rows of a queryset into a file that is open for writing bytes.

    The values are those of the columns, as the database has them: a field's own `from_db_value` is not asked.
    CSV has a line of names before it, and is UTF-8; `manage.py bulk_load` reads it back.
    Memory does not grow with the rows.

    Args:
        queryset: Any that has rows: filters, order, slices, annotations; `prefetch_related` is of no account.
        file: A file, a socket, a `gzip.GzipFile`: what has a `write` that takes bytes. It is not closed.
        fields: Names of fields or annotations, also across relations (`airline__name`); those that are stored in
            the model's table where not given.
        null: What stands for NULL in CSV. An empty text is `""`, which not every reader tells from nothing:
            where columns of text may be NULL, say `"\\N"` here and to the reader.
        file_format: `"csv"`, or `"binary"`: PostgreSQL's COPY format, for its own COPY alone.

    Raises:
        UsageError: There is no such format, or this database has no binary COPY.
        FieldError: A name is that of no field.

    Queries: one.

    Example:
        >>> with open("airlines.csv", "wb") as file:  # doctest: +SKIP
        ...     bulk_copy_out(Airline.objects.all(), file).rows
        16
    """
    started = time.perf_counter()
    if file_format not in get_args(FileFormat):
        raise UsageError(
            f"file_format={file_format!r} is not known.{nearest(file_format, get_args(FileFormat))}"
        )
    connection = connections[queryset.db]
    may_copy = has_copy(connection)
    if file_format == "binary" and not may_copy:
        raise UsageError("file_format='binary' is PostgreSQL's own, by psycopg 3.")
    names = (
        list(fields)
        if fields is not None
        else [field.attname for field in queryset.model._meta.concrete_fields]
    )
    rows = queryset.values_list(*names)
    sink = Sink(file)
    if file_format == "csv":
        sink.write(_line(names))
    count = _copied(rows, sink, file_format, null) if may_copy else _selected(rows, sink, null)
    seconds = time.perf_counter() - started
    return CopyResult(count, sink.size_bytes, seconds, count / seconds, "copy" if may_copy else "select")


class Sink:
    """A file that counts what is written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.size_bytes = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write all of `data`, whatever the file takes at once."""
        view = memoryview(data)
        self.size_bytes += len(view)
        while view:
            view = view[self._file.write(view) :]


def _copied(rows: models.QuerySet[Any], sink: Sink, file_format: FileFormat, null: str) -> int:
    from psycopg import ClientCursor  # who has no PostgreSQL need not have it

    connection = connections[rows.db]
    try:
        sql, parameters = rows.query.get_compiler(connection=connection).as_sql()
    except EmptyResultSet:
        sql, parameters = "SELECT WHERE false", ()
    options = f"FORMAT {file_format}"
    if file_format == "csv":
        options, parameters = f"{options}, NULL %s", (*parameters, null)
    statement = f"COPY ({sql}) TO STDOUT ({options})"
    with connection.wrap_database_errors, connection.cursor() as cursor:
        # Django's cursor takes no parameters where it logs statements.
        with cursor.copy(ClientCursor(connection.connection).mogrify(statement, parameters)) as copy:
            for block in copy:
                sink.write(block)
        return int(cursor.rowcount)


def _selected(rows: models.QuerySet[Any], sink: Sink, null: str) -> int:
    compiler = rows.query.get_compiler(connection=connections[rows.db])
    try:
        compiler.setup_query()
    except EmptyResultSet:
        return 0
    texts = [_text_of(expression) for expression, *_ in compiler.select]
    count = 0
    for chunk in chunks(rows.iterator(chunk_size=CHUNK_ROWS), CHUNK_ROWS):
        lines = (
            [None if value is None else text(value) for text, value in zip(texts, row, strict=True)]
            for row in chunk
        )
        sink.write(b"".join(_line(cells, null) for cells in lines))
        count += len(chunk)
    return count


def _text_of(expression: Any) -> Callable[[Any], str]:
    """Return what makes text of a column's values, as PostgreSQL would."""
    field = getattr(expression, "output_field", None)
    if isinstance(field, models.JSONField):
        return lambda value: json.dumps(value, cls=field.encoder)
    if isinstance(field, models.BooleanField):
        return lambda value: "t" if value else "f"
    if isinstance(field, models.BinaryField):
        return lambda value: f"\\x{bytes(value).hex()}"
    if isinstance(field, models.Field):
        return lambda value: str(field.get_prep_value(value))
    return str


def _line(cells: Sequence[str | None], null: str = "") -> bytes:
    """Return a line as PostgreSQL writes it: what looks like NULL and is not is quoted.

    Python's csv does so since 3.12, and for an empty text alone.
    """
    return (",".join(null if cell is None else _quoted(cell, null) for cell in cells) + "\n").encode()


def _quoted(text: str, null: str) -> str:
    if text in {null, "\\."} or any(character in text for character in ',"\n\r'):
        return '"' + text.replace('"', '""') + '"'
    return text
