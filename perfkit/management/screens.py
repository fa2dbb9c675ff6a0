"""Text that is shown again and again: in place on a terminal, one below the other elsewhere."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import Protocol

HOME = "\x1b[H"
CLEAR_ALL = "\x1b[2J"
CLEAR_LINE = "\x1b[K"
CLEAR_BELOW = "\x1b[J"


class Output(Protocol):
    """What a command writes to."""

    def isatty(self) -> bool: ...  # noqa: D102
    def write(self, msg: str, *, ending: str) -> None: ...  # noqa: D102
    def flush(self) -> None: ...  # noqa: D102


class Screen:
    """Shows one frame after another.

    On a terminal each is written over the one before, at once and without clearing it first, so nothing flickers;
    what is longer or wider than the terminal is cut.
    """

    def __init__(self, output: Output) -> None:
        self._output = output
        self._is_first = True

    def show(self, lines: Sequence[str]) -> None:
        """Show a frame.

        Raises:
            BrokenPipeError: Whoever read it has gone.
        """
        if self._output.isatty():
            size = shutil.get_terminal_size()
            text = screen_text(lines, columns=size.columns, rows=size.lines, is_first=self._is_first)
        else:
            text = "\n".join([*([] if self._is_first else [""]), *lines, ""])
        self._is_first = False
        self._output.write(text, ending="")
        self._output.flush()


def screen_text(lines: Sequence[str], *, columns: int, rows: int, is_first: bool) -> str:
    r"""Return what puts the lines onto a terminal, over what is there.

    Example:
        >>> screen_text(["abcdef", "2"], columns=5, rows=9, is_first=False)
        '\x1b[Habcde\x1b[K\n2\x1b[K\n\x1b[J'
    """
    room = max(1, rows - 1)
    shown = list(lines)
    if len(shown) > room:
        shown = [*shown[: room - 1], f"… {len(lines) - room + 1:,} more lines; --section shows fewer"]
    written = "".join(f"{line[:columns]}{CLEAR_LINE}\n" for line in shown)
    return f"{CLEAR_ALL if is_first else ''}{HOME}{written}{CLEAR_BELOW}"
