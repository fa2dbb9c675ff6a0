"""What `perfkit_advise` prints: the findings as a table, then what is to be said about each. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

from django.template.defaultfilters import filesizeformat
from django.utils.timezone import localtime

from perfkit.indexing.advisor.findings import Effect, Finding
from perfkit.indexing.advisor.remedies import Remedy
from perfkit.indexing.advisor.reports import Report
from perfkit.management.workload_text import counted

WIDTH: Final = 100
HEADINGS: Final = ("", "what", "index", "gain", "size", "writes", "known by")
LEAST_PART: Final = 0.0005


def report_lines(report: Report, *, shows_plans: bool = False) -> Iterator[str]:
    """Yield the report, at most about 100 columns wide but for statements, which stay whole.

    Args:
        shows_plans: With the plans before and after.
    """
    yield f"Indexes of {report.alias!r}, {localtime(report.made_at):%Y-%m-%d %H:%M}"
    if report.shapes:
        yield f"{report.shapes:,} shapes of statements, {report.calls:,} calls"
    if report.verified_by:
        yield from _wrapped(f"Verified: {report.verified_by}")
    yield ""
    if report.remedies:
        yield from _table(report.remedies)
        for number, each in enumerate(report.remedies, 1):
            yield ""
            yield from _details(number, each, shows_plans=shows_plans)
    else:
        yield "There is nothing to do."
    for heading, texts in (("Notes", report.notes), ("To know more", report.enabling)):
        if texts:
            yield ""
            yield f"{heading}:"
            for text in texts:
                yield from _wrapped(printable(text), first="- ", then="  ")


def what(finding: Finding) -> str:
    """Return what is to be done, in a word or two."""
    if finding.is_addition:
        return f"add ({finding.kind.value})"
    if finding.kind.value in {"invalid", "bloated"}:
        return f"rebuild ({finding.kind.value})"
    return f"drop ({finding.kind.value})"


def gain(finding: Finding) -> str:
    """Return the part of the workload that it saves."""
    if not finding.effects and not finding.gain:
        return "-"
    return "<0.1 %" if finding.gain < LEAST_PART else f"{finding.gain:.1%}".replace("%", " %")


def size(finding: Finding) -> str:
    """Return how large it is, or would be."""
    return "-" if finding.size_bytes is None else filesizeformat(finding.size_bytes).replace("\xa0", " ")


def writes(finding: Finding) -> str:
    """Return how much longer a written row takes."""
    return "-" if finding.write_cost is None else f"{finding.write_cost:+.0%}".replace("%", " %")


def effect(each: Effect) -> str:
    """Return how much cheaper a shape becomes."""
    ratio = f"{each.ratio:,.1f}" if each.cost_after else "∞"
    costs = f"{each.cost_before:,.0f} to {each.cost_after:,.0f}"
    return f"{ratio} times cheaper ({costs}), {counted(each.calls, 'call')}"


def printable(text: str) -> str:
    """Return a text without what a terminal would obey."""
    return "".join(letter if letter.isprintable() or letter in "\n\t" else "�" for letter in text)


def _table(found: Sequence[Remedy]) -> Iterator[str]:
    rows = [HEADINGS]
    for number, each in enumerate(found, 1):
        finding = each.finding
        figures = (gain(finding), size(finding), writes(finding), finding.confidence.value)
        rows.append((f"{number}", what(finding), printable(each.name), *figures))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.rjust(width) if place in {0, 3, 4, 5} else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def _details(number: int, remedy: Remedy, *, shows_plans: bool) -> Iterator[str]:
    finding = remedy.finding
    yield f"{number}. {printable(remedy.name)} of {remedy.model or printable(finding.table)}"
    yield from _wrapped(printable(finding.reason), first="   ", then="   ")
    yield f"   {printable(remedy.sql)}"
    if remedy.meta_line:
        word = "Write into" if finding.is_addition else "Take out of"
        yield f"   {word} Meta.indexes of {remedy.model}:"
        yield f"       {printable(remedy.meta_line)}"
        for line in remedy.imports:
            if line != "from django.db import models":
                yield f"       # {line}"
    if remedy.by_hand:
        yield from _wrapped(printable(remedy.by_hand), first="   ! ", then="     ")
    for each in finding.effects:
        yield from _wrapped(printable(each.fingerprint), first="   ", then="     ", most=3)
        yield f"     {effect(each)}"
        if shows_plans:
            for heading, plan in (("before", each.plan_before), ("after", each.plan_after)):
                if plan:
                    yield f"     {heading}:"
                    yield from (f"       {line}" for line in printable(plan).splitlines())


def _wrapped(text: str, *, first: str = "", then: str = "", most: int | None = None) -> Iterator[str]:
    yield from textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=then,
        break_long_words=False,
        break_on_hyphens=False,
        max_lines=most,
        placeholder=" …",
    )
