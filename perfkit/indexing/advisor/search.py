"""Tries candidates for each case, chooses for all of them, and proves the choice by having all at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import count, product
from typing import Final

from django.db import DatabaseError

from perfkit.indexing.advisor.built import ForeignReadError
from perfkit.indexing.advisor.cases import Case, Docket, Rejected, Verdict
from perfkit.indexing.advisor.findings import Confidence
from perfkit.indexing.advisor.selection import (
    LEAST_RATIO,
    NEAR,
    RARE_CALLS,
    Budget,
    Price,
    Selection,
    ShapeCosts,
)
from perfkit.indexing.advisor.sessions import OutOfTimeError
from perfkit.indexing.advisor.specs import BTREE, IndexSpec
from perfkit.indexing.advisor.trials import Configuration, Explained, Ground, configurations_of
from perfkit.postgres.session import sqlstate

FOR_PROOF: Final = 0.3
"""The part of the time that is kept for the proof of what was chosen."""

FOR_ASKING_AGAIN: Final = 0.5
"""The part of the time that is kept while cases are asked about without any index."""

MOST_CANDIDATES: Final = 40
MOST_PROOFS: Final = 6
MOST_MERGERS: Final = 3
OUT_OF_TIME: Final = "there was no time left for it"


@dataclass
class Search:
    """The search for one database.

    Args:
        ground: Where the choice is proved.
        wanted: Candidates by fingerprints, the likeliest first.
        confidence_of: How well is known what a case costs.
        left_seconds: Until the deadline.
        ground_for: Where a case's candidates are tried, if that is elsewhere.

    Attributes:
        is_cut_short: Whether there was no time to choose from all that was tried.
    """

    docket: Docket
    budget: Budget
    ground: Ground
    wanted: Mapping[str, tuple[IndexSpec, ...]]
    confidence_of: Callable[[Case], Confidence]
    left_seconds: Callable[[], float]
    ground_for: Callable[[Case, Sequence[IndexSpec]], Ground] | None = None
    costs: dict[str, ShapeCosts] = field(default_factory=dict, init=False)
    bases: dict[str, Explained] = field(default_factory=dict, init=False)
    rejected: dict[IndexSpec, str] = field(default_factory=dict, init=False)
    is_cut_short: bool = field(default=False, init=False)
    _before: dict[str, Explained] = field(default_factory=dict, init=False)
    _tried_elsewhere: set[str] = field(default_factory=set, init=False)

    def try_all(self) -> None:
        """Find out what each case would gain; the most expensive first, as long as there is time."""
        kept = self.left_seconds() * FOR_PROOF
        for case in list(self.docket.cases):
            candidates = self._candidates(case)
            if case.is_insert or not candidates:
                continue
            if self.left_seconds() <= kept:
                self.docket.skip(case, OUT_OF_TIME)
            else:
                self._try(case, candidates)
        self._try_merged(kept)

    def _try(self, case: Case, candidates: Sequence[IndexSpec]) -> None:
        try:
            ground = self.ground_for(case, candidates) if self.ground_for else self.ground
            base, found = configurations_of(ground, case.samples, candidates)
        except OutOfTimeError:
            self.docket.skip(case, OUT_OF_TIME)
        except ForeignReadError as error:
            self.docket.skip(case, str(error))
        except DatabaseError as error:
            if sqlstate(error) is None:
                raise
            self.docket.skip(case, f"the database does not explain it (SQLSTATE {sqlstate(error)})")
        else:
            if ground is not self.ground:
                self._tried_elsewhere.add(case.shape.fingerprint)
            self.bases[case.shape.fingerprint] = base
            self.costs[case.shape.fingerprint] = ShapeCosts(
                case.shape.fingerprint,
                case.weight,
                base.cost,
                tuple(found),
                is_rare=case.shape.calls < RARE_CALLS,
            )

    def _try_merged(self, kept: float) -> None:
        """Try, in the place of two that begin alike, one that carries what both carry; and so on with these."""
        tried: set[IndexSpec] = set()
        for _ in range(MOST_MERGERS):
            both = {spec: parts for spec, parts in merged_of(self.chosen({})).items() if spec not in tried}
            tried |= set(both)
            if not both:
                return
            for case in list(self.docket.cases):
                known = self.costs.get(case.shape.fingerprint)
                if known is None:
                    continue
                own = {spec for each in known.configurations for spec in each.specs}
                more = [spec for spec, parts in both.items() if not own.isdisjoint(parts)]
                if more and self.left_seconds() <= kept:
                    self.is_cut_short = True
                elif more:
                    self._try(case, [*sorted(own, key=repr), *more])

    def tried(self) -> list[IndexSpec]:
        """Return all that help somebody."""
        specs = {
            spec for each in self.costs.values() for found in each.configurations for spec in found.specs
        }
        return sorted(specs, key=repr)

    def chosen(self, prices: Mapping[IndexSpec, Price]) -> tuple[IndexSpec, ...]:
        """Return the choice, without what was rejected."""
        shapes = tuple(
            replace(
                each,
                configurations=tuple(c for c in each.configurations if c.specs.isdisjoint(self.rejected)),
            )
            for each in self.costs.values()
        )
        return Selection(shapes, prices, self.budget).chosen()

    def proved(
        self,
        prices: Mapping[IndexSpec, Price],
        harmed: Callable[[Sequence[IndexSpec], Sequence[Verdict]], Mapping[IndexSpec, str]],
    ) -> tuple[tuple[IndexSpec, ...], list[Verdict]]:
        """Return the choice and what it does for each case, all of it being there at once.

        What nobody then uses, or what harms somebody, is rejected, and chosen anew without it;
        so is what nobody misses, where there is nothing else to reject.
        After some rounds nothing is chosen anew: what was rejected is only left out.
        Where time ends, it is what was proved until then; what was not is given up.

        Args:
            harmed: Returns those that are to be rejected, with the reasons.

        Raises:
            OutOfTimeError: Nothing was proved until then.
        """
        chosen: tuple[IndexSpec, ...] = ()
        verdicts: list[Verdict] = []
        self._ask_before()
        for number in count():
            if number < MOST_PROOFS:
                chosen = self.chosen(prices)
            else:
                chosen = tuple(spec for spec in chosen if spec not in self.rejected)
            told: list[Verdict] = []
            try:
                for verdict in self._verdicts(chosen):
                    told.append(verdict)  # noqa: PERF402  # it may end in between
                refused = {**self._unused(chosen, told), **harmed(chosen, told)}
            except OutOfTimeError:
                self.is_cut_short = True
                return self._proved_before(verdicts or told)
            with suppress(OutOfTimeError):  # each of them is used and harms nobody
                refused = refused or self._missed_by_nobody(chosen, told)
            verdicts = told
            if not refused:
                break
            self.rejected |= refused
            self._learn(verdicts)
        return chosen, verdicts

    def _proved_before(self, verdicts: Sequence[Verdict]) -> tuple[tuple[IndexSpec, ...], list[Verdict]]:
        """Return what was shown to be good, where there is no time for more; what was not is given up."""
        if not verdicts:
            raise OutOfTimeError
        bad = {*self.rejected, *self._unused((), verdicts)}
        kept = [each for each in verdicts if each.after.used.isdisjoint(bad)]
        told = {each.case.shape.fingerprint for each in kept}
        for case in list(self.docket.cases):
            if not case.is_insert and case.shape.fingerprint not in told:
                self.docket.skip(case, OUT_OF_TIME)
        return tuple(sorted({spec for each in kept for spec in each.after.used}, key=repr)), kept

    def told_rejected(self) -> tuple[Rejected, ...]:
        """Return what was rejected, in order."""
        return tuple(Rejected(spec, reason) for spec, reason in sorted(self.rejected.items(), key=repr))

    def _candidates(self, case: Case) -> list[IndexSpec]:
        """Return the case's own candidates, and those of others that begin like one of them."""
        own = self.wanted.get(case.shape.fingerprint, ())
        beginnings = {(spec.table, spec.method, spec.keys[:1]) for spec in own}
        kindred = {
            spec: None
            for specs in self.wanted.values()
            for spec in specs
            if (spec.table, spec.method, spec.keys[:1]) in beginnings and not spec.condition
        }
        return list(dict.fromkeys([*own, *kindred]))[: max(MOST_CANDIDATES, len(own))]

    def _learn(self, verdicts: Sequence[Verdict]) -> None:
        """Take over what others' indexes did for a case: it may need none of its own.

        What counts is the part of its cost that is left, for it may have been tried elsewhere, on more rows.
        """
        for each in verdicts:
            fingerprint = each.case.shape.fingerprint
            known = self.costs.get(fingerprint)
            if known is None or not each.after.used:
                continue
            part = each.after.cost / each.before.cost if each.before.cost else 1.0
            learnt = Configuration(each.after.used, known.cost * part)
            found = sorted(
                {*known.configurations, learnt}, key=lambda one: (one.cost, sorted(map(repr, one.specs)))
            )
            self.costs[fingerprint] = replace(known, configurations=tuple(found))

    def _ask_before(self) -> None:
        """Find out what cases cost without any index; those for which there is no time are given up."""
        kept = self.left_seconds() * FOR_ASKING_AGAIN
        with self.ground.among(()):
            for case in [case for case in self.docket.cases if not case.is_insert]:
                try:
                    before = self._explained(case, kept)
                except OutOfTimeError:
                    self.docket.skip(case, OUT_OF_TIME)
                else:
                    if before is not None:
                        self._before[case.shape.fingerprint] = before
        self.costs = {name: costs for name, costs in self.costs.items() if name in self._before}

    def _verdicts(self, chosen: Sequence[IndexSpec]) -> Iterator[Verdict]:
        """Yield what all of these do for each case.

        Raises:
            OutOfTimeError: There was no time for the rest.
        """
        with self.ground.among(chosen):
            for case in list(self.docket.cases):
                before = self._before.get(case.shape.fingerprint)
                after = self._explained(case) if before is not None else None
                if before is not None and after is not None:
                    yield Verdict(case, before, after, self.confidence_of(case))

    def _explained(self, case: Case, kept_seconds: float = 0.0) -> Explained | None:
        """Ask what a case costs; None where the database does not say, and it is given up.

        Raises:
            OutOfTimeError: Only the kept time is left.
        """
        if self.left_seconds() <= kept_seconds:
            raise OutOfTimeError
        try:
            return self.ground.explain(case.samples)
        except ForeignReadError as error:
            self.docket.skip(case, str(error))
        except DatabaseError as error:
            if sqlstate(error) is None:
                raise
            self.docket.skip(case, f"the database does not explain it (SQLSTATE {sqlstate(error)})")
        return None

    def _missed_by_nobody(
        self, chosen: Sequence[IndexSpec], verdicts: Sequence[Verdict]
    ) -> dict[IndexSpec, str]:
        """Return those that are used, though beside the others it costs hardly more without them.

        A case was tried with its own candidates, and what was chosen for another one may serve it as well.
        All that are let go are away together, so that small steps do not become a large one.
        Of a case that was tried elsewhere, by statistics of more rows, nothing of that kind is told here.
        """
        away: dict[IndexSpec, str] = {}
        tables = Counter(spec.table for spec in chosen)
        with self.ground.among(chosen):
            for spec in sorted(chosen, key=lambda each: (self.ground.size_bytes(each) or 0, repr(each))):
                using = [each for each in verdicts if not each.after.used.isdisjoint({*away, spec})]
                if tables[spec.table] == 1 or any(
                    each.case.shape.fingerprint in self._tried_elsewhere for each in using
                ):
                    continue
                try:
                    with self.ground.without([*away, spec]):
                        others = [
                            replace(each, after=self.ground.explain(each.case.samples)) for each in using
                        ]
                except DatabaseError as error:
                    if sqlstate(error) is None:
                        raise
                    continue  # nobody knows whether it is missed
                self._learn(others)
                if all(
                    other.after.cost <= NEAR * each.after.cost
                    for other, each in zip(others, using, strict=True)
                ):
                    away[spec] = "statements cost hardly less with it beside the others"
                    tables[spec.table] -= 1
        return away

    @staticmethod
    def _unused(chosen: Sequence[IndexSpec], verdicts: Sequence[Verdict]) -> dict[IndexSpec, str]:
        used = {spec for each in verdicts for spec in each.after.used}
        useful = {
            spec
            for each in verdicts
            if each.after.cost * LEAST_RATIO <= each.before.cost
            for spec in each.after.used
        }
        told = dict.fromkeys(used - useful, "no statement gains from it beside the others")
        told |= {spec: "no statement uses it beside the others" for spec in chosen if spec not in used}
        return told


def merged_of(specs: Sequence[IndexSpec]) -> dict[IndexSpec, frozenset[IndexSpec]]:
    """Return indexes of which each could stand for two of `specs`: the longer one, carrying what both carry."""
    found = {}
    there = {replace(spec, include=tuple(sorted(spec.include))) for spec in specs}
    for short, long in product(specs, specs):
        begins = long.keys[: len(short.keys)] == short.keys
        alike = (short.table, short.method, short.condition) == (long.table, long.method, long.condition)
        if short == long or not begins or not alike or short.method != BTREE:
            continue
        carried = {*long.include, *short.include} - set(long.columns)
        spec = replace(long, include=tuple(sorted(carried)))  # in one order, that no two differ in it alone
        if spec not in there:
            found[spec] = frozenset({short, long})
    return found
