"""What indexes cost that somebody gains from: the room that they take, and what whoever writes pays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from perfkit.indexing.advisor.cases import Case
from perfkit.indexing.advisor.selection import Price
from perfkit.indexing.advisor.specs import IndexSpec
from perfkit.indexing.advisor.trials import Explained, Ground
from perfkit.indexing.advisor.write_costs import WriteCosts, is_written_by, rows_found


def prices_of(
    specs: Iterable[IndexSpec],
    cases: Sequence[Case],
    bases: Mapping[str, Explained],
    ground: Ground,
    writes: WriteCosts,
) -> dict[IndexSpec, Price]:
    """Return what each index costs.

    Args:
        bases: By fingerprints, what cases cost without any of them.
        ground: Where they were built.
    """
    prices = {}
    for spec in specs:
        writers = [case for case in cases if is_written_by(spec, case.samples)]
        total = sum(
            case.weight * _added(spec, case, bases.get(case.shape.fingerprint), writes) for case in writers
        )
        prices[spec] = Price(ground.size_bytes(spec) or 0, total)
    return prices


def _added(spec: IndexSpec, case: Case, base: Explained | None, writes: WriteCosts) -> float:
    """Return what an index adds to a case that writes it, as a part of what the case costs.

    An INSERT does nothing but write. An UPDATE looks for its rows too, and that may be nearly all it does.
    """
    if case.is_insert or base is None or not base.cost:
        return writes.ratio(spec) or 0.0
    return (writes.pages_of_row(spec) or 0.0) * rows_found(base.plans) / base.cost
