"""Candidates that are really built, on the copies in a scratch schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from django.db import DatabaseError

from perfkit.indexing.advisor.copies import Copy
from perfkit.indexing.advisor.samples import Sample
from perfkit.indexing.advisor.sessions import Session
from perfkit.indexing.advisor.specs import IndexSpec
from perfkit.indexing.advisor.trials import Explained, explained_of, nodes_of
from perfkit.postgres.session import sqlstate

NAME: Final = "perfkit_candidate_"
LONGEST_BUILD_SECONDS: Final = 20.0
LONGEST_EXPLAIN_SECONDS: Final = 10.0


class ForeignReadError(ValueError):
    """A statement reads what was not copied."""


@dataclass(slots=True)
class Built:
    """An index that stands on a copy."""

    name: str
    size_bytes: int


@dataclass
class BuiltGround:
    """Tries candidates by building them; see `trials.Ground`.

    An index that was built stays, hidden by a DROP that is undone, until its bytes are needed for others.

    Args:
        most_bytes: Of all indexes that stand at one time.
        path: Where types and functions are found, as SQL; the copies come before it.
    """

    session: Session
    schema: str
    copies: Mapping[str, Copy]
    most_bytes: int
    path: str = ""
    refused: dict[IndexSpec, str] = field(default_factory=dict)
    _built: dict[IndexSpec, Built] = field(default_factory=dict)
    _sizes: dict[IndexSpec, int] = field(default_factory=dict)
    _made: int = 0

    @contextmanager
    def among(self, specs: Sequence[IndexSpec]) -> Iterator[tuple[IndexSpec, ...]]:
        """Within the block exactly these are there, beside the existing ones; yields those that could be built."""
        self._build([spec for spec in specs if spec not in self._built])
        wanted = set(specs)
        present = tuple(spec for spec in specs if spec in self._built)
        self.session.limit(LONGEST_EXPLAIN_SECONDS)
        with self.session.transaction():
            self.session.run(f"SET LOCAL search_path = {', '.join(filter(None, [self.schema, self.path]))}")
            self._drop([spec for spec in self._built if spec not in wanted])
            yield present

    @contextmanager
    def without(self, specs: Sequence[IndexSpec]) -> Iterator[None]:
        """Within the block these are not there either."""
        with self.session.aside():
            self._drop(specs)
            yield

    def explain(self, samples: Sequence[Sample]) -> Explained:
        """Ask the planner, in a transaction that cannot write, without running anything.

        Raises:
            DatabaseError: A statement is none of this database's.
            ForeignReadError: It reads what was not copied.
            OutOfTimeError: The deadline has come.
        """
        plans = []
        with self.session.aside(read_only=True):
            for sample in samples:
                self.session.limit(LONGEST_EXPLAIN_SECONDS)
                plans.append(self.plan_of(sample, "FORMAT JSON, VERBOSE"))
        return explained_of(plans, self.spec_named)

    def plan_of(self, sample: Sample, options: str) -> Mapping[str, Any]:
        """Return what EXPLAIN says with these options."""
        said = self.session.value(f"EXPLAIN ({options}) {sample.sql}")
        plan: Mapping[str, Any] = (json.loads(said) if isinstance(said, str) else said)[0]["Plan"]
        for node in nodes_of(plan):
            if node.get("Schema", self.schema) not in {self.schema, "pg_catalog"}:
                raise ForeignReadError(
                    f"it reads {node.get('Relation Name', 'something')}, of which there is no copy"
                )
        return plan

    def spec_named(self, name: str) -> IndexSpec | None:
        """Return which candidate has a name; None for an index that was there already."""
        if not name.startswith(NAME):
            return None
        return next((spec for spec, built in self._built.items() if built.name == name), None)

    def size_bytes(self, spec: IndexSpec) -> int | None:
        """How large it would be on the whole table; None where it was never built."""
        size = self._sizes.get(spec)
        return None if size is None else int(size * self.copies[spec.table].ratio)

    def _build(self, specs: Sequence[IndexSpec]) -> None:
        told_anew = set()
        for spec in specs:
            if spec in self.refused or spec.table not in self.copies:
                continue
            self._make_room(specs)
            self._made += 1
            name = f"{NAME}{self._made}"
            self.session.limit(LONGEST_BUILD_SECONDS)
            try:
                self.session.run(spec.sql(name, self.session.quote, schema=self.schema))
            except DatabaseError as error:
                self.refused[spec] = f"it could not be built (SQLSTATE {sqlstate(error)})"
                if self.session.wrapper.connection.closed:
                    raise
                continue
            size = self.session.value(
                "SELECT pg_relation_size(to_regclass(%s))", [f"{self.schema}.{self.session.quote(name)}"]
            )
            self._built[spec] = Built(name, size)
            self._sizes[spec] = size
            if any(key.is_expression for key in spec.keys):
                told_anew.add(spec.table)
        for table in sorted(told_anew):  # an expression has statistics only after that
            self.session.limit()
            self.session.run(f"ANALYZE {self.schema}.{self.session.quote(table)}")

    def _make_room(self, wanted: Sequence[IndexSpec]) -> None:
        """Drop for good what was built first, until the rest is within the limit."""
        total = sum(built.size_bytes for built in self._built.values())
        for spec in list(self._built):
            if total <= self.most_bytes:
                return
            if spec not in wanted:
                total -= self._built[spec].size_bytes
                self._drop([spec])
                del self._built[spec]

    def _drop(self, specs: Sequence[IndexSpec]) -> None:
        names = [
            f"{self.schema}.{self.session.quote(self._built[spec].name)}"
            for spec in specs
            if spec in self._built
        ]
        if names:
            self.session.run(f"DROP INDEX {', '.join(names)}")
