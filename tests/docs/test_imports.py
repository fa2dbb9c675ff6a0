"""What the code of the how-to pages imports from perfkit is there, also in the blocks that are not run."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, Block, blocks, name

HOW_TO = ROOT / "docs" / "how-to"


def left_out(page: Path) -> list[Block]:
    return [block for block in blocks(page) if block.language == "python" and block.mark]


def perfkit_imports(block: Block) -> list[ast.stmt]:
    """Return the imports of the block, which must compile; a line number is the page's own."""
    source = "\n" * (block.line - 1) + block.text
    tree = compile(source, str(block.page), "exec", ast.PyCF_ONLY_AST, dont_inherit=True)
    return [
        node
        for node in ast.walk(tree)
        if (isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "perfkit")
        or (isinstance(node, ast.Import) and node.names[0].name.partition(".")[0] == "perfkit")
    ]


@pytest.mark.parametrize("page", sorted(HOW_TO.glob("*.md")), ids=name)
def test_what_does_not_run_imports_only_what_is_there(page: Path) -> None:
    for block in left_out(page):
        for statement in perfkit_imports(block):
            exec(compile(ast.Module([statement], []), str(page), "exec"), {})  # noqa: S102  # our own pages


def test_it_finds_imports_at_all() -> None:
    found = {name(page) for page in HOW_TO.glob("*.md") for block in left_out(page) if perfkit_imports(block)}
    assert {"docs/how-to/api.md", "docs/how-to/tasks.md"} <= found
