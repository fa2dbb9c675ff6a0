"""The report as one page of HTML, with bars as SVG; it has no script and loads nothing from elsewhere. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from django.template import Context, Engine

from perfkit.benchmarking.sections import Cell, Chart, Column, Section

TEMPLATES: Final = Path(__file__).resolve().parent.parent / "templates" / "perfkit"
WIDEST: Final = 72
"""Per cent of a drawing; what is right of it is for the figure."""
LEAST_WIDTH: Final = 0.4
"""So that the smallest is seen."""
BAR_HEIGHT: Final = 20


def page(
    environment: Sequence[tuple[str, str]], doubts: Sequence[str], sections: Sequence[Section], *, at: str
) -> str:
    """Return the page.

    Args:
        environment: Names and values.
        doubts: What makes the figures doubtful.
        at: When it was measured.
    """
    # An engine of its own, for a project may have none, or none that escapes.
    template = Engine(dirs=[str(TEMPLATES)], autoescape=True).get_template("benchmark.html")
    shown = [_shown(section) for section in sections]
    context = {"at": at, "environment": environment, "doubts": doubts, "sections": shown}
    return template.render(Context(context, use_l10n=False))


def _shown(section: Section) -> dict[str, Any]:
    columns = list(section.columns)
    chart = section.chart
    return {
        "name": section.name,
        "title": section.title,
        "how": section.how,
        "warnings": section.warnings,
        "notes": section.notes,
        "columns": [
            {"title": column.title, "unit": column.unit, "is_text": _is_text(section, column)}
            for column in columns
        ],
        "rows": [
            [_cell(column, row.get(column.key), is_text=_is_text(section, column)) for column in columns]
            for row in section.rows
        ],
        "chart_title": "" if chart is None else chart.title,
        "has_own_scales": chart is not None and len(chart.bars) > 1,
        "legend": [] if chart is None else [_heading(section, key) for key in chart.bars],
        "charts": [] if chart is None else _drawings(section, chart),
    }


def _is_text(section: Section, column: Column) -> bool:
    return any(isinstance(row.get(column.key), str) for row in section.rows)


def _cell(column: Column, value: Cell, *, is_text: bool) -> dict[str, str]:
    kind = "text" if is_text else "number ratio" if column.key == "ratio" else "number"
    return {"kind": kind, "text": column.text(value)}


def _heading(section: Section, key: str) -> str:
    return next(column.heading for column in section.columns if column.key == key)


def _drawings(section: Section, chart: Chart) -> list[dict[str, Any]]:
    """Return a drawing for each row; where a row has one bar only, all rows share a scale."""
    columns = {column.key: column for column in section.columns}
    largest = max((number(row, key) for row in section.rows for key in chart.bars), default=0.0)
    return [
        _drawing(
            row,
            [columns[key] for key in chart.bars],
            label=_label(row, chart),
            largest=largest if len(chart.bars) == 1 else max(number(row, key) for key in chart.bars),
        )
        for row in section.rows
    ]


def _drawing(
    row: Mapping[str, Cell], columns: Sequence[Column], *, label: str, largest: float
) -> dict[str, Any]:
    shown = [column for column in columns if row.get(column.key) is not None]
    bars = [
        {
            "kind": columns.index(column),
            "y": place * BAR_HEIGHT,
            "text_y": place * BAR_HEIGHT + 12,
            "width": f"{bar_width(number(row, column.key), largest):.2f}",
            "text": f"{column.text(row.get(column.key))} {column.unit}",
        }
        for place, column in enumerate(shown)
    ]
    said = ", ".join(f"{column.title} {column.text(row.get(column.key))} {column.unit}" for column in shown)
    return {"label": label, "text": f"{label}: {said}", "height": len(shown) * BAR_HEIGHT, "bars": bars}


def bar_width(value: float, largest: float) -> float:
    """Return how wide a bar is, in per cent of the drawing."""
    return max(LEAST_WIDTH, value / largest * WIDEST) if largest else LEAST_WIDTH


def number(row: Mapping[str, Cell], key: str) -> float:
    """Return a figure of a row, 0 where there is none."""
    value = row.get(key)
    return float(value) if isinstance(value, int | float) else 0.0


def _label(row: Mapping[str, Cell], chart: Chart) -> str:
    parts = [str(row[key]) for key in ("subject", chart.label) if row.get(key)]
    ways = [str(row[key]) for key in ("before_way", "after_way") if row.get(key)]
    return ": ".join(parts) + (f" ({', '.join(ways)})" if ways else "")
