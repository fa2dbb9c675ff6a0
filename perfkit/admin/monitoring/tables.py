"""Which tables stand on the overview, and where its warnings lead. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from django.utils.translation import gettext as _

from perfkit.admin.monitoring import served, standing, worked
from perfkit.admin.monitoring.cells import Links, Table
from perfkit.caching import StoreFigures
from perfkit.monitoring.summary import Alert, Summary

SHOWN_ROWS: Final = 10
SECTIONS: Final = {
    "PerfkitLowHitRate": "#reads",
    "PerfkitSlowQueries": "#statements",
    "PerfkitSlowDatabase": "#statements",
    "PerfkitSlowRequests": "#views",
    "PerfkitPoolBusy": "#pools",
}
"""Where the figures are that an alert is about."""


def warnings(found: Iterable[Alert]) -> list[tuple[Alert, str]]:
    """Return alerts with the places that they lead to."""
    return [(alert, SECTIONS.get(alert.name, "")) for alert in found]


def overview(
    summary: Summary,
    links: Links,
    *,
    dead: Mapping[str, str],
    store: StoreFigures | None,
    advice: Table | None = None,
    shows_all: bool = False,
) -> list[Table]:
    """Return the tables of the overview, without those that have nothing to say.

    Args:
        dead: How many dead letters there are, in words, by the name of the job.
        store: What the cache server tells of itself.
        advice: The open index advice, for who may see it.
        shows_all: Whether long tables are not cut.
    """
    most = None if shows_all else SHOWN_ROWS
    found = [
        served.views(summary.views, links, most=most),
        served.statements(summary.statements, links, most=most),
        *([advice] if advice else []),
        served.reads(summary.reads, links, most=most),
        served.loops(summary.loops, most=most),
        worked.queues(summary.waits, links),
        worked.tasks(summary.tasks, links, most=most),
        worked.dead_letters(dead, links),
        worked.named(
            "timed",
            _("Timed by name"),
            _("Raised"),
            summary.timed,
            _("What the project measures with timed."),
        ),
        worked.named("models", _("Language models"), _("Tokens"), summary.models, ""),
        served.limits(summary.limited),
        standing.pools(summary.pools),
        standing.connections(summary),
        standing.processes(summary),
        standing.memory(summary, store),
    ]
    return [table for table in found if table.rows]
