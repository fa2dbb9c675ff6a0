"""What every bulk call does around its chunks: cuts them from any iterable, and opens the transactions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeVar, get_args

from django.db import DataError, IntegrityError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.bulk.plan import RowPlan
from perfkit.bulk.refusals import RowError
from perfkit.bulk.translate import field_of, refusal
from perfkit.errors import RowShapeError, UsageError, nearest

T = TypeVar("T")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

OnError = Literal["raise", "report"]
"""Whether a bad row ends the call with nothing written, or is skipped and told."""
FIRST_PIECE_ROWS: Final = 16
"""Of what follows a bad row."""
REFUSALS: Final = (RowError, RowShapeError, DataError, IntegrityError)
"""What is wrong with rows; the last two come from COMMIT, where the database checked there."""


@dataclass(frozen=True, slots=True)
class SkippedRow:
    """A row that was refused.

    Attributes:
        row_number: Its position in the input, from 0.
        field: The name of the model's field; None where it is not one alone, or not known.
        reason: What is wrong, without any value.
        value_summary: The type and size of the value at fault; None where it is not one value alone, or not known.
    """

    row_number: int
    field: str | None
    reason: str
    value_summary: str | None


class Refused(NamedTuple):
    """Rows that were not written, for some of them are bad."""

    error: Exception


class ChunkWriter(Protocol[T, R_co]):
    """Writes the chunks of one call.

    Attributes:
        methods: How it wrote so far.
    """

    methods: set[str]

    def begin(self) -> None:
        """Forget what was true within the last transaction; called as each begins."""

    def write(self, rows: list[T], *, first_row: int) -> R_co:
        """Write one chunk, the first of whose rows has this number."""

    def flush(self) -> None:
        """Have all rows in the table that were written so far."""

    def settle(self) -> None:
        """Wait for what is under way; called where something fails after it."""

    def abandon(self) -> None:
        """Let nothing more happen; called before a transaction is rolled back."""

    def close(self) -> None:
        """Leave nothing behind; called before a transaction is committed."""


class Single:
    """What a `ChunkWriter` does between its chunks that has nothing under way."""

    def begin(self) -> None:
        """Nothing was held."""

    def flush(self) -> None:
        """They are there."""

    def settle(self) -> None:
        """Nothing is under way."""

    def abandon(self) -> None:
        """Nothing is under way."""

    def close(self) -> None:
        """Nothing is held."""


@dataclass
class ChunkLoop:
    """The loop around the chunks of one call.

    By default the call is one transaction. Where bad rows are reported each chunk is one;
    a chunk that is refused is written in pieces, down to the rows at fault.

    Args:
        size: Most rows of a chunk.
        progress: Called after each chunk with the number of rows read so far.
        after_chunk: Called within the transaction with the rows of a chunk, once they are in the table.

    Attributes:
        is_own: Whether the call has its transaction for itself; else it is a savepoint of the caller's.
        rows: How many were read.
        skipped: Those that were refused, in their order.

    Raises:
        UsageError: `size` is not positive, or there is no such `on_error`.
    """

    plan: RowPlan
    connection: BaseDatabaseWrapper
    size: int
    on_error: OnError = "raise"
    progress: Callable[[int], object] | None = None
    after_chunk: Callable[[list[Any]], object] | None = None
    is_own: bool = field(init=False)
    rows: int = 0
    skipped: list[SkippedRow] = field(default_factory=list)
    _has_hook_failed: bool = False

    def __post_init__(self) -> None:
        if self.on_error not in get_args(OnError):
            raise UsageError(
                f"on_error={self.on_error!r} is not known.{nearest(str(self.on_error), get_args(OnError))}"
            )
        self.is_own = self.connection.get_autocommit() and not self.connection.in_atomic_block

    def run(
        self,
        rows: Iterable[T],
        writer: ChunkWriter[T, R],
        *,
        take: Callable[[R], object],
        skip: Callable[[], object] = lambda: None,
    ) -> None:
        """Write all rows.

        Args:
            take: Is given what the writer returned; where bad rows are reported, once the rows are there to stay.
            skip: Called for a row that was refused, in its turn.
        """
        if self.on_error == "raise":
            with self._transaction_of(writer):
                try:
                    for chunk in chunks(rows, self.size):
                        take(self._written(writer, chunk, self.rows))
                        self._count(chunk)
                except Exception:  # of the caller's next rows: what is wrong with those under way comes first
                    writer.settle()
                    raise
            return
        for chunk in chunks(rows, self.size):
            for outcome in self._in_pieces(chunk, self.rows, writer):
                if isinstance(outcome, SkippedRow):
                    self.skipped.append(outcome)
                    skip()
                else:
                    take(outcome)
            self._count(chunk)

    def _written(self, writer: ChunkWriter[T, R], rows: list[T], first_row: int) -> R:
        written = writer.write(rows, first_row=first_row)
        if self.after_chunk is not None:
            writer.flush()
            self._has_hook_failed = True
            self.after_chunk(rows)
            self._has_hook_failed = False
        return written

    def _count(self, chunk: list[T]) -> None:
        self.rows += len(chunk)
        if self.progress is not None:
            self.progress(self.rows)

    def _in_pieces(
        self, rows: list[T], first_row: int, writer: ChunkWriter[T, R]
    ) -> Iterator[R | SkippedRow]:
        """Write the rows but those at fault; yield what became of them, in their order."""
        waiting: list[tuple[list[T], int] | SkippedRow] = [(rows, first_row)]
        while waiting:
            piece = waiting.pop()
            if isinstance(piece, SkippedRow):
                yield piece
                continue
            outcome = self._tried(*piece, writer)
            if isinstance(outcome, Refused):
                waiting += reversed(list(self._smaller(*piece, outcome.error)))
            else:
                yield outcome

    def _tried(self, rows: list[T], first_row: int, writer: ChunkWriter[T, R]) -> R | Refused:
        try:
            with self._transaction_of(writer):
                return self._written(writer, rows, first_row)
        except REFUSALS as error:
            if self._has_hook_failed:
                raise
            return Refused(error)

    def _smaller(
        self, rows: list[T], first_row: int, error: Exception
    ) -> Iterator[tuple[list[T], int] | SkippedRow]:
        """Yield the parts of a piece that was refused: around the row at fault, halves where it is not known."""
        known = getattr(error, "row_number", None)
        if len(rows) == 1:
            known = first_row
        if known is None or not first_row <= known < first_row + len(rows):
            half = len(rows) // 2
            yield rows[:half], first_row
            yield rows[half:], first_row + half
            return
        at = known - first_row
        if at > 0:
            yield rows[:at], first_row
        yield self._skipped(known, error)
        yield from growing(rows[at + 1 :], known + 1)

    def _skipped(self, number: int, error: Exception) -> SkippedRow:
        if isinstance(error, RowShapeError):
            return SkippedRow(number, None, error.problem, None)
        if not isinstance(error, RowError):
            assert isinstance(error, DataError | IntegrityError)  # noqa: S101  # see REFUSALS
            error = refusal(error, number, field_of(error, self.plan.model))
        return SkippedRow(number, error.field, error.problem, error.value_summary)

    @contextmanager
    def _transaction_of(self, writer: ChunkWriter[T, R]) -> Iterator[None]:
        """Open a transaction for what the writer does within the block; nothing of it goes on after a rollback."""
        with self._one_transaction():
            writer.begin()
            try:
                yield
                writer.close()
            except BaseException:
                writer.abandon()
                raise

    @contextmanager
    def _one_transaction(self) -> Iterator[None]:
        """Open a transaction, or a savepoint in the caller's where it is not this call's own.

        Django declares foreign keys to be checked at COMMIT, when no row is at hand any more.
        In a transaction that is this call's alone they are checked with each chunk,
        unless the table refers to itself, and a later row may be what an earlier one needs.
        """
        with transaction.atomic(using=self.connection.alias):
            if self.is_own and self.connection.vendor == "postgresql" and not self.plan.refers_to_itself:
                with self.connection.cursor() as cursor:
                    cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            yield


def growing(rows: list[T], first_row: int) -> Iterator[tuple[list[T], int]]:
    """Yield pieces, each twice as long as the last, with the number of its first row.

    Where one bad row follows the other, little is prepared again for each.
    """
    size = FIRST_PIECE_ROWS
    while rows:
        yield rows[:size], first_row
        rows = rows[size:]
        first_row += size
        size *= 2


def checked_size(chunk_rows: int | None, default: int) -> int:
    """Return how many rows are read at once.

    Raises:
        UsageError: It is not positive.
    """
    size = default if chunk_rows is None else chunk_rows
    if size < 1:
        raise UsageError(f"chunk_rows must be at least 1, not {size}.")
    return size


def chunks(rows: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of at most `size` rows; `rows` is consumed once."""
    iterator = iter(rows)
    while chunk := list(islice(iterator, size)):
        yield chunk
