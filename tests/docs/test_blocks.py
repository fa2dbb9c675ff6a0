"""Runs the code of the pages: each page's `python` and `pycon` blocks, in order, in one namespace.

A comment `<!-- not run: reason -->` in the line above a block leaves it out.
"""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import pytest

from perfkit.caching.store import current_store
from tests.docs.pages import ROOT, Block, blocks, name, pages

CODE = frozenset({"python", "pycon"})


def code_of(page: Path) -> list[Block]:
    return [block for block in blocks(page) if block.language in CODE and not block.is_left_out]


def run(block: Block, namespace: dict[str, Any]) -> None:
    if block.language == "python":
        # The blank lines make a traceback name the page's own line.
        source = "\n" * (block.line - 1) + block.text
        exec(compile(source, str(block.page), "exec", dont_inherit=True), namespace)  # noqa: S102  # our own pages
        return
    example = doctest.DocTestParser().get_doctest(
        block.text, namespace, name(block.page), str(block.page), block.line - 1
    )
    runner = doctest.DebugRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    runner.run(example, clear_globs=False)
    namespace.update(example.globs)


@pytest.fixture(autouse=True)
def empty_cache() -> None:
    store = current_store()
    assert store is not None
    store.clear()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("page", [page for page in pages() if code_of(page)], ids=name)
def test_it_runs_as_the_page_says(page: Path) -> None:
    namespace: dict[str, Any] = {"__name__": "page"}
    for block in code_of(page):
        run(block, namespace)


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md"])
def test_it_finds_code_to_run(page: str) -> None:
    assert code_of(ROOT / page)


def test_it_gives_a_reason_for_each_block_that_does_not_run() -> None:
    bare = [
        f"{name(page)}:{number}"
        for page in pages()
        for number, line in enumerate(page.read_text("utf-8").splitlines(), start=1)
        if line.startswith("<!-- not run") and not line.startswith("<!-- not run: ")
    ]
    assert bare == []
