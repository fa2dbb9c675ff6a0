from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, name, pages, prose

# A sentence that ends inside a line, where another begins.
SECOND_SENTENCE = re.compile(r"[a-z\])`*][.!?] +(?=[A-Z])")
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))


@pytest.mark.parametrize("page", pages(), ids=name)
def test_it_puts_one_sentence_in_a_line(page: Path) -> None:
    crowded = [
        f"{name(page)}:{number}: {line}"
        for number, line in prose(page)
        if not line.startswith("|") and SECOND_SENTENCE.search(re.sub(r"`[^`]*`", "`x`", line))
    ]
    # The licence and the settings page quote texts that stand elsewhere.
    assert crowded == [] or name(page) == "docs/reference/settings.md"


@pytest.mark.parametrize("page", pages(), ids=name)
def test_it_begins_with_a_title(page: Path) -> None:
    assert page.read_text("utf-8").startswith("# ")


class TestDecisions:
    def test_it_numbers_them_without_a_gap(self) -> None:
        assert [int(page.name[:4]) for page in DECISIONS] == list(range(1, len(DECISIONS) + 1))

    @pytest.mark.parametrize("page", DECISIONS, ids=name)
    def test_it_stays_short(self, page: Path) -> None:
        assert len(page.read_text("utf-8").splitlines()) <= 30

    @pytest.mark.parametrize("page", DECISIONS, ids=name)
    def test_it_says_context_choice_cost_and_what_was_rejected(self, page: Path) -> None:
        titles = [line for _, line in prose(page) if line.startswith("## ")]
        assert titles == ["## Context", "## Choice", "## Cost", "## Rejected"]
