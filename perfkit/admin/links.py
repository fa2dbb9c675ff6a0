"""Relations to many that the rows of a file give: the rows of tables that Django made to hold them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from perfkit.bulk import bulk_insert
from perfkit.bulk.chunks import chunks

CHUNK_ROWS: Final = 1000


class Link(NamedTuple):
    """A row of such a table: its own key, and the keys of the two rows that it joins."""

    pk: Any
    source: Any
    target: Any


class WrittenRow(NamedTuple):
    """A row that was written, or left alone because nothing in it changes."""

    pk: Any
    is_untouched: bool


class Links:
    """Notes what rows refer to, and writes it once all of them are there and have keys.

    As a form does, it leaves a row with what the file gives, and nothing else.
    """

    def __init__(self, fields: Sequence[Any], alias: str) -> None:
        self._fields = fields
        self._alias = alias
        self._wanted: dict[int, Mapping[str, Collection[Any]]] = {}
        self._written: dict[int, WrittenRow] = {}

    def __bool__(self) -> bool:
        return bool(self._fields)

    def note(self, number: int, wanted: Mapping[str, Collection[Any]]) -> None:
        """Take what a row, which is about to be written, refers to by each field's name."""
        if wanted:
            self._wanted[number] = wanted

    def written(self, rows: Iterable[WrittenRow | None], *, first_row: int) -> None:
        """Take what became of rows, from the first of them on; None stands for one that was refused."""
        for number, row in enumerate(rows, first_row):
            if row is not None:
                self._written[number] = row

    def write(self) -> int:
        """Write what rows refer to; return how many that were left alone refer to something else now.

        Queries: One per field and 1,000 rows, one per 1,000 links that go, and a `bulk_insert` of those that come.
        """
        changed: set[Any] = set()
        for numbers in chunks(self._written, CHUNK_ROWS):
            for field in self._fields:
                changed |= self._write(field, numbers)
        return sum(row.is_untouched and row.pk in changed for row in self._written.values())

    def _write(self, field: Any, numbers: Sequence[int]) -> set[Any]:
        """Return the keys of the rows that refer to something else now."""
        through = field.remote_field.through
        source, target = _attnames(field)
        pks = {number: self._written[number].pk for number in numbers}
        wanted = {
            (pks[number], key)
            for number in numbers
            for key in self._wanted.get(number, {}).get(field.name, ())
        }
        there = {(link.source, link.target): link.pk for link in links(field, pks.values(), self._alias)}
        gone = [pk for pair, pk in there.items() if pair not in wanted]
        for some in chunks(gone, CHUNK_ROWS):
            through._base_manager.using(self._alias).filter(pk__in=some).delete()
        new = [{source: pk, target: key} for pk, key in sorted(wanted - there.keys(), key=repr)]
        if new:
            bulk_insert(through, new, using=self._alias)
        return {pk for pk, _ in wanted ^ there.keys()}


def links(field: Any, pks: Collection[Any], alias: str) -> Iterator[Link]:
    """Yield what the rows with these keys refer to by the field, in one query."""
    source, target = _attnames(field)
    rows = field.remote_field.through._base_manager.using(alias).filter(**{f"{source}__in": set(pks)})
    return (Link(*row) for row in rows.values_list("pk", source, target))


def _attnames(field: Any) -> tuple[str, str]:
    """Return the names of the columns that hold the key of a row, and of what it refers to."""
    meta = field.remote_field.through._meta
    names = field.m2m_field_name(), field.m2m_reverse_field_name()
    source, target = (meta.get_field(name).attname for name in names)
    return source, target
