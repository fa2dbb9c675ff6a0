"""Finds the missing indexes of a workload on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from django.db import DatabaseError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.indexing.advisor.bounds import LOCKED, locked_tables
from perfkit.indexing.advisor.built import BuiltGround
from perfkit.indexing.advisor.cases import Advice, Case, Docket, Verdict, docket_of, finding_of, read_samples
from perfkit.indexing.advisor.copies import Copy, make_copies
from perfkit.indexing.advisor.drawing import (
    Drawer,
    UndrawableShapeError,
    drawn_statements,
    functions_in,
    tables_in,
)
from perfkit.indexing.advisor.findings import Confidence
from perfkit.indexing.advisor.guesses import GuessedGround, likeliest
from perfkit.indexing.advisor.harm import Harm
from perfkit.indexing.advisor.hypothetical import (
    HypotheticalGround,
    hypothetical_ground,
    on_live_statistics,
)
from perfkit.indexing.advisor.live_tables import LiveTable, live_tables
from perfkit.indexing.advisor.measuring import Safety
from perfkit.indexing.advisor.pricing import prices_of
from perfkit.indexing.advisor.scratch import refusal, scratch_schema
from perfkit.indexing.advisor.search import FOR_PROOF, OUT_OF_TIME, Search
from perfkit.indexing.advisor.selection import Budget, Price
from perfkit.indexing.advisor.sessions import OutOfTimeError, Session, session_of
from perfkit.indexing.advisor.specs import IndexSpec
from perfkit.indexing.advisor.trials import Ground
from perfkit.indexing.advisor.write_costs import WriteCosts
from perfkit.postgres.session import sqlstate
from perfkit.workload.shapes import QueryShape, Workload

Answer = TypeVar("Answer")

Candidates = Callable[[Sequence[QueryShape], BaseDatabaseWrapper], Mapping[str, tuple[IndexSpec, ...]]]
"""Thinks of indexes for shapes, by what a connection says of their tables; the likeliest first."""

FOR_TRIALS: Final = 0.7
"""The part of the time that is kept while values are drawn, and again while candidates are thought of.

So it is while what writes cost is measured.
"""

THOUGHT_OF_AT_ONCE: Final = 50
MOST_SAMPLES: Final = 5


@dataclass
class PostgresAdvising:
    """One run.

    Args:
        candidates: Thinks of indexes for shapes.
        has_scratch: Whether tables may be copied.
        left_seconds: Until the deadline.
    """

    workload: Workload
    using: str
    budget: Budget
    candidates: Candidates
    has_scratch: bool
    left_seconds: Callable[[], float]
    docket: Docket = field(init=False)
    _copies: dict[str, Copy] = field(default_factory=dict)
    _tables: dict[str, LiveTable] = field(default_factory=dict)
    _notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.docket = docket_of(self.workload)

    def advice(self) -> Advice:
        """Return what is to be done.

        Raises:
            Error: The database is not to be reached.
        """
        with session_of(self.using, self.left_seconds) as session, ExitStack() as stack:
            try:
                return self._advice(session, stack)
            except OutOfTimeError:
                for case in list(self.docket.cases):
                    self.docket.skip(case, OUT_OF_TIME)
                return self._told((), [], None, None)

    def _advice(self, session: Session, stack: ExitStack) -> Advice:
        self._look_up(session)
        why_not = refusal(session) if self.has_scratch else "copies were not wanted"
        hypopg = hypothetical_ground(session)
        if not why_not:
            schema = stack.enter_context(scratch_schema(session))
            return self._on_copies(session, schema, hypopg)
        if hypopg is not None:
            self._notes.append(f"by hypopg on the live statistics; no copies, as {why_not}")
            return self._elsewhere(session, hypopg, Confidence.HYPOTHETICAL)
        self._notes.append(f"by the catalogue alone; no hypopg in the database, and no copies, as {why_not}")
        rows = {name: table.rows or 0 for name, table in self._tables.items()}
        return self._elsewhere(session, GuessedGround(session, rows), Confidence.CATALOGUE)

    def _look_up(self, session: Session) -> None:
        """Find the tables of all cases, and give up those that cannot be had."""
        self._tables = self._unless_locked(
            session,
            list(self.docket.cases),
            lambda cases: live_tables(session, {name for case in cases for name in _tables_of(case)}),
        )
        for case in list(self.docket.cases):
            case.samples = case.samples[-MOST_SAMPLES:]
            problem = self._problem_of(case)
            if problem:
                self.docket.skip(case, problem)

    def _problem_of(self, case: Case) -> str:
        for sample in case.samples:
            for name in sample.tables:
                table = self._tables.get(name)
                if table is None:
                    return f"there is no table {name} in the search path"
                if table.problem:
                    return table.problem
                if sample.schemas - {table.schema}:
                    return "it names a schema that is not the one of its tables"
        return ""

    def _on_copies(self, session: Session, schema: str, hypopg: HypotheticalGround | None) -> Advice:
        self._copies, problems = make_copies(
            session,
            schema,
            [table for table in self._tables.values() if not table.problem],
            most_rows=self.budget.copy_rows,
            most_bytes=self.budget.copy_bytes,
        )
        for name, problem in problems.items():
            self._tables[name] = replace(self._tables[name], problem=problem)
            for case in [each for each in self.docket.cases if name in _tables_of(each)]:
                self.docket.skip(case, problem)
        sampled = [name for name, copy in self._copies.items() if not copy.is_whole]
        kind = f"; {', '.join(sampled)} in part" if sampled else ""
        self._notes.append(f"on copies of {len(self._copies)} tables{kind}")
        self._draw(session, {name: f"{schema}.{session.quote(name)}" for name in self._copies})
        path = ", ".join(map(session.quote, session.value("SELECT current_schemas(false)::text[]")))
        ground = BuiltGround(session, schema, self._copies, self.budget.copy_bytes, path)

        def ground_for(case: Case, specs: Sequence[IndexSpec]) -> Ground:
            if hypopg is None or self._is_whole(case) or not hypopg.can_estimate(specs):
                return ground
            return hypopg if hypopg.can_try(specs, case.samples) else ground

        def confidence_of(case: Case) -> Confidence:
            return Confidence.BUILT if self._is_whole(case) else Confidence.SAMPLED

        search = self._search(session, ground, confidence_of)
        search.ground_for = ground_for
        with session.keeping(FOR_PROOF):
            search.try_all()
        writes = WriteCosts(session, schema, self._copies)
        with session.keeping(FOR_TRIALS):
            prices = prices_of(search.tried(), self.docket.cases, search.bases, ground, writes)
        harm = Harm(ground, Safety(session))
        chosen, verdicts = search.proved(prices, harm.done_by)
        verdicts = [replace(each, is_run=harm.is_told(each)) for each in verdicts]
        if hypopg is not None:
            with suppress(OutOfTimeError):  # what the copies said holds
                verdicts = on_live_statistics(hypopg, chosen, verdicts, is_known=self._is_whole)
        return self._told(chosen, verdicts, search, writes, ground)

    def _elsewhere(
        self, session: Session, ground: HypotheticalGround | GuessedGround, confidence: Confidence
    ) -> Advice:
        """Advise without copies; nothing is known of what writes cost."""
        self._draw(
            session,
            {
                name: f"{session.quote(table.schema)}.{session.quote(name)}"
                for name, table in self._tables.items()
                if not table.problem and (table.rows or 0) <= self.budget.copy_rows
            },
        )
        for case in list(self.docket.cases):
            can_try = (
                ground.can_try((), case.samples)
                if isinstance(ground, HypotheticalGround)
                else ground.can_try(case.samples)
            )
            if not case.is_insert and not can_try:
                self.docket.skip(case, "its rows can be found on copies alone")
        search = self._search(session, ground, lambda _: confidence)
        if isinstance(ground, GuessedGround):
            search.wanted = likeliest(search.wanted)
        with session.keeping(FOR_PROOF):
            search.try_all()
        prices = {spec: Price(ground.size_bytes(spec) or 0) for spec in search.tried()}
        chosen, verdicts = search.proved(prices, lambda _, __: {})
        return self._told(chosen, verdicts, search, None, ground)

    def _search(
        self, session: Session, ground: Ground, confidence_of: Callable[[Case], Confidence]
    ) -> Search:
        wanted = self._wanted(session)
        return Search(self.docket, self.budget, ground, wanted, confidence_of, self.left_seconds)

    def _wanted(self, session: Session) -> dict[str, tuple[IndexSpec, ...]]:
        """Think of candidates, for the most expensive cases first, as long as there is time to try them."""
        wanted: dict[str, tuple[IndexSpec, ...]] = {}
        kept = self.left_seconds() * FOR_TRIALS
        cases = list(self.docket.cases)
        for begin in range(0, len(cases), THOUGHT_OF_AT_ONCE):
            some = cases[begin : begin + THOUGHT_OF_AT_ONCE]
            if self.left_seconds() > kept:
                wanted |= self._unless_locked(
                    session,
                    some,
                    lambda cases: self.candidates([with_samples(case) for case in cases], session.wrapper),
                )
            else:
                self._leave(some)
        return wanted

    def _unless_locked(
        self, session: Session, cases: Sequence[Case], ask: Callable[[Sequence[Case]], Mapping[str, Answer]]
    ) -> dict[str, Answer]:
        """Return what is asked of cases; those are given up whose tables others have locked."""
        session.limit()
        try:
            return dict(ask(cases))
        except OperationalError as error:
            if sqlstate(error) != LOCKED:
                raise
        locked = set(locked_tables(session.wrapper).values())
        given_up = [case for case in cases if not locked.isdisjoint(_tables_of(case))]
        for case in given_up:
            self.docket.skip(case, "others have locked a table of it")
        return dict(ask([case for case in cases if case not in given_up]))

    def _leave(self, cases: Sequence[Case]) -> None:
        """Give cases up for want of time; what only adds rows stays, for what it pays is counted."""
        for case in cases:
            if not case.samples or not case.is_insert:
                self.docket.skip(case, OUT_OF_TIME)

    def _draw(self, session: Session, sources: Mapping[str, str]) -> None:
        """Find values for the cases that have none."""
        drawer = Drawer(lambda sql: _read(session, sql), sources, session.quote)
        safety = Safety(session)
        kept = self.left_seconds() * FOR_TRIALS
        for case in list(self.docket.cases):
            if case.samples:
                continue
            if self.left_seconds() <= kept:
                self._leave([case])
                continue
            session.limit()
            if safety.may_write(functions_in(case.shape.fingerprint)):
                self.docket.skip(case, "its values are not known, and it calls what may do more than read")
                continue
            try:
                texts = drawn_statements(case.shape.fingerprint, drawer)
            except UndrawableShapeError as error:
                self.docket.skip(case, str(error))
            except DatabaseError as error:
                self.docket.skip(case, f"no values were found for it (SQLSTATE {sqlstate(error)})")
            else:
                read_samples(self.docket, case, texts)
                if case.samples and (problem := self._problem_of(case)):
                    self.docket.skip(case, problem)

    def _is_whole(self, case: Case) -> bool:
        return all(self._copies[name].is_whole for name in case.tables if name in self._copies)

    def _told(
        self,
        chosen: Sequence[IndexSpec],
        verdicts: Sequence[Verdict],
        search: Search | None,
        writes: WriteCosts | None,
        ground: Ground | None = None,
    ) -> Advice:
        findings = []
        for spec in chosen:
            using = [each for each in verdicts if spec in each.after.used]
            if not using:
                continue
            findings.append(
                finding_of(
                    spec,
                    using,
                    alias=self.workload.alias,
                    size_bytes=ground.size_bytes(spec) if ground is not None else None,
                    write_cost=writes.ratio(spec) if writes is not None else None,
                )
            )
        findings.sort(key=lambda each: (-each.gain, each.table, repr(each.spec)))
        return Advice(
            alias=self.workload.alias,
            findings=tuple(findings),
            skipped=self.docket.told(self.workload),
            rejected=search.told_rejected() if search is not None else (),
            verified_by="; ".join(self._notes),
            copied_rows={name: copy.rows for name, copy in sorted(self._copies.items())},
            is_partial=not all(self._copies[name].is_whole for name in self._copies) or not self._copies,
            is_cut_short=search is not None and search.is_cut_short,
        )


def _tables_of(case: Case) -> AbstractSet[str]:
    """Return the tables of a case, of its samples or of the text without values."""
    if case.samples:
        return case.tables
    return tables_in(case.shape.fingerprint)


def _read(session: Session, sql: str) -> list[tuple[object, ...]]:
    with session.transaction():
        session.run("SET LOCAL transaction_read_only = on")
        return session.run(sql)


def with_samples(case: Case) -> QueryShape:
    """Return a case's shape with the values that were drawn for it."""
    shape = case.shape
    if shape.samples:
        return shape
    return QueryShape(
        shape.fingerprint,
        shape.calls,
        shape.total_seconds,
        tuple(sample.sql for sample in case.samples),
        shape.callers,
    )
