from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, name, pages, prose

LINK = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)\)")
INLINE_CODE = re.compile(r"`[^`]*`")


def targets(page: Path) -> list[tuple[int, str]]:
    return [
        (number, match["target"])
        for number, line in prose(page)
        for match in LINK.finditer(INLINE_CODE.sub("", line))
        if "://" not in match["target"]
    ]


def anchors(page: Path) -> set[str]:
    titles = [line.lstrip("#").strip() for _, line in prose(page) if line.startswith("#")]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", pages(), ids=name)
def test_it_links_only_to_what_is_there(page: Path) -> None:
    broken = []
    for number, target in targets(page):
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        if not linked.exists() or (anchor and anchor not in anchors(linked)):
            broken.append(f"{name(page)}:{number}: {target}")
    assert broken == []


def test_it_reads_links_at_all() -> None:
    assert targets(ROOT / "README.md")
