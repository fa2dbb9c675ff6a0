"""Forgets what was measured: `clear`."""

from __future__ import annotations

import time
from typing import Final

from perfkit.monitoring.boards import DAY_SECONDS, KEPT_SECONDS, LOOPS, STATEMENTS, boards_of
from perfkit.monitoring.ledgers import current_ledger
from perfkit.monitoring.recording import recorder
from perfkit.monitoring.series import pages_until, total_pages

WHAT: Final = ("totals", "all")


def clear(what: str, *, now: float | None = None) -> int:
    """Forget what all processes that use the same cache server have measured.

    What they measure from now on is counted as before. The texts of statements are there again once their
    processes put them up, within an hour.

    Args:
        what: `"totals"`, what Prometheus is told, whose counters begin at 0, and whose places go to whoever comes
            first; or `"all"`, with what the pages, the command and the log show.
        now: Seconds since 1970.

    Returns:
        How many pages may have been there.

    Raises:
        ValueError: It is neither.
        StoreError: The ledger cannot be reached; some of it may be forgotten.

    Queries:
        None; a round trip to the cache server for each 500 pages.
    """
    if what not in WHAT:
        raise ValueError(f"what must be one of {', '.join(map(repr, WHAT))}, not {what!r}.")
    moment = time.time() if now is None else now
    recorder.tell()
    pages = total_pages()
    if what == "all":
        begin = moment - KEPT_SECONDS - DAY_SECONDS
        pages += pages_until(moment)
        pages += [name for board in (STATEMENTS, LOOPS) for name in boards_of(board, begin, moment)]
    current_ledger().clear(pages)
    return len(pages)
