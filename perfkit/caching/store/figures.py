"""Numbers of many processes, added up under names; and what a server's INFO says, in figures."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from perfkit.caching.store.contract import Batch, StoreFigures

WRITER: Final = "#" * 65
"""Begins the names of fields that hold the number of a writer's last batch, and no count.

For one of such a length the server keeps the hash as a table: else it keeps a list, and each addition looks
through all of it.
"""

WINDOW: Final = "s:"
"""Begins the keys of windows, among those of the store."""


def count_arguments(batch: Batch, *, kept_ms: int) -> list[str | int]:
    """Return what `count.lua` takes."""
    pairs = [part for pair in batch.counts.items() for part in pair]
    return [kept_ms, f"{WRITER}{batch.writer}", batch.number, *pairs]


def added_up(answers: Iterable[Mapping[bytes, bytes] | Sequence[bytes]]) -> dict[str, int]:
    """Return the sums of what several hashes hold, each as HGETALL tells it; what is no count is left out."""
    sums: dict[str, int] = {}
    for name, number in _pairs(answers):
        if not name.startswith(WRITER) and number.lstrip(b"-").isdigit():
            sums[name] = sums.get(name, 0) + int(number)
    return sums


def _pairs(answers: Iterable[Mapping[bytes, bytes] | Sequence[bytes]]) -> Iterator[tuple[str, bytes]]:
    for answer in answers:
        if isinstance(answer, Mapping):  # so it is in the third version of the protocol
            pairs: Iterable[tuple[bytes, bytes]] = answer.items()
        else:
            pairs = zip(answer[::2], answer[1::2], strict=True)
        for name, number in pairs:
            yield name.decode("utf-8", "replace"), number


def figures_in(info: bytes, *, keys: int) -> StoreFigures:
    """Return the figures that an answer to INFO has.

    Args:
        keys: The answer to DBSIZE.
    """
    lines = info.decode("utf-8", "replace").splitlines()
    told = dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))
    is_valkey = told.get("server_name") == "valkey"
    version = told.get("valkey_version" if is_valkey else "redis_version", "")
    return StoreFigures(
        name=f"{'Valkey' if is_valkey else 'Redis'} {version}".strip(),
        used_bytes=_number(told, "used_memory") or 0,
        most_bytes=_number(told, "maxmemory") or None,
        evicted=_number(told, "evicted_keys") or 0,
        expired=_number(told, "expired_keys"),
        hits=_number(told, "keyspace_hits"),
        misses=_number(told, "keyspace_misses"),
        uptime_seconds=_number(told, "uptime_in_seconds"),
        keys=keys,
    )


def figures_of_all(nodes: Sequence[StoreFigures]) -> StoreFigures:
    """Return the figures of a cluster: the sums of its nodes', and the shortest time that one of them runs."""
    uptimes = [node.uptime_seconds for node in nodes if node.uptime_seconds is not None]
    return StoreFigures(
        name=f"{nodes[0].name}, {len(nodes)} primaries",
        used_bytes=sum(node.used_bytes for node in nodes),
        most_bytes=_total(node.most_bytes for node in nodes),
        evicted=sum(node.evicted for node in nodes),
        expired=_total(node.expired for node in nodes),
        hits=_total(node.hits for node in nodes),
        misses=_total(node.misses for node in nodes),
        uptime_seconds=min(uptimes, default=None),
        keys=_total(node.keys for node in nodes),
    )


def _total(numbers: Iterable[int | None]) -> int | None:
    """Return the sum, None where one is not known."""
    known = list(numbers)
    return None if None in known else sum(number for number in known if number is not None)


def _number(told: Mapping[str, str], name: str) -> int | None:
    text = told.get(name, "")
    return int(text) if text.isascii() and text.isdigit() else None
