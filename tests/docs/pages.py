"""The people's files as the docs tests read them: pages, their code blocks, their prose, their links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent.parent
FENCE: Final = re.compile(r"^(?P<fence>`{3,}|:{3,})(?P<info>.*)$")
MARK: Final = re.compile(r"^<!-- (?P<mark>(?:not run|file|append): \S.*) -->$")


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its first line's number, and the mark above it, empty or as `file: a.py`."""

    page: Path
    language: str
    line: int
    text: str
    mark: str


def pages() -> list[Path]:
    """Return every Markdown file that people read, the built documentation aside."""
    docs = (path for path in (ROOT / "docs").rglob("*.md") if "_build" not in path.parts)
    return [*sorted(ROOT.glob("*.md")), *sorted(docs)]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page, in order; a block inside another belongs to its text."""
    opened: tuple[str, str, int, str] | None = None
    body: list[str] = []
    previous = ""
    for number, line in enumerate(page.read_text("utf-8").splitlines(), start=1):
        if opened is not None:
            fence, language, start, mark = opened
            if line.strip() == fence:
                yield Block(page, language, start, "\n".join(body) + "\n", mark)
                opened, body = None, []
            else:
                body.append(line)
        elif match := FENCE.match(line):
            marked = MARK.match(previous)
            opened = (match["fence"], match["info"].strip(), number + 1, marked["mark"] if marked else "")
        previous = line
    assert opened is None, f"{name(page)}: the block that begins at line {opened[2]} has no end."


def written(page: Path) -> list[Block]:
    """Return the blocks that are files of the reader's own project, or are added to one."""
    return [block for block in blocks(page) if block.mark.startswith(("file: ", "append: "))]


def prose(page: Path) -> Iterator[tuple[int, str]]:
    """Yield the number and text of each line outside fenced blocks and comments."""
    fence = ""
    in_comment = False
    for number, line in enumerate(page.read_text("utf-8").splitlines(), start=1):
        if fence:
            fence = "" if line.strip() == fence else fence
        elif in_comment or line.startswith("<!--"):
            in_comment = "-->" not in line
        elif match := FENCE.match(line):
            fence = match["fence"]
        else:
            yield number, line
