"""Finds the missing indexes of a workload on SQLite."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.db import DatabaseError, connections

from perfkit.indexing.advisor.cases import Advice, Docket, docket_of, finding_of, read_samples
from perfkit.indexing.advisor.drawing import Drawer, UndrawableShapeError, drawn_statements
from perfkit.indexing.advisor.findings import Confidence
from perfkit.indexing.advisor.postgres_advising import MOST_SAMPLES, Candidates, with_samples
from perfkit.indexing.advisor.search import Search
from perfkit.indexing.advisor.selection import Budget, Price
from perfkit.indexing.advisor.sessions import OutOfTimeError
from perfkit.indexing.advisor.sqlite_ground import SqliteGround
from perfkit.workload.shapes import Workload

PAGES_AT_ONCE = 2_000


@dataclass
class SqliteAdvising:
    """One run; see `PostgresAdvising`."""

    workload: Workload
    using: str
    budget: Budget
    candidates: Candidates
    left_seconds: Callable[[], float]
    docket: Docket = field(init=False)

    def __post_init__(self) -> None:
        self.docket = docket_of(self.workload, is_sqlite=True)

    def advice(self) -> Advice:
        """Return what is to be done."""
        try:
            with sqlite_copy(self.using, self.budget, self.left_seconds) as ground:
                return self._advice(ground)
        except OutOfTimeError:
            for case in list(self.docket.cases):
                self.docket.skip(case, "there was no time left for it")
            return Advice(self.workload.alias, skipped=self.docket.told(self.workload))

    def _advice(self, ground: SqliteGround) -> Advice:
        tables = {name for (name,) in ground.run("SELECT name FROM sqlite_master WHERE type = 'table'")}
        self._draw(ground, tables)
        for case in list(self.docket.cases):
            case.samples = case.samples[-MOST_SAMPLES:]
            missing = sorted(case.tables - tables)
            if missing:
                self.docket.skip(case, f"there is no table {missing[0]}")
        confidence = Confidence.BUILT if ground.ratio == 1.0 else Confidence.SAMPLED
        search = Search(
            self.docket,
            self.budget,
            ground,
            self.candidates([with_samples(case) for case in self.docket.cases], ground.wrapper),
            lambda _: confidence,
            self.left_seconds,
        )
        search.try_all()
        prices = {spec: Price(ground.size_bytes(spec) or 0) for spec in search.tried()}
        chosen, verdicts = search.proved(prices, lambda _, __: {})
        findings = [
            finding_of(
                spec,
                [each for each in verdicts if spec in each.after.used],
                alias=self.workload.alias,
                size_bytes=ground.size_bytes(spec),
                write_cost=None,
            )
            for spec in chosen
        ]
        findings.sort(key=lambda each: (-each.gain, each.table, repr(each.spec)))
        part = "" if ground.ratio == 1.0 else f", one row of {ground.ratio:.0f}"
        return Advice(
            alias=self.workload.alias,
            findings=tuple(findings),
            skipped=self.docket.told(self.workload),
            rejected=search.told_rejected(),
            verified_by=f"on a copy of the database in a temporary file{part}",
            is_cut_short=search.is_cut_short,
        )

    def _draw(self, ground: SqliteGround, tables: set[str]) -> None:
        drawer = Drawer(
            ground.run, {name: name for name in tables}, ground.wrapper.ops.quote_name, is_sqlite=True
        )
        for case in list(self.docket.cases):
            if case.samples:
                continue
            try:
                texts = drawn_statements(case.shape.fingerprint, drawer, is_sqlite=True)
            except UndrawableShapeError as error:
                self.docket.skip(case, str(error))
            except DatabaseError:
                self.docket.skip(case, "no values were found for it")
            else:
                read_samples(self.docket, case, texts, is_sqlite=True)


@contextmanager
def sqlite_copy(using: str, budget: Budget, left_seconds: Callable[[], float]) -> Iterator[SqliteGround]:
    """Copy the database into a temporary file, which is gone at the end; a large one in part.

    A database in memory is copied wholly.
    """
    live = connections[using]
    live.ensure_connection()
    with tempfile.TemporaryDirectory(prefix="perfkit_scratch_") as folder:
        wrapper: Any = live.copy()
        wrapper.settings_dict["NAME"] = Path(folder) / "copy.sqlite3"
        wrapper.connection = wrapper.get_new_connection(wrapper.get_connection_params())
        try:
            wrapper.connection.execute("PRAGMA foreign_keys = OFF")  # a part of the rows misses others
            wrapper.connection.execute("PRAGMA synchronous = OFF")
            wrapper.connection.execute("PRAGMA journal_mode = MEMORY")
            ratio = _fill(live, wrapper, budget, left_seconds)
            ground = SqliteGround(wrapper, left_seconds, is_analyzed=_is_analyzed(wrapper), ratio=ratio)
            yield ground
        finally:
            wrapper.connection.close()


def _fill(live: Any, wrapper: Any, budget: Budget, left_seconds: Callable[[], float]) -> float:
    source, target = live.connection, wrapper.connection

    def told(_status: int, _left: int, _all: int) -> None:
        if left_seconds() <= 0:
            raise OutOfTimeError

    pages, size = (source.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
    step = -(-pages * size // budget.copy_bytes)
    path = next((file for _, name, file in source.execute("PRAGMA database_list") if name == "main"), "")
    if step <= 1 or not path:
        source.backup(target, pages=PAGES_AT_ONCE, progress=told, sleep=0)
        return 1.0
    with wrapper.wrap_database_errors:
        _fill_in_part(target, path, step, left_seconds)
    return float(step)


def _fill_in_part(target: Any, path: str, step: int, left_seconds: Callable[[], float]) -> None:
    """Copy every so manieth row of each table with row numbers, and others up to as many."""
    target.execute("ATTACH DATABASE ? AS live", [path])
    made = target.execute(
        "SELECT type, name, sql FROM live.sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' "
        "AND type IN ('table', 'index') ORDER BY type DESC, name"
    ).fetchall()
    for kind, name, sql in made:
        if left_seconds() <= 0:
            raise OutOfTimeError
        if sql.upper().startswith("CREATE VIRTUAL"):
            continue
        target.execute(sql)
        if kind == "table":
            quoted = '"' + name.replace('"', '""') + '"'
            where = "" if "WITHOUT ROWID" in sql.upper() else f" WHERE rowid % {step} = 0"
            target.execute(f"INSERT INTO main.{quoted} SELECT * FROM live.{quoted}{where}")
    is_analyzed = target.execute("SELECT 1 FROM live.sqlite_master WHERE name = 'sqlite_stat1'").fetchone()
    if target.in_transaction:
        target.commit()
    target.execute("DETACH DATABASE live")
    if is_analyzed:
        target.execute("ANALYZE")


def _is_analyzed(wrapper: Any) -> bool:
    row = wrapper.connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_stat1'").fetchone()
    return row is not None
