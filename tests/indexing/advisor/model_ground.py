"""Where candidates are tried without a database: what an index is worth follows from its keys alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from perfkit.indexing.advisor.cases import Docket, docket_of
from perfkit.indexing.advisor.findings import Confidence
from perfkit.indexing.advisor.samples import Sample
from perfkit.indexing.advisor.search import Search
from perfkit.indexing.advisor.selection import Budget
from perfkit.indexing.advisor.specs import IndexSpec, Key
from perfkit.indexing.advisor.trials import Explained
from perfkit.workload import QueryShape, Workload

ROWS = 10_000.0
FOUND_BY_KEY = 0.05
"""The part of the rows that one more key leaves."""
IN_THE_INDEX = 0.2
"""What a row costs that need not be read from its table."""
PER_COLUMN = 0.02
"""What a wider index costs more to read."""


@dataclass(frozen=True)
class Question:
    """A statement that compares columns and reads others."""

    compared: tuple[str, ...]
    read: tuple[str, ...] = ()
    table: str = "t"

    @property
    def sql(self) -> str:
        """Return it as it is sent."""
        read = ", ".join(self.read or ("*",))
        return f"SELECT {read} FROM {self.table} WHERE " + " AND ".join(
            f"{each} = 1" for each in self.compared
        )

    def cost_by(self, spec: IndexSpec) -> float:
        """Return what it costs by an index: more keys find fewer rows, and it may have all that is read."""
        if spec.table != self.table:
            return ROWS
        found = 0
        for name in spec.columns:
            if name not in self.compared:
                break
            found += 1
        if not found:
            return ROWS
        within = {*spec.columns, *spec.include}
        is_covering = bool(self.read) and {*self.read, *self.compared} <= within
        width = 1 + PER_COLUMN * len(within)
        return 10 + ROWS * FOUND_BY_KEY**found * (IN_THE_INDEX if is_covering else 1.0) * width

    def candidates(self) -> tuple[IndexSpec, ...]:
        """Return what somebody would think of, who knows this statement alone."""
        keys = tuple(map(Key, self.compared))
        plain = [IndexSpec(self.table, keys), IndexSpec(self.table, keys[:1])]
        if self.read:
            plain.append(IndexSpec(self.table, keys, tuple(sorted({*self.read} - {*self.compared}))))
        return tuple(dict.fromkeys(plain))


@dataclass
class ModelGround:
    """See `trials.Ground`; the cheapest index is taken, and the first of equals."""

    questions: dict[str, Question]
    present: frozenset[IndexSpec] = field(default=frozenset(), init=False)

    @contextmanager
    def among(self, specs: Sequence[IndexSpec]) -> Iterator[tuple[IndexSpec, ...]]:
        assert not self.present
        self.present = frozenset(specs)
        yield tuple(specs)
        self.present = frozenset()

    @contextmanager
    def without(self, specs: Sequence[IndexSpec]) -> Iterator[None]:
        before, self.present = self.present, self.present - set(specs)
        yield
        self.present = before

    def explain(self, samples: Sequence[Sample]) -> Explained:
        question = self.questions[samples[0].sql]
        costs = {spec: question.cost_by(spec) for spec in sorted(self.present, key=repr)}
        best = min(costs, key=lambda spec: costs[spec], default=None)
        if best is None or costs[best] >= ROWS:
            return Explained(ROWS, frozenset())
        return Explained(costs[best], frozenset({best}))

    def size_bytes(self, spec: IndexSpec) -> int | None:
        return 1_000 * (len(spec.keys) + len(spec.include))


def docket(questions: Sequence[Question]) -> Docket:
    """Return the cases of some statements, all sent as often."""
    shapes = [QueryShape(each.sql, 1_000, 10.0, (each.sql,)) for each in questions]
    return docket_of(Workload("default", tuple(shapes)))


def search_of(questions: Sequence[Question], budget: Budget | None = None) -> Search:
    """Return the search for some statements, with time enough."""
    return Search(
        docket(questions),
        budget or Budget(),
        ModelGround({each.sql: each for each in questions}),
        {each.sql: each.candidates() for each in questions},
        lambda _: Confidence.BUILT,
        lambda: 1e9,
    )
