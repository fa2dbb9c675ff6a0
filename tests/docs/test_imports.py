"""What the code of the how-to pages imports from perfkit is there, also in the blocks that are not run."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

from tests.docs.pages import ROOT, Block, blocks, name

HOW_TO = ROOT / "docs" / "how-to"
SERVERS = ("DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL")


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


def test_what_does_not_run_imports_only_what_is_there() -> None:
    """In a process of its own, for some of these modules change all of one."""
    lines = ["import django; django.setup()"]
    for page in sorted(HOW_TO.glob("*.md")):
        for block in left_out(page):
            lines += [
                f"exec(compile({ast.unparse(node)!r}, {name(page)!r}, 'exec'))"
                for node in perfkit_imports(block)
            ]
    environment = {key: value for key, value in os.environ.items() if key not in SERVERS}
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)],
        env={**environment, "PERFKIT_DB": "sqlite", "DJANGO_SETTINGS_MODULE": "tests.settings"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert len(lines) > 10


def test_it_finds_imports_at_all() -> None:
    found = {name(page) for page in HOW_TO.glob("*.md") for block in left_out(page) if perfkit_imports(block)}
    assert {"docs/how-to/api.md", "docs/how-to/tasks.md"} <= found
