"""A report of the advisor as one page of HTML; it has no script and loads nothing from elsewhere. Pure."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from django.template import Context, Engine
from django.utils.timezone import localtime

from perfkit.indexing.advisor.remedies import Remedy
from perfkit.indexing.advisor.reports import Report
from perfkit.management.advice_text import effect, gain, size, what, writes

TEMPLATES: Final = Path(__file__).resolve().parent.parent / "templates" / "perfkit"
WIDEST: Final = 70
"""Per cent of a drawing; what is right of it is for the figure."""
LEAST_WIDTH: Final = 0.5
"""So that the smallest is seen."""


def advice_page(report: Report) -> str:
    """Return the page."""
    # An engine of its own, for a project may have none, or none that escapes.
    template = Engine(dirs=[str(TEMPLATES)], autoescape=True).get_template("index_advice.html")
    most = max((each.finding.gain for each in report.remedies), default=0.0)
    context = {
        "report": report,
        "calls": f"{report.calls:,}",
        "at": f"{localtime(report.made_at):%Y-%m-%d %H:%M}",
        "findings": [_shown(number, each) for number, each in enumerate(report.remedies, 1)],
        "bars": [_bar(each, most) for each in report.remedies if each.finding.gain > 0],
    }
    return template.render(Context(context, use_l10n=False))


def _bar(remedy: Remedy, most: float) -> dict[str, Any]:
    width = max(LEAST_WIDTH, WIDEST * remedy.finding.gain / most)
    return {"name": remedy.name, "width": f"{width:.2f}", "text": gain(remedy.finding)}


def _shown(number: int, remedy: Remedy) -> dict[str, Any]:
    finding = remedy.finding
    most = max((each.cost_before for each in finding.effects), default=0.0) or 1.0
    return {
        "number": number,
        "remedy": remedy,
        "finding": finding,
        "what": what(finding),
        "gain": gain(finding),
        "size": size(finding),
        "writes": writes(finding),
        "imports": [each for each in remedy.imports if each != "from django.db import models"],
        "effects": [
            {
                "shape": each,
                "text": effect(each),
                "before": f"{max(LEAST_WIDTH, WIDEST * each.cost_before / most):.2f}",
                "after": f"{max(LEAST_WIDTH, WIDEST * each.cost_after / most):.2f}",
            }
            for each in finding.effects
        ],
    }
