"""Checks the figures that pages quote: where the source is in the repository, that they are the source's."""

from __future__ import annotations

import json
import re
import runpy
from typing import Any

import pytest

from benchmarks.timetable.entrants import EVERYBODY
from tests.docs.pages import ROOT

MAKER = runpy.run_path(str(ROOT / "docs" / "make_figures.py"))
RATIO = re.compile(r"(?P<number>[\d,]+\.\d) x")
MEASURED = re.compile(r"(?P<number>[\d,]+(?:\.\d+)?) (?P<unit>rows/s|ms), \S.*")
CAPTION = re.compile(r"[\d,]+ flights, \w+ [\d.]+, Django [\d.]+, Python [\d.]+\.")

REPORT = {
    "environment": {"flights": 336776, "database": "PostgreSQL 18.6", "django": "5.2.1", "python": "3.11.7"},
    "measures": [
        {
            "work": "write 5,000 flights",
            "before_way": "save()",
            "before": 1056.2,
            "after_way": "bulk_insert()",
            "after": 21104.6,
            "unit": "rows/s",
            "ratio": 19.98,
        },
        {
            "work": "count",
            "before_way": "no index",
            "before": 36.7998,
            "after_way": "index",
            "after": 0.67743,
            "unit": "ms",
            "ratio": 54.32,
        },
    ],
}

CACHING_REPORT = {
    "setting": "A run.",
    "environment": {
        "python": "3.11.7",
        "django": "5.2.1",
        "psycopg": "3.3.9",
        "database": "PostgreSQL 18.6",
        "peers": {"django-cacheops": "7.2"},
        "cores": 2,
    },
    "figures": [
        {"name": "times", "value": 99.1, "unit": "times", "goal": 50.0, "better": "higher"},
        {"name": "trip", "value": -3.2501, "unit": "us", "goal": 60.0, "better": "lower"},
        {"name": "rows", "value": 1234.5, "unit": "us", "goal": 100.0, "better": "lower"},
        {"name": "told", "value": 3, "unit": "queries", "goal": None, "better": "lower"},
        {"name": "told once", "value": 1, "unit": "queries", "goal": 1.0, "better": "lower"},
    ],
    "table": [
        ["", "us", "times plain", "queries"],
        ["[get; by key; 24 rounds]", "", "", ""],
        ["plain", "902", "1.00", "1"],
        ["perfkit, in a request", "9.1", "0.01", "0"],
        ["cachalot", "785", "0.85", "0"],
        ["GET with redis-py", "107", "0.12", ""],
        ["[save, with so many keys; 18 rounds]", "", "", ""],
        ["cacheops, 10 keys", "4,610", "", "1"],
    ],
}


def place(page: str, name: str) -> list[str]:
    inside = page.partition(f"<!-- {name}: begin -->")[2].partition(f"<!-- {name}: end -->")[0]
    return [line for line in inside.splitlines() if line]


def cells(line: str) -> list[str]:
    assert line.startswith("| "), line
    assert line.endswith(" |"), line
    return line[2:-2].split(" | ")


def number(text: str) -> float:
    return float(text.replace(",", ""))


class TestReadme:
    def test_it_has_the_demos_table(self) -> None:
        title, rule, *rows, caption = place((ROOT / "README.md").read_text("utf-8"), "figures")
        assert cells(title) == ["work", "before", "with perfkit", "ratio"]
        assert cells(rule) == ["---", "---", "---", "--:"]
        assert len(rows) >= 5
        assert CAPTION.fullmatch(caption)

    def test_it_shows_ratios_that_follow_from_the_figures(self) -> None:
        for line in place((ROOT / "README.md").read_text("utf-8"), "figures")[2:-1]:
            work, *measured, ratio = cells(line)
            before, after = (MEASURED.fullmatch(cell) for cell in measured)
            shown = RATIO.fullmatch(ratio)
            assert work
            assert before, line
            assert after, line
            assert shown, line
            assert before["unit"] == after["unit"]
            slow, fast = number(before["number"]), number(after["number"])
            expected = fast / slow if before["unit"] == "rows/s" else slow / fast
            assert number(shown["number"]) == pytest.approx(expected, rel=0.02, abs=0.06)

    def test_it_is_filled_from_a_report(self) -> None:
        page = "above\n<!-- figures: begin -->\nold\n<!-- figures: end -->\nbelow\n"
        made = MAKER["readme"](page, REPORT)
        assert place(made, "figures") == [
            "| work | before | with perfkit | ratio |",
            "| --- | --- | --- | --: |",
            "| write 5,000 flights | 1,056 rows/s, save() | 21,105 rows/s, bulk_insert() | 20.0 x |",
            "| count | 36.8 ms, no index | 0.677 ms, index | 54.3 x |",
            "336,776 flights, PostgreSQL 18.6, Django 5.2.1, Python 3.11.7.",
        ]
        assert made.startswith("above\n")
        assert made.endswith("\nbelow\n")
        assert MAKER["readme"](made, REPORT) == made

    def test_it_needs_a_place_for_the_table(self) -> None:
        with pytest.raises(ValueError, match="figures: begin"):
            MAKER["readme"]("# A page without it\n", REPORT)


def results(room: str) -> dict[str, Any]:
    return json.loads((ROOT / "benchmarks" / "results" / f"{room}.json").read_text("utf-8"))


def how_to(room: str) -> str:
    return (ROOT / "docs" / "how-to" / f"{room}.md").read_text("utf-8")


class TestBulk:
    def test_it_quotes_the_benchmarks_results(self) -> None:
        page = how_to("bulk")
        assert page == MAKER["bulk"](page, results("bulk")), "Run: python docs/make_figures.py"
        assert len(place(page, "figures")) > len(results("bulk")["table"]) // 2


class TestCaching:
    def test_it_quotes_the_benchmarks_results(self) -> None:
        page = how_to("caching")
        assert page == MAKER["caching"](page, results("caching")), "Run: python docs/make_figures.py"
        figures = [each["name"] for each in results("caching")["figures"]]
        assert [cells(line)[0] for line in place(page, "figures") if line.startswith("| ")][
            -len(figures) :
        ] == figures

    def test_it_has_a_column_for_everybody(self) -> None:
        assert MAKER["CACHING_ENTRANTS"] == tuple(each.name for each in EVERYBODY)

    def test_it_says_who_asks_the_database_and_what_falls_short(self) -> None:
        made = MAKER["caching"]("<!-- figures: begin -->\n<!-- figures: end -->\n", CACHING_REPORT)
        assert place(made, "figures") == [
            f"| µs a call | {' | '.join(MAKER['CACHING_ENTRANTS'])} |",
            "| --- | --- | --- | --- | --- | --- | --: |",
            "| get; by key | 902 (1) | 9.1 |  |  |  | 785 |",
            "| figure | measured | goal |",
            "| --- | --- | --: |",
            "| times | 99.1 times | ≥ 50 |",
            "| trip | -3.25 µs | ≤ 60 |",
            "| rows | 1,234 µs | ≤ 100, not reached |",
            "| told | 3 queries |  |",
            "| told once | 1 query | ≤ 1 |",
            "A run.",
            "PostgreSQL 18.6, Django 5.2.1, psycopg 3.3.9, django-cacheops 7.2, Python 3.11.7, 2 cores.",
        ]


class TestFunctions:
    def test_it_quotes_the_benchmarks_results(self) -> None:
        page = how_to("functions")
        assert page == MAKER["functions"](page, results("functions")), "Run: python docs/make_figures.py"
        names = [cells(line)[0] for line in place(page, "figures") if line.startswith("| ")]
        figures = [each["name"] for each in results("functions")["figures"]]
        assert names[-len(figures) :] == figures
        assert "function of five queries, missed: plain" in names
        assert "page of 50 flights, gzip: perfkit" in names


class TestApi:
    def test_it_quotes_the_benchmarks_results(self) -> None:
        page = how_to("api")
        assert page == MAKER["api"](page, results("api")), "Run: python docs/make_figures.py"
        names = [cells(line)[0] for line in place(page, "figures") if line.startswith("| ")]
        figures = [each["name"] for each in results("api")["figures"]]
        assert names[-len(figures) :] == figures
        assert "20 flights: compiled, a plain Django view" in names


class TestTasks:
    def test_it_quotes_the_benchmarks_results(self) -> None:
        page = how_to("jobs")
        assert page == MAKER["tasks"](page, results("tasks")), "Run: python docs/make_figures.py"
        lines = [cells(line)[0] for line in place(page, "figures") if line.startswith("| ")]
        figures = [each["name"] for each in results("tasks")["figures"]]
        assert lines[-len(figures) :] == figures
        assert "run: perfkit job" in lines

    def test_each_part_has_a_table_of_its_own(self) -> None:
        report = {
            **CACHING_REPORT,
            "table": [
                ["", "", ""],
                ["[first]", "ms", "s"],
                ["a", "1", "2"],
                ["[second]", "rows", ""],
                ["b", "3", ""],
            ],
        }
        made = MAKER["tasks"]("<!-- figures: begin -->\n<!-- figures: end -->\n", report)
        assert place(made, "figures")[:6] == [
            "| first | ms | s |",
            "| --- | --- | --: |",
            "| a | 1 | 2 |",
            "| second | rows |  |",
            "| --- | --- | --: |",
            "| b | 3 |  |",
        ]


class TestScaleOut:
    def test_it_quotes_the_benchmarks_results(self) -> None:
        page = how_to("deployment")
        assert page == MAKER["scale_out"](page, results("scale_out")), "Run: python docs/make_figures.py"
        assert len(place(page, "figures")) > len(results("scale_out")["table"])


class TestLoading:
    def test_it_quotes_the_benchmarks_results(self) -> None:
        page = how_to("loading")
        assert page == MAKER["loading"](page, results("loading")), "Run: python docs/make_figures.py"
        names = [cells(line)[0] for line in place(page, "figures") if line.startswith("| ")]
        figures = [each["name"] for each in results("loading")["figures"]]
        assert names[-len(figures) :] == figures

    def test_it_has_every_time_and_names_no_peer_where_there_is_none(self) -> None:
        report = {
            **CACHING_REPORT,
            "environment": {**CACHING_REPORT["environment"], "peers": {}},
            "table": [["what is read", "us", "times Django's"], ["flights: perfkit", "5,200", "2.88"]],
        }
        made = MAKER["loading"]("<!-- figures: begin -->\n<!-- figures: end -->\n", report)
        lines = place(made, "figures")
        assert lines[:3] == [
            "| what is read | µs | times Django's |",
            "| --- | --- | --: |",
            "| flights: perfkit | 5,200 | 2.88 |",
        ]
        assert lines[-1] == "PostgreSQL 18.6, Django 5.2.1, psycopg 3.3.9, Python 3.11.7, 2 cores."
