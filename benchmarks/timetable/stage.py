"""Where contenders meet: one process each, one cache database each, and a table that grows line by line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from benchmarks.cache_server import CacheServer
from benchmarks.figures import number
from benchmarks.rounds import play
from benchmarks.workers import Remote, Worker

CONTENDERS: Final = ("plain", "perfkit", "cacheops", "cachalot")
ROUND_TRIP: Final = "GET with redis-py"
BETWEEN_GETS: Final = "plain, between two GETs"
CACHE_DATABASES: Final = {name: 9 + place for place, name in enumerate(CONTENDERS)}
CROWDED_DATABASES: Final = {"perfkit": 13, "cacheops": 14}
"""For the processes that save while very many keys are cached, beside those with few."""
HEAD: Final = ("", "us", "times plain", "queries")


class DisagreementError(Exception):
    """Contenders returned different rows: one of them does not do the job."""


@dataclass(frozen=True)
class Scale:
    """How much is done."""

    flights: int
    crowd: int
    rounds: int
    budget_seconds: float
    stampedes: int


@dataclass
class Stage:
    """The processes of all contenders, and what has been told of them.

    Attributes:
        workers: By the contender's name; for `crowded` see CROWDED_DATABASES.
        lines: The table for people.
    """

    server: CacheServer
    scale: Scale
    workers: Mapping[str, Worker]
    crowded: Mapping[str, Worker]
    lines: list[tuple[str, ...]] = field(default_factory=lambda: [HEAD])

    def compare(
        self,
        title: str,
        job: str,
        *,
        calls: int,
        amount: int = 0,
        beside: Mapping[str, tuple[str, int]] = MappingProxyType({}),
    ) -> dict[str, Remote]:
        """Time a job with every contender, from empty caches on; return them by name.

        Args:
            calls: In one turn; a turn's time is the median of them.
            amount: Given to the job's `prepare`.
            beside: Other jobs, with their amounts, that plain Django does in the same rounds, by what they are
                called in the table.
        """
        self.server.flush(list(CACHE_DATABASES.values()))
        players = {name: Remote(self.workers[name], job, calls) for name in CONTENDERS}
        queries = prepared(players, amount)
        for name, (other_job, other_amount) in beside.items():
            players[name] = Remote(self.workers["plain"], other_job, calls)
            players[name].prepare(other_amount)
        self.play(title, players, queries)
        return players

    def play(self, title: str, players: dict[str, Remote], queries: Mapping[str, int]) -> None:
        """Let them take turns, and add the outcome to the table."""
        played = play(
            list(players.values()), rounds=self.scale.rounds, budget_seconds=self.scale.budget_seconds
        )
        self.lines.append((f"[{title}; {played} rounds]", "", "", ""))
        for name, player in players.items():
            times = f"{player.over(players['plain']):.2f}" if "plain" in players else ""
            self.lines.append((name, number(player.median * 1e6), times, str(queries.get(name, ""))))


@contextmanager
def stage(server: CacheServer, scale: Scale) -> Iterator[Stage]:
    """Start every contender; end their processes afterwards."""
    with ExitStack() as stack:
        workers, crowded = (
            {
                name: stack.enter_context(contender(name, server.url(database)))
                for name, database in databases.items()
            }
            for databases in (CACHE_DATABASES, CROWDED_DATABASES)
        )
        yield Stage(server, scale, workers, crowded)


def prepared(players: Mapping[str, Remote], amount: int) -> dict[str, int]:
    """Make the contenders ready; return how many statements a call of each sends from then on.

    Raises:
        DisagreementError: They do not return the same.
    """
    for player in players.values():
        player.prepare(amount)
    calls = {name: player.once() for name, player in players.items()}
    if len({call.answer for call in calls.values()}) > 1:
        jobs = sorted({player.job for player in players.values()})
        raise DisagreementError(f"{', '.join(calls)} return different rows in {', '.join(jobs)}.")
    return {name: call.queries for name, call in calls.items()}


def contender(name: str, cache_url: str) -> Worker:
    """Start the process of one contender."""
    variables = {
        "DJANGO_SETTINGS_MODULE": "benchmarks.timetable.settings",
        "PERFKIT_BENCH_CONTENDER": name,
        "PERFKIT_BENCH_CACHE": cache_url,
    }
    return Worker(name, "benchmarks.timetable.worker", variables)
