"""The demo's flights without the indexes that it declares, and with some that nobody needs: all must be named."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.core.management import call_command
from django.db import connection
from django.db.models import Expression, F, TextField
from django.db.models.functions import MD5, Cast, Left

from benchmarks.advisor.ground import Ground
from benchmarks.advisor.judging import Verdict
from benchmarks.advisor.proposing import additions, workload_of
from benchmarks.advisor.statements import SAMPLES, sent_by
from benchmarks.figures import Figure, number
from perfkit.indexing.advisor.findings import Kind
from perfkit.indexing.advisor.inspecting import inspect
from perfkit.indexing.advisor.judging import Limits
from project.flights.index_lookup import count_flights_of
from project.flights.models import Flight
from project.flights.pages import flights


@dataclass(frozen=True, slots=True)
class Question:
    """What the demo asks, with other values in each call.

    Attributes:
        ask: Returns a queryset to be read, or asks by itself, of a value.
        judged: The value of the call that is judged; the advisor does not see it.
        values: What has the values of the calls that the advisor sees; None where a call has none.
    """

    ask: Callable[[Any], Any]
    judged: Any = None
    values: Expression | F | None = None

    def seen(self) -> list[Any]:
        """Return values of real rows, rare ones as likely as common ones, and the same in every run."""
        if self.values is None:
            return [None]
        rows = Flight.objects.annotate(value=self.values).exclude(value=self.judged).exclude(value=None)
        found = rows.annotate(drawn=MD5(Cast("value", TextField()))).values_list("value", "drawn").distinct()
        return [value for value, _ in found.order_by("drawn")[:SAMPLES]]


MISSING: Final[Mapping[str, Question]] = {
    "flight_time": Question(lambda _: flights({})[:21]),
    "flight_airline_time": Question(lambda code: flights({"airline": code})[:21], "HA", F("airline_id")),
    "flight_origin_time": Question(
        lambda code: Flight.objects.filter(origin=code).order_by("-time_hour")[:21], "LGA", F("origin_id")
    ),
    "flight_dest_code_time": Question(
        lambda code: flights({"destination": code})[:21], "HNL", F("dest_code")
    ),
    "flight_plane_time": Question(count_flights_of, "N14228", F("plane_id")),
    "flight_destination": Question(
        lambda code: Flight.objects.filter(destination=code), "LEX", F("destination_id")
    ),
    "flight_number_id": Question(
        lambda number: Flight.objects.filter(number=number).order_by("id")[:21], 5559, F("number")
    ),
    "flight_tailnum": Question(
        lambda text: Flight.objects.filter(tailnum__startswith=text), "N1422", Left("tailnum", 5)
    ),
    "flight_dep_delay": Question(
        lambda _: Flight.objects.order_by(F("dep_delay").desc(nulls_last=True), "id")[:21]
    ),
    "flight_cancelled": Question(
        lambda _: Flight.objects.filter(dep_time__isnull=True).order_by("-time_hour")[:21]
    ),
}
"""Declared indexes that are taken away, and what the demo's pages, admin and API ask that each serves."""

SUPERFLUOUS: Final = {
    "planted_unused": (Kind.UNUSED, "CREATE INDEX planted_unused ON flights_flight (air_time, distance)"),
    "planted_unused_too": (
        Kind.UNUSED,
        "CREATE INDEX planted_unused_too ON flights_weather (pressure, humid)",
    ),
    "planted_again": (
        Kind.DUPLICATE,
        "CREATE INDEX planted_again ON flights_weather (origin_id, time_hour)",
    ),
    "planted_shorter": (Kind.REDUNDANT, "CREATE INDEX planted_shorter ON flights_flight (year, month)"),
}
"""Indexes that nobody needs: the first two nobody asks for, the others a unique constraint serves as well."""

SUPERFLUOUS_KINDS: Final = frozenset({Kind.UNUSED, Kind.DUPLICATE, Kind.REDUNDANT})


def measure(*, is_quick: bool) -> tuple[list[tuple[str, ...]], list[Figure]]:
    """Plant, ask the advisor, and count; the demo's tables are empty before."""
    call_command("load_flights", verbosity=0, **({"limit": 60_000} if is_quick else {}))
    ground = Ground(connection)
    statements = {name: _statement(each, each.judged) for name, each in MISSING.items()}
    examples = {name: [_statement(each, of) for of in each.seen()] for name, each in MISSING.items()}
    declared = {name: (ground.cost([of]), _time(ground, of)) for name, of in statements.items()}
    _run(*(f"DROP INDEX {name}" for name in _declared_indexes()), *(ddl for _, ddl in SUPERFLUOUS.values()))
    _run("VACUUM ANALYZE flights_flight, flights_weather")
    before = {name: (ground.cost([of]), _time(ground, of)) for name, of in statements.items()}
    times = {name: milliseconds for name, (_, milliseconds) in before.items()}
    asked = workload_of(examples, times, alias=connection.alias)
    proposals = additions(asked)
    with ground.built([each.ddl for each in proposals]):
        advised = {name: (ground.cost([of]), _time(ground, of)) for name, of in statements.items()}
    verdicts = [
        Verdict(
            *(name, "the demo", before[name][0], declared[name][0], advised[name][0]),
            (declared[name][1], advised[name][1]),
        )
        for name in statements
    ]
    named = {
        finding.name: finding.kind
        for finding in inspect(connection.alias, limits=Limits(unused_days=0)).findings
        if finding.kind in SUPERFLUOUS_KINDS
    }
    slowest = max(times, key=lambda name: times[name])
    lines: list[tuple[str, ...]] = [
        ("the demo's question", "ms without", "as declared", "as advised", "cost as declared", "as advised"),
        *(
            (
                *(each.shape, f"{times[each.shape]:.2f}"),
                *(f"{milliseconds:.3f}" for milliseconds in each.milliseconds or ()),
                *(number(each.best), number(each.advised)),
            )
            for each in verdicts
        ),
    ]
    found = sum(each.is_served for each in verdicts)
    superfluous = sum(name in named for name in SUPERFLUOUS)
    title = "the demo's planted indexes"
    return lines, [
        Figure(f"{title}: missing ones found", found, "indexes", len(MISSING), "higher"),
        Figure(f"{title}: superfluous ones named", superfluous, "indexes", len(SUPERFLUOUS), "higher"),
        Figure(
            "the demo's slowest lookup: times as fast with the advised index",
            times[slowest] / advised[slowest][1],
            "times",
            None if is_quick else 50,
            "higher",
        ),
    ]


def _statement(question: Question, value: Any) -> str:
    return sent_by(lambda: question.ask(value), connection)


def _time(ground: Ground, statement: str) -> float:
    return ground.measure([statement], times=7).milliseconds


def _declared_indexes() -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
            "WHERE i.indrelid = 'flights_flight'::regclass "
            "AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = i.indexrelid) ORDER BY 1"
        )
        return [name for (name,) in cursor.fetchall()]


def _run(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
