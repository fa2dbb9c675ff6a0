"""The search for a whole workload, with what an index is worth given: merged ones, and what nobody misses."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import psycopg
import pytest
from django.db import DatabaseError
from hypothesis import given
from hypothesis import strategies as st

from perfkit.indexing.advisor import search
from perfkit.indexing.advisor.cases import Verdict
from perfkit.indexing.advisor.existing import covers
from perfkit.indexing.advisor.samples import Sample
from perfkit.indexing.advisor.search import Search, merged_of
from perfkit.indexing.advisor.selection import NEAR
from perfkit.indexing.advisor.specs import IndexSpec, Key
from perfkit.indexing.advisor.trials import Explained, configurations_of
from tests.indexing.advisor.model_ground import ModelGround, Question, search_of

COLUMNS = st.lists(st.sampled_from("abcde"), min_size=1, max_size=3, unique=True).map(tuple)
QUESTIONS = st.builds(Question, COLUMNS, st.one_of(st.just(()), COLUMNS), st.sampled_from("tu"))
WORKLOADS = st.lists(QUESTIONS, min_size=1, max_size=7, unique_by=lambda each: each.sql)


def index(*columns: str, include: tuple[str, ...] = ()) -> IndexSpec:
    return IndexSpec("t", tuple(map(Key, columns)), include)


def advised(questions: list[Question]) -> tuple[tuple[IndexSpec, ...], dict[str, float]]:
    """Return what is chosen in the end, and what each statement then costs."""
    made = search_of(questions)
    made.try_all()
    chosen, verdicts = made.proved({}, lambda _, __: {})
    return chosen, {each.case.shape.fingerprint: each.after.cost for each in verdicts}


def cost_of(question: Question, chosen: tuple[IndexSpec, ...]) -> float:
    ground = ModelGround({question.sql: question})
    made = search_of([question])
    with ground.among(chosen):
        return ground.explain(made.docket.cases[0].samples).cost


@dataclass
class DoubtfulGround(ModelGround):
    """Beside an index of an expression the planner knows how many rows it finds, and else it hopes for few."""

    def explain(self, samples: Sequence[Sample]) -> Explained:
        costs = {UPPER: 900.0, UPPER_OF_OPEN: 500.0 if UPPER in self.present else 50.0, PLAIN: 100.0}
        best = min(self.present & costs.keys(), key=costs.__getitem__, default=None)
        return Explained(costs[best], frozenset({best})) if best else Explained(1_000.0, frozenset())


UPPER = IndexSpec("t", (Key("upper(a)", is_expression=True),))
UPPER_OF_OPEN = replace(UPPER, condition="(NOT b)")
PLAIN = index("c")


def test_one_of_an_expression_costs_what_it_costs_without_the_others() -> None:
    samples = search_of([Question(("a",))]).docket.cases[0].samples
    base, found = configurations_of(DoubtfulGround({}), samples, [UPPER, UPPER_OF_OPEN, PLAIN])
    assert base.cost == 1_000.0
    assert [(set(each.specs), each.cost) for each in found] == [
        ({UPPER_OF_OPEN}, 50.0),
        ({PLAIN}, 100.0),
        ({UPPER}, 900.0),
    ]


def test_one_that_carries_what_two_carry_takes_their_place() -> None:
    first = Question(("a",), ("d",))
    second = Question(("a", "b"), ("c",))
    chosen, _ = advised([first, second])
    assert chosen == (index("a", "b", include=("c", "d")),)


def test_merged_ones_are_merged_again(monkeypatch: pytest.MonkeyPatch) -> None:
    questions = [
        Question(("a",), ("e",)),
        Question(("a", "b"), ("d",)),
        Question(("a", "b", "c"), ("b",)),
    ]
    whole = (index("a", "b", "c", include=("d", "e")),)
    assert advised(questions)[0] == whole
    monkeypatch.setattr(search, "MOST_MERGERS", 1)
    assert advised(questions)[0] != whole


def test_what_only_another_statement_thought_of_makes_one_needless() -> None:
    """`(b, a)` was tried for the second alone, and serves the first as well, which was never tried with it."""
    first, second = Question(("a", "b")), Question(("b", "a"), ("c",))
    made = search_of([first, second])
    made.try_all()
    both = made.chosen({})
    assert len(both) == 2
    chosen, verdicts = made.proved({}, lambda _, __: {})
    assert len(chosen) == 1
    assert {spec for each in verdicts for spec in each.after.used} == set(chosen)
    assert [str(each.reason) for each in made.told_rejected()] == [
        "statements cost hardly less with it beside the others"
    ]


def test_what_was_tried_elsewhere_keeps_what_it_uses() -> None:
    questions = [Question(("a", "b")), Question(("b", "a"), ("c",))]
    made = search_of(questions)
    elsewhere = ModelGround({each.sql: each for each in questions})
    made.ground_for = lambda *_: elsewhere
    made.try_all()
    both = made.chosen({})
    assert made.proved({}, lambda _, __: {})[0] == both
    assert len(both) == 2


class Clock:
    """Goes on by a second with each question to the ground."""

    def __init__(self, made: Search, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = 1e9
        ask = ModelGround.explain

        def explain(ground: ModelGround, samples: Sequence[Sample]) -> Explained:
            self.left -= 1
            return ask(ground, samples)

        monkeypatch.setattr(ModelGround, "explain", explain)
        made.left_seconds = lambda: self.left


TABLES = "tuvwxy"


@pytest.mark.parametrize("seconds", range(2, 15))
def test_what_was_proved_when_time_ends_is_told(seconds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may end while cases are asked about without indexes, or with them; the first ones are then known."""
    made = search_of([Question(("a", "b"), table=name) for name in TABLES])
    made.try_all()
    clock = Clock(made, monkeypatch)
    clock.left = seconds
    chosen, verdicts = made.proved({}, lambda _, __: {})
    assert clock.left >= 0
    assert len(chosen) == len(verdicts) == min(seconds // 2, len(TABLES))
    assert all(each.after.used <= set(chosen) for each in verdicts)
    looked_at = {each.case.shape.fingerprint for each in verdicts}
    left_out = {f"SELECT * FROM {name} WHERE a = 1 AND b = 1" for name in TABLES} - looked_at
    assert made.docket.skipped == dict.fromkeys(left_out, search.OUT_OF_TIME)


def test_what_a_round_has_proved_holds_where_time_ends_in_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    made = search_of([Question(("a", "b"), table=name) for name in TABLES])
    made.try_all()
    clock = Clock(made, monkeypatch)

    def harmed(chosen: Sequence[IndexSpec], _: Sequence[Verdict]) -> dict[IndexSpec, str]:
        clock.left = 2
        return {chosen[0]: "it does harm"}

    chosen, verdicts = made.proved({}, harmed)
    (refused,) = made.told_rejected()
    assert len(chosen) == len(verdicts) == len(TABLES) - 1
    assert refused.spec not in chosen
    assert set(made.docket.skipped.values()) == {search.OUT_OF_TIME}
    assert len(made.docket.skipped) == 1


def test_a_case_that_cannot_be_explained_with_the_others_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    made = search_of([Question(("a", "b"), table=name) for name in TABLES])
    made.try_all()
    ask = ModelGround.explain

    def explain(ground: ModelGround, samples: Sequence[Sample]) -> Explained:
        if len(ground.present) == len(TABLES) and samples[0].tables == ("u",):
            raise DatabaseError from psycopg.errors.QueryCanceled()
        return ask(ground, samples)

    monkeypatch.setattr(ModelGround, "explain", explain)
    chosen, verdicts = made.proved({}, lambda _, __: {})
    assert {spec.table for spec in chosen} == {*TABLES} - {"u"}
    assert len(verdicts) == len(TABLES) - 1
    assert list(made.docket.skipped.values()) == ["the database does not explain it (SQLSTATE 57014)"]


SPECS = st.builds(
    lambda keys, carried: index(*keys, include=tuple(each for each in carried if each not in keys)),
    COLUMNS,
    st.one_of(st.just(()), COLUMNS),
)


@given(st.lists(SPECS, max_size=5, unique=True))
def test_a_merged_one_does_what_its_parts_do(specs: list[IndexSpec]) -> None:
    for merged, parts in merged_of(specs).items():
        assert merged not in specs
        assert all(covers(merged, part) for part in parts)
        assert set(merged.include).isdisjoint(merged.columns)


@given(WORKLOADS)
def test_each_that_is_chosen_is_missed(questions: list[Question]) -> None:
    chosen, costs = advised(questions)
    for spec in chosen:
        rest = tuple(each for each in chosen if each != spec)
        assert any(cost_of(each, rest) > NEAR * costs[each.sql] for each in questions)
    assert not any(
        covers(one, other) for one in chosen for other in chosen if one != other and one.table == other.table
    )


@given(WORKLOADS)
def test_merging_never_needs_more_indexes_nor_costs_much(questions: list[Question]) -> None:
    with_mergers, costs = advised(questions)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "MOST_MERGERS", 0)
        without, before = advised(questions)
    assert len(with_mergers) <= len(without)
    for each in questions:
        best = min(cost_of(each, (spec,)) for spec in [*each.candidates(), *with_mergers, *without])
        assert costs[each.sql] <= max(before[each.sql], NEAR * NEAR * best)


@given(WORKLOADS, st.randoms(use_true_random=False))
def test_the_order_of_statements_and_candidates_is_nothing_to_it(
    questions: list[Question], shuffle: random.Random
) -> None:
    chosen, costs = advised(questions)
    mixed = list(questions)
    shuffle.shuffle(mixed)
    made = search_of(mixed)
    wanted = {sql: list(specs) for sql, specs in made.wanted.items()}
    for specs in wanted.values():
        shuffle.shuffle(specs)
    keys = list(wanted)
    shuffle.shuffle(keys)
    made.wanted = {key: tuple(wanted[key]) for key in keys}
    made.try_all()
    found, verdicts = made.proved({}, lambda _, __: {})
    assert set(found) == set(chosen)
    assert {each.case.shape.fingerprint: each.after.cost for each in verdicts} == costs
