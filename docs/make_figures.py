"""Writes measured figures into the pages that quote them, between comments that mark the places.

`python docs/make_figures.py` takes the benchmark's figures from benchmarks/results/bulk.json;
`python docs/make_figures.py .local/demo/report.json` takes those that `make demo` has measured too.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
README: Final = ROOT / "README.md"
BULK_PAGE: Final = ROOT / "docs" / "how-to" / "bulk.md"
BULK_RESULTS: Final = ROOT / "benchmarks" / "results" / "bulk.json"

BULK_KINDS: Final = ("all indexes", "two indexes")


def filled(page: str, place: str, content: str) -> str:
    """Return the text of a page with `content` at the one place of that name.

    Raises:
        ValueError: The page has no such place, or several.
    """
    begin, end = f"<!-- {place}: begin -->\n", f"<!-- {place}: end -->\n"
    if page.count(begin) != 1 or page.count(end) != 1:
        raise ValueError(f"There must be one {begin.strip()} and one {end.strip()}.")
    before, rest = page.split(begin)
    _, after = rest.split(end)
    return f"{before}{begin}\n{content}\n{end}{after}"


def readme(page: str, report: dict[str, Any]) -> str:
    """Return README.md with the demo's table."""
    rows = [
        (
            measure["work"],
            f"{_figure(measure['before'])} {measure['unit']}, {measure['before_way']}",
            f"{_figure(measure['after'])} {measure['unit']}, {measure['after_way']}",
            f"{measure['ratio']:,.1f} x",
        )
        for measure in report["measures"]
    ]
    where = report["environment"]
    caption = (
        f"{where['flights']:,} flights, {where['database']}, "
        f"Django {where['django']}, Python {where['python']}.\n"
    )
    return filled(page, "figures", table(("work", "before", "with perfkit", "ratio"), rows) + "\n" + caption)


def bulk(page: str, results: dict[str, Any]) -> str:
    """Return docs/how-to/bulk.md with the benchmark's table and what checking by set gains."""
    columns: dict[str, dict[str, list[str]]] = {}
    for row in results["table"][1:]:
        if row[0].startswith("["):
            column = columns[row[0].strip("[]")] = {}
        else:
            column[row[0]] = row[1:3]
    ways = columns[BULK_KINDS[0]]
    rows = [(way, *(cell for kind in BULK_KINDS for cell in columns[kind][way])) for way in ways]
    titles = ("way", *(title for kind in BULK_KINDS for title in (f"rows/s, {kind}", "times bulk_create")))
    where = results["environment"]
    peers = ", ".join(f"{name} {version}" for name, version in where["peers"].items())
    caption = (
        f"{results['setting']}\n"
        f"{where['database']}, Django {where['django']}, psycopg {where['psycopg']}, {peers}, "
        f"Python {where['python']}, {where['cores']} cores.\n"
    )
    gains = {figure["name"]: figure["value"] for figure in results["figures"]}
    many, few = (gains[f"keys by set / keys per row, {kind}"] for kind in BULK_KINDS)
    sentence = (
        f"In the benchmark below, flights with four foreign keys were written {many:.1f} times as fast "
        f"into the table with all indexes, and {few:.1f} times as fast into the one with two.\n"
    )
    return filled(filled(page, "figures", table(titles, rows) + "\n" + caption), "foreign keys", sentence)


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table: the first column to the left, the last to the right."""
    rule = ["---"] * (len(titles) - 1) + ["--:"]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in [titles, rule, *rows])


def _figure(value: float) -> str:
    decimals = max(0, 2 - math.floor(math.log10(value)))
    return f"{value:,.{decimals}f}"


def main(arguments: Sequence[str]) -> None:
    """Fill the pages whose figures are there."""
    results = json.loads(BULK_RESULTS.read_text("utf-8"))
    BULK_PAGE.write_text(bulk(BULK_PAGE.read_text("utf-8"), results), encoding="utf-8")
    for report in arguments:
        figures = json.loads(Path(report).read_text("utf-8"))
        README.write_text(readme(README.read_text("utf-8"), figures), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
