"""Room indexing: operations that are killed, what capture costs, and the advisor beside an exhaustive search."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.advisor import advice, demo
from benchmarks.figures import Figure, Report
from benchmarks.loads.capturing import capturing
from tests.indexing.kills import CASES, WAYS, Kills
from tests.plugins.postgres import DisposablePostgres

PEERS: Final = ()
SERVER_EVERY: Final = 20
"""Of so many kills one ends the whole server."""


def measure(*, is_quick: bool) -> Report:
    """Kill operations, count statements, and have the advisor judged, on its workload and on the flights."""
    killed = kill_operations(is_quick=is_quick)
    counted = capturing(rounds=20 if is_quick else 100, seconds=20.0 if is_quick else 100.0)
    parts = [
        (counted.lines, counted.figures),
        advice.measure(is_quick=is_quick),
        demo.measure(is_quick=is_quick),
    ]
    lines = [*killed.lines, *(line for lines, _ in parts for line in lines)]
    width = max(map(len, lines))
    return Report(
        killed.room,
        f"{killed.setting} Then the advisor, on the workload in benchmarks/advisor and on the demo's flights.",
        [(*line, *[""] * (width - len(line))) for line in lines],
        [*killed.figures, *(figure for _, figures in parts for figure in figures)],
    )


def kill_operations(*, is_quick: bool) -> Report:
    """Kill operations in all ways, at moments that a seed draws, and count what is not as it must be."""
    times = 20 if is_quick else 100
    rows = 60_000 if is_quick else 250_000
    with _own_server() as server:
        kills = Kills(server.url, rows=rows, seed=2013, server=server)
        kills.longest_seconds = 0.1 if is_quick else 0.3
        with kills.stage():
            version = kills.ask("SHOW server_version")[0][0]
            ended = 0
            while ended < times:
                way = "server" if ended % SERVER_EVERY == SERVER_EVERY - 1 else WAYS[ended % len(WAYS)]
                ended += kills.once(way, kills.random.choice(list(CASES)))
    left = kills.counts["invalid after the retry"]
    return Report(
        "indexing",
        f"{'A quick run: ' if is_quick else ''}PostgreSQL {version}, tables of {rows:,} rows; "
        f"{', '.join(CASES)}: each ended at a random moment, and run once more.",
        [
            ("", "times"),
            *((what, f"{count:,}") for what, count in sorted(kills.counts.items())),
            *((f"PROBLEM: {problem}", "1") for problem in kills.problems),
        ],
        [
            Figure(f"{times} kills: invalid after the retry", left, "indexes", 0, "lower"),
            Figure(f"{times} kills: not as declared", len(kills.problems), "databases", 0, "lower"),
            Figure(
                f"{times} kills: invalid before the retry",
                kills.counts["invalid before the retry"],
                "databases",
                None,
                "lower",
            ),
        ],
    )


@contextmanager
def _own_server() -> Iterator[DisposablePostgres]:
    """Have a server that may be killed."""
    with tempfile.TemporaryDirectory() as top:
        Path(top).chmod(0o755)  # root does not run PostgreSQL; who does must get in
        folder = Path(top) / "server"
        folder.mkdir()
        server = DisposablePostgres(folder)
        try:
            yield server
        finally:
            server.remove()
