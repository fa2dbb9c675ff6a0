"""Writes measured figures into the pages that quote them, between comments that mark the places.

`python docs/make_figures.py` takes the benchmarks' figures from benchmarks/results/;
`python docs/make_figures.py .local/demo/report.json` takes those that `make demo` has measured too.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
README: Final = ROOT / "README.md"
HOW_TO: Final = ROOT / "docs" / "how-to"
RESULTS: Final = ROOT / "benchmarks" / "results"

BULK_KINDS: Final = ("all indexes", "two indexes", "no foreign keys")
CACHING_ENTRANTS: Final = (
    *("plain", "perfkit, in a request", "perfkit, strict", "perfkit, shared only"),
    *("cacheops", "cachalot"),
)

HUNDRED: Final = 100
"""From here on a figure is shown without decimals."""


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
    """Return docs/how-to/bulk.md with the benchmark's tables and what checking by set gains."""
    sections: dict[str, list[list[str]]] = {}
    for row in results["table"][1:]:
        if row[0].startswith("["):
            rows = sections[row[0].strip("[]")] = []
        else:
            rows.append(row)
    inserts = {kind: {row[0]: row[1:3] for row in sections.pop(kind)} for kind in BULK_KINDS}
    ways = inserts[BULK_KINDS[0]]
    titles = ("insert", *(title for kind in BULK_KINDS for title in (f"rows/s, {kind}", "times bulk_create")))
    tables = [
        table(titles, [(way, *(cell for kind in BULK_KINDS for cell in inserts[kind][way])) for way in ways])
    ]
    for name, rows in sections.items():
        is_memory = name.startswith("peak")
        heads = ("few rows", "many rows") if is_memory else ("rows/s", "times Django's")
        tables.append(table((name, *heads), rows))
    figures = [(each["name"], measured(each), goal(each)) for each in results["figures"] if each["goal"]]
    tables += [table(("figure", "measured", "goal"), figures), circumstances(results)]
    gains = {figure["name"]: figure["value"] for figure in results["figures"]}
    many, few = (gains[f"keys by set / keys per row, {kind}"] for kind in BULK_KINDS[:2])
    sentence = (
        f"In the benchmark below, flights with four foreign keys were written {many:.1f} times as fast "
        f"into the table with all indexes, and {few:.1f} times as fast into the one with two.\n"
    )
    made = filled(page, "figures", "\n".join(tables))
    return filled(made, "foreign keys", sentence)


def caching(page: str, results: dict[str, Any]) -> str:
    """Return docs/how-to/caching.md with the benchmark's times, and its figures beside their goals."""
    jobs: dict[str, dict[str, str]] = {}
    for name, time, _, queries in results["table"][1:]:
        if name.startswith("["):
            cells = jobs[name.strip("[]").rpartition("; ")[0]] = {}
        elif name in CACHING_ENTRANTS:
            cells[name] = time if queries == "0" else f"{time} ({queries})"
    times = [
        (job, *(cells.get(name, "") for name in CACHING_ENTRANTS)) for job, cells in jobs.items() if cells
    ]
    figures = [(each["name"], measured(each), goal(each)) for each in results["figures"]]
    content = (
        table(("µs a call", *CACHING_ENTRANTS), times),
        table(("figure", "measured", "goal"), figures),
        circumstances(results),
    )
    return filled(page, "figures", "\n".join(content))


def functions(page: str, results: dict[str, Any]) -> str:
    """Return docs/how-to/functions.md with the times of calls and pages, and the figures beside their goals."""
    times, kind = [], ""
    for name, time, *_ in takewhile(lambda row: row[0] != "made ahead", results["table"][1:]):
        if name.startswith("["):
            kind = f"{name.strip('[]').rpartition('; ')[0]}: "
        elif name.startswith("page of"):
            times.append((name, time))
        else:
            times.append((f"{kind}{name}", time))
    figures = [(each["name"], measured(each), goal(each)) for each in results["figures"]]
    content = (
        table(("", "µs"), times),
        table(("figure", "measured", "goal"), figures),
        circumstances(results),
    )
    return filled(page, "figures", "\n".join(content))


def loading(page: str, results: dict[str, Any]) -> str:
    """Return docs/how-to/loading.md with the benchmark's times, and its figures beside their goals."""
    titles, *times = results["table"]
    figures = [(each["name"], measured(each), goal(each)) for each in results["figures"]]
    content = (
        table([title.replace("us", "µs") for title in titles], times),
        table(("figure", "measured", "goal"), figures),
        circumstances(results),
    )
    return filled(page, "figures", "\n".join(content))


def api(page: str, results: dict[str, Any]) -> str:
    """Return docs/how-to/api.md with the times of lists, and the figures beside their goals."""
    (what, milliseconds, _), *times = results["table"]
    figures = [(each["name"], measured(each), goal(each)) for each in results["figures"]]
    content = (
        table((what, milliseconds), [row[:2] for row in times]),
        table(("figure", "measured", "goal"), figures),
        circumstances(results),
    )
    return filled(page, "figures", "\n".join(content))


def tasks(page: str, results: dict[str, Any]) -> str:
    """Return docs/how-to/jobs.md with what was measured in each part, and the figures beside their goals."""
    parts: list[tuple[Sequence[str], list[Sequence[str]]]] = []
    for name, *cells in results["table"][1:]:
        if name.startswith("["):
            parts.append(((name.strip("[]"), *cells), []))
        else:
            parts[-1][1].append((name, *cells))
    figures = [(each["name"], measured(each), goal(each)) for each in results["figures"]]
    content = (
        *(table(titles, rows) for titles, rows in parts),
        table(("figure", "measured", "goal"), figures),
        circumstances(results),
    )
    return filled(page, "figures", "\n".join(content))


def scale_out(page: str, results: dict[str, Any]) -> str:
    """Return docs/how-to/deployment.md with what a cluster costs beside one server."""
    titles, *times = results["table"]
    return filled(page, "figures", "\n".join((table(titles, times), circumstances(results))))


def circumstances(results: dict[str, Any]) -> str:
    """Return what a benchmark measured, and where."""
    where = results["environment"]
    parts = [
        where["database"],
        f"Django {where['django']}",
        f"psycopg {where['psycopg']}",
        *(f"{name} {version}" for name, version in where["peers"].items()),
        f"Python {where['python']}",
        f"{where['cores']} cores",
    ]
    return f"{results['setting']}\n{', '.join(parts)}.\n"


def measured(figure: dict[str, Any]) -> str:
    """Return a figure with its unit."""
    unit = {"us": "µs", "queries": "query" if figure["value"] == 1 else "queries"}.get(
        figure["unit"], figure["unit"]
    )
    return f"{_rounded(figure['value'])} {unit}"


def goal(figure: dict[str, Any]) -> str:
    """Return what a figure must reach, and whether it does not; empty where it is only told."""
    wanted = figure["goal"]
    if wanted is None:
        return ""
    is_more_better = figure["better"] == "higher"
    falls_short = figure["value"] < wanted if is_more_better else figure["value"] > wanted
    return f"{'≥' if is_more_better else '≤'} {_rounded(wanted)}{', not reached' if falls_short else ''}"


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table: the first column to the left, the last to the right."""
    rule = ["---"] * (len(titles) - 1) + ["--:"]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in [titles, rule, *rows])


def _figure(value: float) -> str:
    decimals = max(0, 2 - math.floor(math.log10(value)))
    return f"{value:,.{decimals}f}"


def _rounded(value: float) -> str:
    return f"{value:.3g}" if abs(value) < HUNDRED else f"{value:,.0f}"


def main(arguments: Sequence[str]) -> None:
    """Fill the pages whose figures are there."""
    pages = (
        ("api", "api", api),
        ("bulk", "bulk", bulk),
        ("caching", "caching", caching),
        ("functions", "functions", functions),
        ("jobs", "tasks", tasks),
        ("loading", "loading", loading),
        ("deployment", "scale_out", scale_out),
    )
    for name, room, made in pages:
        page = HOW_TO / f"{name}.md"
        results = json.loads((RESULTS / f"{room}.json").read_text("utf-8"))
        page.write_text(made(page.read_text("utf-8"), results), encoding="utf-8")
    for report in arguments:
        figures = json.loads(Path(report).read_text("utf-8"))
        README.write_text(readme(README.read_text("utf-8"), figures), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
