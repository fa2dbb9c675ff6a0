"""Whether an index makes more work than there was: the planner may be wrong about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from perfkit.indexing.advisor.built import BuiltGround
from perfkit.indexing.advisor.cases import Verdict
from perfkit.indexing.advisor.measuring import Safety, work_of
from perfkit.indexing.advisor.specs import IndexSpec

HARM: Final = 1.05
HARM_PAGES: Final = 20.0
"""Less is within what two runs of the same plan differ by."""


@dataclass
class Harm:
    """Runs statements on the copies, each once with the same indexes."""

    ground: BuiltGround
    safety: Safety
    _work: dict[tuple[str, frozenset[IndexSpec]], float | None] = field(default_factory=dict)

    def done_by(self, chosen: Sequence[IndexSpec], verdicts: Sequence[Verdict]) -> dict[IndexSpec, str]:
        """Run what may be run, with and without; return those that make more work, with the reason."""
        touched = [
            each
            for each in verdicts
            if each.after.used and all(map(self.safety.is_runnable, each.case.samples))
        ]
        self._measure((), [(each, frozenset()) for each in touched])
        self._measure(chosen, [(each, each.after.used) for each in touched])
        refused: dict[IndexSpec, str] = {}
        for each in touched:
            before = self._work[each.case.shape.fingerprint, frozenset()]
            after = self._work[each.case.shape.fingerprint, each.after.used]
            most = HARM * (before or 0.0) + HARM_PAGES * len(each.case.samples)
            if before is not None and (after is None or after > most):
                refused |= dict.fromkeys(
                    each.after.used, "run on the copy, a statement does more work with it"
                )
        return refused

    def _measure(
        self,
        specs: Sequence[IndexSpec],
        wanted: Sequence[tuple[Verdict, frozenset[IndexSpec]]],
    ) -> None:
        """Run what was not yet run with just these indexes used, and keep its work."""
        new = [(each, used) for each, used in wanted if (each.case.shape.fingerprint, used) not in self._work]
        if new:
            with self.ground.among(specs):
                for each, used in new:
                    self._work[each.case.shape.fingerprint, used] = work_of(self.ground, each.case.samples)
