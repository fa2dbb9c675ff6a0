from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from perfkit.benchmarking.page import WIDEST, bar_width, page
from perfkit.benchmarking.sections import Chart, Column, Section, ratio
from perfkit.management.benchmark_text import section_lines
from tests.plugins.browser import SIZES

HOSTILE = '<script>alert("no")</script>'
SECTION = Section(
    name="database",
    title="Reads",
    how="In turns.",
    columns=(
        Column("subject", "of"),
        Column("work", "work"),
        Column("before_ms", "before", "ms", 2),
        Column("after_ms", "after", "ms", 2),
        Column("queries", "queries"),
        Column("ratio", "ratio", "x", 1),
    ),
    rows=[
        {
            "subject": "shop.Product",
            "work": "list",
            "before_ms": 40.0,
            "after_ms": 10.0,
            "queries": 1201,
            "ratio": 4.0,
        },
        {
            "subject": HOSTILE,
            "work": "a" * 80,
            "before_ms": 1.0,
            "after_ms": None,
            "queries": 0,
            "ratio": None,
        },
    ],
    chart=Chart("Time", "work", ("before_ms", "after_ms")),
    warnings=[f"N+1 in {HOSTILE}"],
    notes=["Something was left out."],
)


class Reader(HTMLParser):
    """Keeps the tags with their attributes, and all text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def made() -> str:
    return page([("Python", "3.11")], ["The machine is busy."], [SECTION], at="2026-01-01")


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    return reader


class TestPage:
    def test_it_has_each_figure_and_what_is_said(self) -> None:
        text = read(made()).text
        for each in (
            "40.00",
            "10.00",
            "1,201",
            "4.0",
            "The machine is busy.",
            "Something was left out.",
            "3.11",
        ):
            assert each in text

    def test_it_has_no_script_and_nothing_from_elsewhere(self) -> None:
        reader = read(made())
        names = {name for name, _ in reader.tags}
        assert names.isdisjoint({"script", "iframe", "img", "object", "embed"})
        addresses = [
            value
            for _, attributes in reader.tags
            for name, value in attributes.items()
            if name in {"src", "href"}
        ]
        assert addresses == ["data:,"]
        assert HOSTILE in reader.text, "it is shown as the text that it is"

    def test_it_says_in_words_what_the_bars_show(self) -> None:
        drawings = [attributes for name, attributes in read(made()).tags if name == "svg"]
        assert [each["role"] for each in drawings] == ["img", "img"]
        assert drawings[0]["aria-label"] == "shop.Product: list: before 40.00 ms, after 10.00 ms"
        assert drawings[1]["aria-label"].endswith("before 1.00 ms"), (
            "of what was not measured there is no bar"
        )

    def test_it_draws_bars_to_scale(self) -> None:
        widths = [
            float(attributes["width"].removesuffix("%"))
            for name, attributes in read(made()).tags
            if name == "rect" and attributes["class"] != "track"
        ]
        assert widths == [WIDEST, WIDEST / 4, WIDEST]
        assert 0 < bar_width(0.001, 1e9) < 1
        assert bar_width(0, 0) > 0


class TestText:
    def test_it_has_the_unit_below_each_title_and_the_ratio_last(self) -> None:
        lines = list(section_lines(SECTION))
        titles, units, first = lines[3:6]
        assert titles.split()[-1] == "ratio"
        assert units.split() == ["ms", "ms", "x"]
        assert first.split() == ["shop.Product", "list", "40.00", "10.00", "1,201", "4.0"]
        assert any(line.startswith("! N+1") for line in lines)
        assert "- Something was left out." in lines

    def test_it_is_json_without_what_was_not_measured(self) -> None:
        told = json.loads(json.dumps(SECTION.as_json()))
        assert told["rows"][1]["after_ms"] is None
        assert [column["unit"] for column in told["columns"]] == ["", "", "ms", "ms", "", "x"]


def test_it_makes_no_ratio_of_what_was_not_measured() -> None:
    assert ratio(4.0, 2.0) == 2.0
    assert ratio(None, 2.0) is None
    assert ratio(4.0, None) is None
    assert ratio(4.0, 0.0) is None


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_it_fits_a_window_in_both_colours(
    browser: Browser, tmp_path: Path, size: tuple[int, int], scheme: Any
) -> None:
    file = tmp_path / "report.html"
    file.write_text(made(), encoding="utf-8")
    width, height = size
    shown = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    troubles: list[str] = []
    shown.on("console", lambda said: troubles.append(said.text))
    shown.on("pageerror", lambda error: troubles.append(str(error)))
    shown.on("request", lambda asked: troubles.append(asked.url) if asked.url != file.as_uri() else None)
    shown.goto(file.as_uri())
    assert shown.evaluate("document.documentElement.scrollWidth") == width
    ground = shown.evaluate("getComputedStyle(document.body).backgroundColor")
    text = shown.evaluate("getComputedStyle(document.body).color")
    assert (brightness(ground) > brightness(text)) == (scheme == "light")
    assert shown.get_by_role("img", name="shop.Product: list: before 40.00 ms, after 10.00 ms").is_visible()
    bars = shown.locator("rect.bar-0, rect.bar-1")
    widths = [bars.nth(number).bounding_box()["width"] for number in range(3)]
    assert widths[0] == pytest.approx(4 * widths[1], rel=0.02)
    shown.close()
    assert [each for each in troubles if not each.startswith("data:")] == []


def brightness(colour: str) -> int:
    return sum(int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(","))
