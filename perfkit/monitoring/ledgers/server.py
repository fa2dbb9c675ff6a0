"""A ledger on the cache server, for all processes together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, islice, pairwise
from typing import ClassVar, Final

import msgspec

from perfkit.caching.store import ScriptedStore
from perfkit.caching.store.packing import Words
from perfkit.caching.store.scripts import ScriptForms
from perfkit.monitoring.ledgers.contract import Ledger, Told, Vector, add_to

ADD: Final = ScriptForms.loaded("add", package=__package__)
READ: Final = ScriptForms.loaded("read", package=__package__)
POST: Final = ScriptForms.loaded("post", package=__package__)
DROP: Final = ScriptForms.loaded("drop", package=__package__)

NOTHING: Final = Words(0, b"")

Stored = list[tuple[bytes, bytes]]
"""Names and what is under them."""

CLEARED_AT_ONCE: Final = 500


class ServerLedger(Ledger):
    """Keeps it in hashes that outlive a restart of a server that keeps its data, and the clearing of the cache.

    In a cluster all of them are on one node.
    """

    is_shared: ClassVar[bool] = True

    def __init__(self, store: ScriptedStore) -> None:
        self._store = store

    def add(self, told: Told) -> bool:
        """Add it by one script, in one round trip."""
        lasting = [name for name, page in told.pages.items() if page.is_lasting]
        pages = [
            [
                page.kept_seconds * 1000,
                page.most,
                {name: _flat(vector) for name, vector in page.vectors.items()},
                1 + lasting.index(place) if page.is_lasting else 0,
            ]
            for place, page in told.pages.items()
        ]
        writers = [f"writers:{day}" for day in (told.day, told.day - 1)]
        keys = [*map(_key, writers), *map(_key, told.pages), *map(_days_key, lasting)]
        words = Words.of(told.writer, told.number, msgspec.msgpack.encode(pages), told.day)
        return bool(int(self._store.run_script(ADD, keys, words)))

    def read(self, pages: Sequence[str], *, names: Sequence[str] = ()) -> list[dict[str, Vector]]:
        """Read them by one script."""
        return [_vectors(fields) for fields in self._read(pages, names)]

    def post(self, board: str, notes: Mapping[str, bytes], *, kept_seconds: int, most: int) -> float:
        """Put them up by one script, which returns the server's time."""
        words = [part for pair in notes.items() for part in pair]
        told = self._store.run_script(POST, [_key(board)], Words.of(kept_seconds * 1000, most, *words))
        return int(told) / 1000

    def posted(self, boards: Sequence[str], *, names: Sequence[str] = ()) -> list[dict[str, bytes]]:
        """Read them by one script."""
        return [_notes(fields) for fields in self._read(boards, names)]

    def sums(self, groups: Sequence[Sequence[str]], *, names: Sequence[str] = ()) -> list[dict[str, Vector]]:
        """Read them by one script, and add up what it returns as it is unpacked."""
        found = iter(self._read([page for pages in groups for page in pages], names))
        return [_sums(islice(found, len(pages))) for pages in groups]

    def look(
        self, pages: Sequence[str], boards: Sequence[str]
    ) -> tuple[dict[str, Vector], list[dict[str, bytes]]]:
        """Read both by one script."""
        found = self._read([*pages, *boards], ())
        return _sums(found[: len(pages)]), [_notes(fields) for fields in found[len(pages) :]]

    def _read(self, hashes: Sequence[str], names: Sequence[str]) -> list[Stored]:
        """Return the fields of hashes that are there."""
        if not hashes:
            return []
        wanted = [name.encode() for name in names]
        words = Words.of(*wanted) if wanted else NOTHING
        lengths, parts = self._store.run_script(READ, [*map(_key, hashes)], words)
        return list(_fields(lengths, parts, wanted))

    def take_down(self, board: str, names: Sequence[str]) -> None:
        """Take them off by one script."""
        if names:
            self._store.run_script(DROP, [_key(board)], Words.of(*names))

    def clear(self, pages: Sequence[str]) -> None:
        """Drop them by a script for each few hundred."""
        for begin in range(0, len(pages), CLEARED_AT_ONCE):
            some = pages[begin : begin + CLEARED_AT_ONCE]
            self._store.run_script(DROP, [*map(_key, some), *map(_days_key, some)], NOTHING)


def _key(page: str) -> str:
    # The braces put all of them into one slot of a cluster.
    return f"{{metrics}}:{page}"


def _days_key(page: str) -> str:
    """Return where it stands on which day something was last added to each name of a page."""
    return _key(f"{page}:days")


def _fields(lengths: bytes, parts: bytes, names: Sequence[bytes]) -> Iterator[Stored]:
    """Yield what `read.lua` has written down of each hash."""
    start = 0
    for sizes in _lengths.decode(lengths):
        ends = list(accumulate((max(0, size) for size in sizes), initial=start))
        words = [parts[begin:end] for begin, end in pairwise(ends)]
        start = ends[-1]
        if names:
            there = zip(names, words, sizes, strict=True)
            yield [(name, word) for name, word, size in there if size >= 0]
        else:
            yield list(zip(words[::2], words[1::2], strict=True))


def _notes(fields: Stored) -> dict[str, bytes]:
    return {_text(name): note for name, note in fields}


def _vectors(fields: Stored) -> dict[str, Vector]:
    return {_text(name): dict(_numbers(packed)) for name, packed in fields}


def _sums(pages: Iterable[Stored]) -> dict[str, Vector]:
    """Return what pages hold together: in less time than one by one, for few pages' own vectors are made."""
    sums: dict[bytes, Vector] = {}
    for fields in pages:
        for name, packed in fields:
            held = sums.get(name)
            if held is None:
                sums[name] = dict(_numbers(packed))
            else:
                add_to(held, _numbers(packed))
    return {_text(name): vector for name, vector in sums.items()}


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")


def _flat(vector: Vector) -> list[int]:
    return [part for pair in vector.items() for part in pair]


_lengths: Final = msgspec.msgpack.Decoder(list[list[int]])
_decoder: Final = msgspec.msgpack.Decoder(list[int])


def _numbers(packed: bytes) -> Iterator[tuple[int, int]]:
    flat = iter(_decoder.decode(packed))
    return zip(flat, flat, strict=True)
