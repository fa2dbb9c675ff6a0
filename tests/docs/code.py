"""Runs blocks of a page, in this process: `python` as it stands, `pycon` as a session whose answers must come."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any, Final

from tests.docs.pages import Block, blocks

LANGUAGES: Final = frozenset({"python", "pycon"})


def code_of(page: Path) -> list[Block]:
    return [block for block in blocks(page) if block.language in LANGUAGES and not block.mark]


def run_page(page: Path) -> None:
    """Run the blocks of a page in order, in one namespace, as a reader types them into one shell."""
    namespace: dict[str, Any] = {"__name__": "page"}
    for block in code_of(page):
        run(block, namespace)


def run(block: Block, namespace: dict[str, Any]) -> None:
    if block.language == "python":
        # The blank lines make a traceback name the page's own line.
        source = "\n" * (block.line - 1) + block.text
        exec(compile(source, str(block.page), "exec", dont_inherit=True), namespace)  # noqa: S102  # our own pages
        return
    example = doctest.DocTestParser().get_doctest(
        block.text, namespace, block.page.name, str(block.page), block.line - 1
    )
    runner = doctest.DebugRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    runner.run(example, clear_globs=False)
    namespace.update(example.globs)
