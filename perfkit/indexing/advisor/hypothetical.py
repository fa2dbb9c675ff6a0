"""Candidates that hypopg only pretends to have, on the live tables' own statistics."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Final

from django.db import DatabaseError

from perfkit.indexing.advisor.built import LONGEST_EXPLAIN_SECONDS
from perfkit.indexing.advisor.cases import Case, Verdict
from perfkit.indexing.advisor.findings import Confidence
from perfkit.indexing.advisor.samples import Sample, as_read
from perfkit.indexing.advisor.sessions import OutOfTimeError, Session
from perfkit.indexing.advisor.specs import IndexSpec
from perfkit.indexing.advisor.trials import Explained, explained_of
from perfkit.postgres.session import sqlstate

METHODS: Final = frozenset({"btree", "brin", "hash"})
"""What hypopg knows; GIN, GiST and SP-GiST are not among them."""

EXTENSION_SQL: Final = """
SELECT n.nspname::text FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
WHERE e.extname = 'hypopg' AND has_schema_privilege(n.oid, 'USAGE')
"""


@dataclass
class HypotheticalGround:
    """Tries candidates by hypopg; see `trials.Ground`.

    Nothing is built, and of the live tables only ACCESS SHARE locks are taken, so statements that write
    are asked for as the reads that find their rows.

    Args:
        extension_schema: Where hypopg's functions are.
    """

    session: Session
    extension_schema: str
    refused: dict[IndexSpec, str] = field(default_factory=dict)
    _present: dict[IndexSpec, tuple[int, str]] = field(default_factory=dict)
    _sizes: dict[IndexSpec, int] = field(default_factory=dict)
    _names: dict[str, IndexSpec] = field(default_factory=dict)

    def can_try(self, specs: Sequence[IndexSpec], samples: Sequence[Sample]) -> bool:
        """Tell whether hypopg knows all of these, and all statements can be asked for without further locks."""
        return all(spec.method in METHODS for spec in specs) and all(map(as_read, samples))

    @staticmethod
    def can_estimate(specs: Iterable[IndexSpec]) -> bool:
        """Tell whether the live statistics say all of these: of an expression they exist once it is indexed."""
        return not any(key.is_expression for spec in specs for key in spec.keys)

    @contextmanager
    def among(self, specs: Sequence[IndexSpec]) -> Iterator[tuple[IndexSpec, ...]]:
        """Within the block exactly these are pretended; yields those that hypopg takes."""
        self.session.limit(LONGEST_EXPLAIN_SECONDS)
        try:
            with self.session.transaction():
                self._pretend(specs)
                yield tuple(spec for spec in specs if spec in self._present)
        finally:  # they are the session's, not the transaction's
            self._present.clear()
            if not self.session.wrapper.connection.closed:
                self.session.run(f"SELECT {self._function('reset')}()")

    @contextmanager
    def without(self, specs: Sequence[IndexSpec]) -> Iterator[None]:
        """Within the block these are not pretended."""
        away = [spec for spec in specs if spec in self._present]
        for spec in away:
            oid, _ = self._present.pop(spec)
            self.session.run(f"SELECT {self._function('drop_index')}(%s::oid)", [oid])
        try:
            yield
        finally:
            if not self.session.wrapper.connection.closed:
                self._pretend(away)

    def explain(self, samples: Sequence[Sample]) -> Explained:
        """Ask the planner about the live tables, without running anything.

        Raises:
            DatabaseError: A statement is none of this database's.
            OutOfTimeError: The deadline has come.
        """
        plans = []
        with self.session.aside(read_only=True):
            for sample in samples:
                read = as_read(sample)
                assert read is not None  # noqa: S101  # see can_try
                self.session.limit(LONGEST_EXPLAIN_SECONDS)
                said = self.session.value(f"EXPLAIN (FORMAT JSON) {read.sql}")
                plans.append((json.loads(said) if isinstance(said, str) else said)[0]["Plan"])
        return explained_of(plans, self.spec_named)

    def size_bytes(self, spec: IndexSpec) -> int | None:
        """How large it would be; None where it was never pretended."""
        return self._sizes.get(spec)

    def spec_named(self, name: str) -> IndexSpec | None:
        """Return what has been pretended under a name; None for an index that is there."""
        return self._names.get(name)

    def _pretend(self, specs: Sequence[IndexSpec]) -> None:
        for spec in specs:
            if spec in self.refused:
                continue
            sql = spec.sql("hypothetical", self.session.quote)
            self.session.run("SAVEPOINT perfkit_pretend")
            try:
                oid, name = self.session.run(
                    f"SELECT indexrelid::bigint, indexname::text FROM {self._function('create_index')}(%s)",
                    [sql],
                )[0]
                size = self.session.value(f"SELECT {self._function('relation_size')}(%s::oid)", [oid])
            except (DatabaseError, OutOfTimeError) as error:
                if self.session.wrapper.connection.closed:
                    raise
                self.session.run("ROLLBACK TO SAVEPOINT perfkit_pretend")
                if isinstance(error, OutOfTimeError):
                    raise
                self.refused[spec] = f"hypopg does not take it (SQLSTATE {sqlstate(error)})"
            else:
                self._present[spec] = (oid, name)
                self._sizes[spec] = size
                self._names[name] = spec
            finally:
                if not self.session.wrapper.connection.closed:
                    self.session.run("RELEASE SAVEPOINT perfkit_pretend")

    def _function(self, name: str) -> str:
        return f"{self.session.quote(self.extension_schema)}.hypopg_{name}"


def hypothetical_ground(session: Session) -> HypotheticalGround | None:
    """Return where candidates are pretended; None where hypopg is not created in the database.

    Queries: 1.
    """
    if session.is_pooled:
        return None
    found = session.run(EXTENSION_SQL)
    return HypotheticalGround(session, found[0][0]) if found else None


def on_live_statistics(
    ground: HypotheticalGround,
    chosen: Sequence[IndexSpec],
    verdicts: Sequence[Verdict],
    *,
    is_known: Callable[[Case], bool],
) -> list[Verdict]:
    """Return verdicts by the live statistics, where these can tell; the others as they are.

    Args:
        is_known: Tells of which cases all rows were looked at.
    """
    told = []
    for each in verdicts:
        used = tuple(each.after.used)
        can_ask = ground.can_estimate(used) and ground.can_try(used, each.case.samples)
        if is_known(each.case) or not can_ask:
            told.append(each)
            continue
        try:
            with ground.among(()):
                before = ground.explain(each.case.samples)
            with ground.among([spec for spec in chosen if ground.can_try([spec], ())]):
                after = ground.explain(each.case.samples)
        except DatabaseError:  # what the copies said holds
            if ground.session.wrapper.connection.closed:
                raise
            told.append(each)
            continue
        by_these = replace(each, before=before, after=after, confidence=Confidence.HYPOTHETICAL)
        told.append(by_these if after.used else each)
    return told
