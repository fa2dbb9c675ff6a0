"""Whether an index makes more work than there was: the planner may be wrong about it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from perfkit.indexing.advisor.built import BuiltGround
from perfkit.indexing.advisor.cases import Verdict
from perfkit.indexing.advisor.measuring import Safety, work_of
from perfkit.indexing.advisor.sessions import OutOfTimeError
from perfkit.indexing.advisor.specs import IndexSpec

HARM: Final = 1.05
HARM_PAGES: Final = 20.0
"""Less is within what two runs of the same plan differ by."""

NONE: Final[frozenset[IndexSpec]] = frozenset()
FOR_MORE: Final = 0.5
"""The part of the time that is kept while statements are run."""

FOR_RUNS_WITH: Final = 0.5
"""The part of what is then left that is kept while they are run without any index."""


@dataclass
class Harm:
    """Runs statements on the copies, each once with the same indexes, as long as there is time."""

    ground: BuiltGround
    safety: Safety
    _work: dict[tuple[str, frozenset[IndexSpec]], float | None] = field(default_factory=dict)
    _never_run: set[str] = field(default_factory=set)

    def done_by(self, chosen: Sequence[IndexSpec], verdicts: Sequence[Verdict]) -> dict[IndexSpec, str]:
        """Run what may be run, with and without; return those that make more work, with the reason."""
        using = [each for each in verdicts if each.after.used]
        touched = [each for each in using if all(map(self.safety.is_runnable, each.case.samples))]
        names = {each.case.shape.fingerprint for each in touched}
        self._never_run |= {each.case.shape.fingerprint for each in using} - names
        with self.ground.session.keeping(FOR_MORE):
            with self.ground.session.keeping(FOR_RUNS_WITH):
                self._measure((), [(each, NONE) for each in touched])
            known = [
                each for each in touched if self._work.get((each.case.shape.fingerprint, NONE)) is not None
            ]
            self._measure(chosen, [(each, each.after.used) for each in known])
        refused: dict[IndexSpec, str] = {}
        for each in filter(self.is_told, known):
            before = self._work[each.case.shape.fingerprint, NONE] or 0.0
            after = self._work[each.case.shape.fingerprint, each.after.used]
            if after is None or after > HARM * before + HARM_PAGES * len(each.case.samples):
                refused |= dict.fromkeys(
                    each.after.used, "run on the copy, a statement does more work with it"
                )
        return refused

    def is_told(self, verdict: Verdict) -> bool:
        """Tell whether all is known of a case that running it can tell; else there was no time for it.

        One that takes too long without any index is not run with some.
        """
        name, used = verdict.case.shape.fingerprint, verdict.after.used
        if name in self._never_run or not used:
            return True
        before = self._work.get((name, NONE), 0.0)
        return before is None or {(name, NONE), (name, used)} <= self._work.keys()

    def _measure(
        self,
        specs: Sequence[IndexSpec],
        wanted: Sequence[tuple[Verdict, frozenset[IndexSpec]]],
    ) -> None:
        """Run what was not yet run with just these indexes used, and keep its work, as long as there is time."""
        new = [(each, used) for each, used in wanted if (each.case.shape.fingerprint, used) not in self._work]
        if new:
            with suppress(OutOfTimeError), self.ground.among(specs):  # what was run until then is known
                for each, used in new:
                    self._work[each.case.shape.fingerprint, used] = work_of(self.ground, each.case.samples)
