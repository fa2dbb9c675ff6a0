"""The tables of how things stand at the moment: pools, processes, memory. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from django.utils import timezone
from django.utils.translation import gettext as _

from perfkit.admin.monitoring.cells import Cell, Heading, Table, table
from perfkit.admin.monitoring.figures import NOTHING, percent, size, whole
from perfkit.caching import StoreFigures
from perfkit.monitoring.figures import PoolUse, connected
from perfkit.monitoring.summary import Summary


def pools(found: Sequence[PoolUse]) -> Table:
    """Return how the pools of databases stand."""
    rows = []
    for each in found:
        in_use, most, waiting = each.now
        own = [pool for process in each.processes for pool in process.pools if pool.alias == each.alias]
        rows.append(
            (
                Cell(each.alias),
                Cell(percent(each.share)),
                Cell(_("%(used)s of %(most)s") % {"used": whole(in_use), "most": whole(most)}),
                Cell(whole(waiting)),
                Cell(whole(sum(pool.queued for pool in own))),
                Cell(whole(sum(pool.timeouts for pool in own))),
            )
        )
    return table(
        "pools",
        _("Pools of connections"),
        _(
            "A pool that is full keeps requests waiting: shorten transactions, or enlarge it; manage.py "
            "perfkit_pool says how far."
        ),
        [
            Heading(_("Database"), is_number=False),
            *map(
                Heading,
                (_("In use on average"), _("In use now"), _("Waiting now"), _("Waited"), _("Gave up")),
            ),
        ],
        rows,
    )


def connections(summary: Summary) -> Table:
    """Return how many connections to each database are open."""
    return table(
        "connections",
        _("Connections"),
        _(
            "Open in all processes, those of pools among them; one that is in a transaction without a statement "
            "holds its locks."
        ),
        [
            Heading(_("Database"), is_number=False),
            *map(Heading, (_("Open now"), _("Statement under way"), _("In a transaction"), _("Idle"))),
        ],
        [
            (
                Cell(each.alias),
                *map(Cell, map(whole, (each.open, each.active, each.in_transaction, each.idle))),
            )
            for each in connected(summary.processes).values()
        ],
    )


def processes(summary: Summary) -> Table:
    """Return the processes that are alive."""
    return table(
        "processes",
        _("Processes"),
        _("Each tells of itself every few seconds; who has not for a minute is gone."),
        [
            Heading(_("Process"), is_number=False),
            Heading(_("Host"), is_number=False),
            *map(Heading, (_("Process id"), _("Requests now"), _("Memory of its cache"), _("Minutes lost"))),
        ],
        [
            (
                Cell(each.role, notes=(_("since %(time)s") % {"time": _clock(each.begun)},)),
                Cell(each.host),
                Cell(str(each.pid)),
                Cell(whole(each.active)),
                Cell(size(each.memory_bytes)),
                Cell(whole(each.lost)),
            )
            for each in summary.processes
        ],
    )


def memory(summary: Summary, store: StoreFigures | None) -> Table:
    """Return what the two tiers of the cache hold."""
    rows = []
    if summary.processes:
        held = sum(each.memory_bytes for each in summary.processes)
        number = _("processes: %(number)s") % {"number": whole(len(summary.processes))}
        rows.append(
            (
                Cell(_("In the processes (L1)"), notes=(number,)),
                Cell(size(held)),
                Cell(NOTHING),
                Cell(NOTHING),
            )
        )
    if store is not None:
        rows.append(
            (
                Cell(_("On the cache server (L2)"), notes=(store.name,) if summary.is_shared else ()),
                Cell(size(store.used_bytes)),
                Cell(size(store.most_bytes)),
                Cell(whole(store.evicted)),
            )
        )
    return table(
        "memory",
        _("Memory of the cache"),
        _("Evictions mean that the server has too little memory for what is cached."),
        [
            Heading(_("Tier"), is_number=False),
            *map(Heading, (_("Held"), _("At most"), _("Evicted since its start"))),
        ],
        rows,
    )


def _clock(moment: float) -> str:
    """Return a moment in the time zone that is active."""
    return timezone.localtime(datetime.fromtimestamp(moment, tz=UTC)).strftime("%Y-%m-%d %H:%M")
