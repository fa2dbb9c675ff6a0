"""Where entrants meet: one process each, one cache database each, and a table that grows line by line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from benchmarks.cache_server import CacheServer
from benchmarks.figures import number
from benchmarks.rounds import play
from benchmarks.timetable.entrants import CROWDED, EVERYBODY, ONE_EACH, PLAIN, Entrant
from benchmarks.workers import Remote, Worker

ROUND_TRIP: Final = "GET with redis-py"
PLAIN_AGAIN: Final = "plain, once more"
BETWEEN_GETS: Final = "plain, between two GETs"
HEAD: Final = ("", "us", "times plain", "queries")


class DisagreementError(Exception):
    """Entrants returned different rows: one of them does not do the job."""


class NoHitError(Exception):
    """An entrant asked the database where its cache was to answer: its time would be that of something else."""


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
    """The processes of all entrants, and what has been told of them.

    Attributes:
        workers: By the entrant's name; `crowded` those of CROWDED.
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
        entrants: Sequence[Entrant] = ONE_EACH,
        is_hit: bool = False,
        beside: Mapping[str, tuple[str, int]] = MappingProxyType({}),
    ) -> dict[str, Remote]:
        """Time a job with entrants, from empty caches on; return them by name.

        Args:
            calls: In one turn at least, which lasts for `TURN_SECONDS`; its time is the median of them.
            amount: Given to the job's `prepare`.
            is_hit: Whether every cache must answer without the database.
            beside: Other jobs, with their amounts, that plain Django does in the same rounds, by what they are
                called in the table.

        Raises:
            DisagreementError, NoHitError: Somebody does not do the job.
        """
        self.server.flush([each.cache_database for each in entrants])
        players = {each.name: self.player(each, job, calls) for each in entrants}
        queries = prepared(players, amount)
        if is_hit:
            require_hits(queries)
        for name, (other_job, other_amount) in beside.items():
            players[name] = self.player(PLAIN, other_job, calls)
            players[name].prepare(other_amount)
        self.play(title, players, queries)
        return players

    def player(self, entrant: Entrant, job: str, calls: int = 1) -> Remote:
        """Return an entrant at a job."""
        return Remote(self.workers[entrant.name], job, calls)

    def play(self, title: str, players: Mapping[str, Remote], queries: Mapping[str, int]) -> None:
        """Let them take turns, and add the outcome to the table."""
        played = play(
            list(players.values()), rounds=self.scale.rounds, budget_seconds=self.scale.budget_seconds
        )
        self.lines.append((f"[{title}; {played} rounds]", "", "", ""))
        for name, player in players.items():
            times = f"{player.over(players[PLAIN.name]):.2f}" if PLAIN.name in players else ""
            self.lines.append((name, number(player.median * 1e6), times, str(queries.get(name, ""))))


@contextmanager
def stage(
    server: CacheServer,
    scale: Scale,
    *,
    everybody: Iterable[Entrant] = EVERYBODY,
    crowd: Iterable[Entrant] = CROWDED,
) -> Iterator[Stage]:
    """Start every entrant; end their processes afterwards."""
    with ExitStack() as stack:
        workers, crowded = (
            {each.name: stack.enter_context(each.start(server.url(each.cache_database))) for each in entrants}
            for entrants in (everybody, crowd)
        )
        yield Stage(server, scale, workers, crowded)


def prepared(players: Mapping[str, Remote], amount: int) -> dict[str, int]:
    """Make the players ready; return how many statements a call of each sends from then on.

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


def require_hits(queries: Mapping[str, int]) -> None:
    """See that everybody who caches sent no statement.

    Raises:
        NoHitError: Somebody did.
    """
    missed = [name for name, sent in queries.items() if sent and name != PLAIN.name]
    if missed:
        raise NoHitError(f"{' and '.join(missed)} asked the database where a hit was to be timed.")
