"""The tables of what is done beside requests: queues, tasks, dead letters, and what has a name. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django.utils.translation import gettext as _

from perfkit.admin.monitoring.cells import OTHER, Cell, Heading, Links, Table, quantiles, table
from perfkit.admin.monitoring.figures import whole
from perfkit.monitoring.figures import NamedTiming, TaskFigures


def queues(found: Sequence[NamedTiming], links: Links) -> Table:
    """Return how long tasks waited in each queue."""
    return table(
        "queues",
        _("Waits in queues"),
        _("Tasks that wait long need more workers for their queue, or a queue of their own."),
        [Heading(_("Queue"), is_number=False), *map(Heading, (_("Begun"), _("P50"), _("P95"), _("P99")))],
        [
            (
                Cell(each.name, links.queue(each.name)),
                Cell(whole(each.timing.count)),
                *quantiles(each.timing),
            )
            for each in found
        ],
    )


def tasks(found: Sequence[TaskFigures], links: Links, *, most: int | None) -> Table:
    """Return the figures of tasks and jobs."""
    return table(
        "tasks",
        _("Tasks and jobs, those that took the most time first"),
        _("Failures are in the workers' log; dead letters wait for somebody to decide."),
        [
            Heading(_("Task"), is_number=False),
            Heading(_("Runs")),
            Heading(_("Outcomes"), is_number=False),
            *map(Heading, (_("Retries"), _("P50"), _("P95"), _("P99"))),
        ],
        [
            (
                Cell(
                    each.name,
                    "" if each.name == OTHER else links.task(each),
                    (each.queue,) if each.queue else (),
                ),
                Cell(whole(each.timing.count)),
                Cell(outcomes(each)),
                Cell(whole(each.retries)),
                *quantiles(each.timing),
            )
            for each in found[:most]
        ],
        left=len(found),
    )


def outcomes(each: TaskFigures) -> str:
    """Return how runs ended, in words, the most first."""
    ordered = sorted(each.outcomes.items(), key=lambda pair: (-pair[1], pair[0]))
    return ", ".join(f"{outcome} {whole(number)}" for outcome, number in ordered)


def dead_letters(found: Mapping[str, str], links: Links) -> Table:
    """Return the jobs that nobody tries any more."""
    return table(
        "dead",
        _("Dead letters"),
        _("Look at the error, repair the cause, then queue them once more or remove them."),
        [Heading(_("Job"), is_number=False), Heading(_("Dead letters"))],
        [(Cell(name, links.dead(name)), Cell(number)) for name, number in found.items()],
    )


def named(name: str, caption: str, second: str, found: Sequence[NamedTiming], advice: str) -> Table:
    """Return timings by name."""
    return table(
        name,
        caption,
        advice,
        [
            Heading(_("Name"), is_number=False),
            *map(Heading, (_("Times"), second, _("P50"), _("P95"), _("P99"))),
        ],
        [
            (
                Cell(each.name),
                Cell(whole(each.timing.count)),
                Cell(whole(each.second)),
                *quantiles(each.timing),
            )
            for each in found
        ],
    )
