from __future__ import annotations

from benchmarks.advisor.judging import Proposal, Together, Verdict
from benchmarks.advisor.telling import Hearing, figures, lines


def verdict(shape: str, advised: float, *, kind: str = "equality", best: float = 10) -> Verdict:
    return Verdict(shape, kind, 1_000, best, advised)


HEARD = Hearing(
    proposals=[
        Proposal("one", "CREATE INDEX …", frozenset({"a"})),
        Proposal("two", "CREATE INDEX two …", frozenset()),
    ],
    needless=[],
    alone=[verdict("a", 10), verdict("b", 900), verdict("c", 10, kind="join"), verdict("d", 11)],
    together=Together(
        (
            verdict("a", 10),
            verdict("b", 900),
            verdict("c", 500, kind="join"),
            verdict("d", 11),
            verdict("e", 1_200, kind="no index", best=1_000),
        ),
        ("two",),
    ),
    bound=[verdict("a", 10), verdict("b", 10), verdict("c", 10, kind="join"), verdict("d", 900)],
)


def test_it_leaves_out_of_the_shares_what_needs_no_index() -> None:
    told = {figure.name.partition(": ")[2]: figure.value for figure in figures(HEARD)}
    assert told == {
        "as good as the best, alone": 75,
        "as good as the best, all built": 50,
        "the same by cost alone": 50,
        "proposals": 2,
        "proposals that no plan uses": 1,
        "shapes made dearer": 1,
        "proposals for 1 others": 0,
        "the best of one and two columns": 75,
    }


def test_it_sets_goals_for_full_runs() -> None:
    def goals(**how: bool) -> list[float | None]:
        return [figure.goal for figure in figures(HEARD, **how) if "as good as" in figure.name]

    assert goals() == [90, 90]
    assert goals(is_quick=True) == [None, None]
    assert goals(is_pretended=True) == [95, 95]


def test_it_names_what_is_not_as_good_as_the_best_and_what_serves_nothing() -> None:
    told = lines(HEARD)
    assert ("equality", "3", "2", "2", "2") in told
    assert ("join", "1", "1", "0", "1") in told
    assert [line[0] for line in told[3:]] == ["not as good", "b", "c", "no plan uses"]
    assert told[-1][1] == "CREATE INDEX two …"
