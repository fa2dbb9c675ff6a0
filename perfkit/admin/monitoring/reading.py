"""What the pages ask the ledger, the store and the table of jobs."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Final

from django.utils.translation import gettext

from perfkit.admin.monitoring.explaining import Explainable, explainable, why_not
from perfkit.caching import StoreFigures
from perfkit.caching.store import StoreError, current_store
from perfkit.errors import NotExplainableError, SettingsError
from perfkit.jobs.control import all_jobs
from perfkit.models import JobState
from perfkit.monitoring.boards import DAY_SECONDS, STATEMENTS, Seen, boards, boards_of, read_all
from perfkit.monitoring.histories import Stretch, read_history
from perfkit.monitoring.ledgers import current_ledger

COUNTED_DEAD: Final = 1_000


def history_of(names: Sequence[str], since: str) -> tuple[list[Stretch], str]:
    """Return how something went over time, and why that is not known."""
    try:
        return read_history(names, since), ""
    except (StoreError, SettingsError) as error:
        return [], problem_of(error)


def seen(fingerprint: str) -> tuple[Seen | None, str]:
    """Return the note of a statement, and why only this process has been asked for it."""
    if not fingerprint:
        return None, ""
    try:
        now = time.time()
        days = boards_of(STATEMENTS, now - DAY_SECONDS, now)
        found = current_ledger().posted(days, names=[fingerprint])
    except (StoreError, SettingsError) as error:
        return boards.known(STATEMENTS).get(fingerprint), problem_of(error)
    return read_all(found, Seen).get(fingerprint), ""


def to_explain(note: Seen | None, alias: str, fingerprint: str) -> tuple[Explainable | None, str]:
    """Return what may be explained of a statement, or why nothing may."""
    if note is None:
        return None, gettext("Its text is not known, or not any more.")
    why = why_not(alias)
    if why:
        return None, why
    try:
        return explainable(note.text, fingerprint), ""
    except NotExplainableError as error:
        return None, str(error)


def store_figures() -> StoreFigures | None:
    """Return what the store tells of itself, None where there is none or it does not."""
    try:
        store = current_store()
        return None if store is None else store.figures()
    except (StoreError, SettingsError):
        return None


def dead_letters() -> dict[str, str]:
    """Return how many dead letters there are by name, in words; of very many only the last are looked at."""
    last = all_jobs().filter(state=JobState.DEAD).order_by("-finished_at")
    names = list(last.values_list("name", flat=True)[: COUNTED_DEAD + 1])
    more = "+" if len(names) > COUNTED_DEAD else ""
    return {name: f"{number}{more}" for name, number in Counter(names[:COUNTED_DEAD]).most_common()}


def problem_of(error: Exception) -> str:
    """Return why figures are missing."""
    if isinstance(error, StoreError):
        return gettext("The cache server does not answer: %(error)s") % {"error": error}
    return str(error)
