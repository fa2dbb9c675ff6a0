"""Measures addresses of the project, in process."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from perfkit.benchmarking.declared import asked
from perfkit.benchmarking.pairs import Effort
from perfkit.benchmarking.requests import Asked, Asker, Probe
from perfkit.benchmarking.routes import addresses, own_path
from perfkit.benchmarking.sections import Cell, Chart, Column, Section, ratio
from perfkit.benchmarking.switches import Switch
from perfkit.benchmarking.timing import p95
from perfkit.errors import BenchmarkError

Told = Callable[[str], object]

COLUMNS: Final = (
    Column("path", "GET"),
    Column("bytes", "answer", "bytes"),
    Column("off_ms", "cache off", "ms"),
    Column("off_p95_ms", "off, P95", "ms"),
    Column("off_queries", "off", "queries"),
    Column("cold_ms", "cold", "ms"),
    Column("cold_queries", "cold", "queries"),
    Column("warm_ms", "warm", "ms"),
    Column("warm_p95_ms", "warm, P95", "ms"),
    Column("warm_queries", "warm", "queries"),
    Column("requests", "requests"),
    Column("ratio", "off / warm", "x", 1),
)
HOW: Final = (
    "Each address is asked in this process, through the project's whole handler with all its middleware, but "
    "without a network and on a connection that stays open, with PERFKIT['CACHE_ENABLED'] off and on in turns. "
    "Lists that are compiled, and rows that are made faster, are so on both sides: no switch turns them off. "
    "Before a cold request everything that depends on the tables it reads is made void, as a write to them would. "
    "Figures are medians of single requests, with P95 where there are at least 20; rate limits are off. "
    "Only GET is asked, once beforehand in a transaction that is rolled back: what writes then is not measured."
)


def api_section(
    switch: Switch, urls: Sequence[str], *, values: Mapping[str, str], user: Any, effort: Effort, told: Told
) -> Section:
    """Measure addresses: those that are named, else those that are declared and all that need no value.

    Raises:
        BenchmarkError: One that is named is none of this site, or none could be measured.
    """
    rows: list[dict[str, Cell]] = []
    warnings: list[str] = []
    with Asker(switch, user=user) as asker:
        probes, notes = probed(asker, urls, values=values, told=told)
        for probe in probes:
            told(probe.path)
            found = asker.measure(probe, effort)
            rows.append(_row(probe, found))
            warnings += probe.warnings
            if found.bypasses:
                notes.append(f"Past the cache, also when warm: {probe.path}: {', '.join(found.bypasses)}.")
    return Section(
        name="api",
        title="Requests, in process",
        how=HOW,
        columns=COLUMNS,
        rows=rows,
        chart=Chart("Median time of a request", "path", ("off_ms", "cold_ms", "warm_ms")),
        warnings=warnings,
        notes=notes,
    )


def probed(
    asker: Asker, urls: Sequence[str], *, values: Mapping[str, str], told: Told
) -> tuple[list[Probe], list[str]]:
    """Return what the addresses that can be measured came to, and notes about the others.

    Raises:
        BenchmarkError: As `api_section`.
    """
    notes: list[str] = []
    if urls:
        paths = [own_path(url) for url in urls]
    else:
        found, unknown = addresses(values)
        paths = list(dict.fromkeys([*asked(), *found]))
        if unknown:
            notes.append(f"Not asked without --value NAME=VALUE: {', '.join(unknown)}.")
    probes = []
    for path in paths:
        told(path)
        probe = asker.probe(path)
        if not probe.reason:
            probes.append(probe)
        elif urls:
            raise BenchmarkError(f"{path} cannot be measured: {probe.reason}.")
        else:
            notes.append(f"Not measured: {path}: {probe.reason}.")
    if not probes:
        raise BenchmarkError(
            "No address could be measured. Name one with --url, and --user where it needs a login. "
            + " ".join(notes)
        )
    return probes, notes


def _row(probe: Probe, found: Asked) -> dict[str, Cell]:
    off, warm = statistics.median(found.off), statistics.median(found.warm)
    return {
        "path": probe.path,
        "bytes": probe.size_bytes,
        "off_ms": off,
        "off_p95_ms": p95(found.off),
        "off_queries": probe.queries,
        "cold_ms": statistics.median(found.cold) if found.cold else None,
        "cold_queries": found.cold_queries if found.cold else None,
        "warm_ms": warm,
        "warm_p95_ms": found.warm_p95,
        "warm_queries": found.warm_queries,
        "requests": len(found.off) + len(found.cold) + len(found.warm),
        "ratio": ratio(off, warm),
    }
