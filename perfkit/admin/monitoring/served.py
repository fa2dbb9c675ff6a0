"""The tables of what is asked of the project: views, statements, cached reads, loops, limits. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django.utils.translation import gettext as _

from perfkit.admin.monitoring.cells import OTHER, Cell, Heading, Links, Table, quantiles, shortened, table
from perfkit.admin.monitoring.figures import NOTHING, decimal, duration, percent, whole
from perfkit.monitoring.figures import CacheFigures, LoopFigures, QueryFigures, RequestFigures


def views(found: Sequence[RequestFigures], links: Links, *, most: int | None) -> Table:
    """Return the figures of views."""
    return table(
        "views",
        _("Views, those that took the most time first"),
        _(
            "Begin at the top. Much time in the database: look at the view's statements. Many queries: load "
            "relations with eager. Else the time is spent in Python, or waiting for other services."
        ),
        [
            Heading(_("View"), is_number=False),
            *map(
                Heading,
                (
                    _("Requests"),
                    _("Failed"),
                    _("P50"),
                    _("P95"),
                    _("P99"),
                    _("Queries each"),
                    _("In the database"),
                ),
            ),
        ],
        [
            (
                Cell(f"{each.method} {each.view}".strip(), "" if each.method == OTHER else links.view(each)),
                Cell(whole(each.timing.count)),
                Cell(f"{whole(each.failed)} ({percent(each.failed_share)})" if each.failed else "0"),
                *quantiles(each.timing),
                Cell(decimal(each.queries_each)),
                Cell(percent(each.database_share)),
            )
            for each in found[:most]
        ],
        left=len(found),
    )


def statements(found: Sequence[QueryFigures], links: Links, *, most: int | None) -> Table:
    """Return the figures of statements, their texts shortened."""
    return table(
        "statements",
        _("Statements, those that took the most time first"),
        _("Long in total and short each: ask less often, or cache the answer. Long each: look at its plan."),
        [
            Heading(_("Statement"), is_number=False),
            *map(Heading, (_("Calls"), _("In total"), _("On average"), _("P95"), _("Slow"), _("Failed"))),
        ],
        [
            (
                statement_cell(each, links),
                Cell(whole(each.timing.count)),
                Cell(duration(each.timing.total_seconds)),
                Cell(duration(each.timing.mean_seconds)),
                Cell(duration(each.timing.p95_seconds)),
                Cell(whole(each.slow)),
                Cell(whole(each.failed)),
            )
            for each in found[:most]
        ],
        left=len(found),
    )


def statement_cell(each: QueryFigures, links: Links) -> Cell:
    """Return the text of a statement as a heading, with where it was seen."""
    if each.fingerprint == OTHER:
        return Cell(_("All others"))
    if each.seen is None:
        return Cell(each.fingerprint, links.statement(each), (each.alias,), is_code=True)
    places = (each.alias, each.seen.view, each.seen.line)
    return Cell(
        shortened(each.seen.text),
        links.statement(each),
        tuple(place for place in places if place and place != NOTHING),
        is_code=True,
    )


def reads(found: Sequence[CacheFigures], links: Links, *, most: int | None) -> Table:
    """Return the figures of cached reads."""
    return table(
        "reads",
        _("Cached reads"),
        _(
            "Many misses: the time to live is short, or what they depend on is written all the time. Bypasses "
            "name their reason."
        ),
        [
            Heading(_("Model or function"), is_number=False),
            *map(Heading, (_("Hits"), _("Misses"), _("Hit rate"), _("Bypasses"))),
        ],
        [
            (
                Cell(each.label, "" if each.label == OTHER else links.reads(each)),
                Cell(whole(each.hits)),
                Cell(whole(each.misses)),
                Cell(percent(each.hit_rate)),
                Cell(
                    whole(each.bypassed),
                    notes=tuple(f"{reason}: {whole(number)}" for reason, number in each.bypasses.items()),
                ),
            )
            for each in found[:most]
        ],
        left=len(found),
    )


def loops(found: Sequence[LoopFigures], *, most: int | None) -> Table:
    """Return the loops of queries that were found."""
    return table(
        "loops",
        _("Loops of queries (N+1)"),
        _("Write what stands in the column Instead."),
        [
            Heading(_("What is asked for in a loop"), is_number=False),
            Heading(_("Found")),
            Heading(_("Queries")),
            Heading(_("Instead"), is_number=False),
        ],
        [
            (
                Cell(each.name or each.kind, notes=each.known.lines if each.known else ()),
                Cell(whole(each.found)),
                Cell(whole(each.queries)),
                Cell(each.known.fix if each.known else NOTHING, is_code=each.known is not None),
            )
            for each in found[:most]
        ],
        left=len(found),
    )


def limits(found: Mapping[tuple[str, ...], int]) -> Table:
    """Return how often rate limits admitted and refused."""
    ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return table(
        "limits",
        _("Rate limits"),
        "",
        [Heading(_("Rule"), is_number=False), Heading(_("Outcome"), is_number=False), Heading(_("Requests"))],
        [(Cell(labels[0]), Cell(" ".join(labels[1:])), Cell(whole(number))) for labels, number in ordered],
    )
