"""The job that looks for indexes to add and to drop, for a schedule."""

from __future__ import annotations

from typing import Final

from perfkit.indexing.advisor.keeping import keep
from perfkit.indexing.advisor.running import run_advisor
from perfkit.jobs.declared import job

SECONDS: Final = 600.0


@job(name="perfkit.advise_indexes", key="{using}", reuse=False, atomic=False, shown=["using", "seconds"])
def advise_indexes(
    using: str = "default", *, seconds: float = SECONDS, has_scratch: bool = True
) -> dict[str, int]:
    """Run the index advisor, and keep what it finds for the admin.

    Nothing of the project's own is changed.

    Args:
        using: The alias of a database.
        seconds: Longest time to find out.
        has_scratch: Whether tables may be copied to prove indexes.

    Returns:
        How many rows are new, were found again, were applied since the last time, and have no reason any more.

    Raises:
        NoIndexAdviceError: The database is neither PostgreSQL nor SQLite.
    """
    report, workload = run_advisor(using, deadline_seconds=seconds, has_scratch=has_scratch)
    return keep(report, workload)._asdict()
