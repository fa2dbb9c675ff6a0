"""What to do about figures that are worse than they could be. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from django.utils.translation import gettext as _

from perfkit.admin.monitoring.figures import decimal, duration, percent
from perfkit.monitoring.figures import CacheFigures, QueryFigures, RequestFigures, TaskFigures
from perfkit.monitoring.summary import LEAST_HIT_RATE, MOST_P95_SECONDS, MOST_SLOW_SHARE

MOST_DATABASE_SHARE: Final = 0.5
MOST_QUERIES_EACH: Final = 20.0
MOST_SPREAD: Final = 10.0
"""P99 to P50: beyond it some requests differ in kind from the others."""

SHORT_SECONDS: Final = 0.005
MANY_CALLS: Final = 1_000


def for_view(each: RequestFigures) -> Iterator[str]:
    """Yield what to do about a view."""
    timing = each.timing
    if each.failed:
        yield _("%(share)s of its answers are errors: look for their tracebacks in the log.") % {
            "share": percent(each.failed_share, 2)
        }
    if (each.queries_each or 0.0) > MOST_QUERIES_EACH:
        yield _(
            "It sends %(number)s queries a request: turn on the N+1 guard (N_PLUS_ONE_MODE), and load relations "
            "with eager."
        ) % {"number": decimal(each.queries_each)}
    if (each.database_share or 0.0) > MOST_DATABASE_SHARE:
        yield _(
            "%(share)s of its time is the database's: look at the plans of its statements, or cache what they "
            "answer."
        ) % {"share": percent(each.database_share)}
    elif (timing.p95_seconds or 0.0) > MOST_P95_SECONDS:
        yield _(
            "It is slow, and not for the database: measure parts of it with timed, leave slow work to a job, or "
            "keep whole answers with cache_response."
        )
    if timing.p50_seconds and timing.p99_seconds and timing.p99_seconds > MOST_SPREAD * timing.p50_seconds:
        yield _(
            "One request of 100 takes more than %(long)s, half of them less than %(short)s: see what is special "
            "about the long ones, such as misses of the cache or large accounts."
        ) % {"long": duration(timing.p99_seconds), "short": duration(timing.p50_seconds)}


def for_statement(each: QueryFigures) -> Iterator[str]:
    """Yield what to do about a statement."""
    mean = each.timing.mean_seconds or 0.0
    if each.failed:
        yield _("Some of its calls failed: the log says with which error.")
    if (each.slow_share or 0.0) > MOST_SLOW_SHARE:
        yield _(
            "It is often slow: look at its plan, and whether an index serves what it filters and sorts by."
        )
    elif each.timing.count >= MANY_CALLS and mean < SHORT_SECONDS:
        yield _(
            "It is short and asked for very often: cache its answer, or ask once for many rows; the N+1 guard "
            "finds loops."
        )


def for_reads(each: CacheFigures) -> Iterator[str]:
    """Yield what to do about cached reads."""
    if each.hit_rate is not None and each.hit_rate < LEAST_HIT_RATE:
        yield _(
            "Fewer than %(share)s are hits: let it live longer, have a CachedManager depend on columns with by=, "
            "or warm it."
        ) % {"share": percent(LEAST_HIT_RATE, 0)}
    if each.bypassed > each.hits + each.misses:
        yield _("Most of its reads go past the cache: the reasons are below.")


def for_task(each: TaskFigures) -> Iterator[str]:
    """Yield what to do about a task."""
    good = each.outcomes.get("done", 0) + each.outcomes.get("success", 0)
    if good < each.timing.count:
        yield _("Some of its runs did not succeed: the workers' log has their tracebacks.")
    if each.retries > good:
        yield _("It is tried again more often than it succeeds: what it depends on may be down.")
