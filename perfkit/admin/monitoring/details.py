"""What the page of one thing says: of a view, a statement, the cached reads of a model, a task."""

from __future__ import annotations

from typing import Any, Final

from django.utils.translation import gettext

from perfkit.admin.monitoring import advice, drawings, served, tiles, worked
from perfkit.admin.monitoring.addresses import Addresses
from perfkit.admin.monitoring.cells import numbers
from perfkit.admin.monitoring.reading import history_of, seen, to_explain
from perfkit.monitoring.figures import CacheFigures, Pages, QueryFigures, RequestFigures, TaskFigures, Timing
from perfkit.monitoring.ledgers import added_up
from perfkit.monitoring.recorder import printable
from perfkit.monitoring.series import MOST_IN_PART
from perfkit.monitoring.summary import read_summary

STATUSES: Final = tuple(f"{status}xx" for status in range(1, 6))
READS: Final = ("hit\t", "hit\tstale", "miss\t")
"""What hit rates are made of: a former value that was shown is a hit too."""

Context = dict[str, Any]


def of_view(method: str, view: str, since: str, to: Addresses) -> Context:
    """Return what the page of a view shows.

    Queries: none; three round trips to the cache server.
    """
    summary = read_summary(since, statements=MOST_IN_PART, tells_first=False)
    found = [each for each in summary.views if (each.method, each.view) == (method, view)]
    each = found[0] if found else RequestFigures(method, view, Timing())
    own = [known for known in summary.statements if _was_seen_in(known, method, view)]
    history, problem = history_of([f"request\t{method}\t{view}\t{status}" for status in STATUSES], since)
    return {
        "title": gettext("View"),
        "subject": f"{method} {view}",
        "query": {"method": method, "view": view},
        "problem": summary.problem or problem,
        "tiles": tiles.of_view(each, summary.seconds) if found else [],
        "advice": list(advice.for_view(each)),
        "charts": drawings.of_view(history) if found else [],
        "tables": [served.statements(own, to.links, most=None)],
        "note": gettext(
            "A statement is shown here if this view was the first to send it, in some process: others may send "
            "it, too."
        ),
    }


def of_statement(alias: str, fingerprint: str, since: str, to: Addresses, *, may_explain: bool) -> Context:
    """Return what the page of a statement shows.

    Queries: none; two round trips to the cache server.
    """
    note, trouble = seen(fingerprint)
    history, problem = history_of([f"statement\t{alias}\t{fingerprint}"], since)
    found = Pages(added_up(stretch.vectors for stretch in history)).statements(most=1)
    statement, why = to_explain(note, alias, fingerprint)
    query = {"alias": alias, "fingerprint": fingerprint}
    places = []
    if note is not None:
        # Without a method it is a task, or was noted by an older perfkit.
        first_seen = to.of_view(note.method, note.view) if note.method else ""
        places = [
            (gettext("Database"), alias, ""),
            (gettext("First seen in"), f"{note.method} {note.view}".strip(), first_seen),
            (gettext("First seen at"), note.line, ""),
        ]
    return {
        "title": gettext("Statement"),
        "subject": fingerprint,
        "query": query,
        "problem": trouble or problem,
        "code": note.text if note else "",
        "places": places,
        "why_no_plan": why,
        "tiles": tiles.of_statement(found[0]) if found else [],
        "advice": list(advice.for_statement(found[0])) if found else [],
        "charts": drawings.of_statement(history) if found else [],
        "tables": [],
        "actions": [(gettext("Explain"), to.page("explain", **query))] if statement and may_explain else [],
    }


def of_reads(label: str, since: str) -> Context:
    """Return what the page of the cached reads of a model or function shows.

    Queries: none; three round trips to the cache server.
    """
    summary = read_summary(since, tells_first=False)
    found = [each for each in summary.reads if each.label == label]
    each = found[0] if found else CacheFigures(label)
    history, problem = history_of([f"cache\t{label}\t{outcome}" for outcome in READS], since)
    reasons = numbers("bypasses", gettext("Why reads went past the cache"), gettext("Reason"), each.bypasses)
    return {
        "title": gettext("Cached reads"),
        "subject": label,
        "query": {"label": label},
        "problem": summary.problem or problem,
        "tiles": tiles.of_reads(each) if found else [],
        "advice": list(advice.for_reads(each)),
        "charts": drawings.of_reads(history) if found else [],
        "tables": [reasons],
    }


def of_task(name: str, queue: str, since: str, to: Addresses) -> Context:
    """Return what the page of a task or job shows.

    Queries: none; three round trips to the cache server.
    """
    summary = read_summary(since, tells_first=False)
    found = [each for each in summary.tasks if (each.name, each.queue) == (name, queue)]
    each = found[0] if found else TaskFigures(name, queue, Timing(), {})
    history, problem = history_of([f"task\t{name}\t{queue}\t{outcome}" for outcome in each.outcomes], since)
    return {
        "title": gettext("Task"),
        "subject": f"{name} ({queue})" if queue else name,
        "query": {"name": name, "queue": queue},
        "problem": summary.problem or problem,
        "tiles": tiles.of_task(each) if found else [],
        "advice": list(advice.for_task(each)),
        "charts": drawings.of_task(history) if found else [],
        "tables": [
            numbers("outcomes", gettext("How its runs ended"), gettext("Outcome"), each.outcomes),
            worked.queues([wait for wait in summary.waits if wait.name == queue], to.links),
        ],
        "actions": [
            (gettext("Its jobs"), to.jobs(name=name)),
            (gettext("Its dead letters"), to.dead(name)),
        ],
    }


def _was_seen_in(each: QueryFigures, method: str, view: str) -> bool:
    seen_first = each.seen
    return seen_first is not None and printable(seen_first.view) == view and seen_first.method in {"", method}
