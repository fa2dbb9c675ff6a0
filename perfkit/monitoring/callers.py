"""Finds the line of the project's own code that is being run."""

from __future__ import annotations

import os
import sys
import sysconfig
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import Final

PERFKIT: Final = str(Path(__file__).resolve().parent.parent) + os.sep
LIBRARIES: Final = tuple(
    {path + os.sep for name, path in sysconfig.get_paths().items() if name.endswith("lib")}
)
"""Where the standard library and installed packages live."""

INSTALLED: Final = frozenset({"site-packages", "dist-packages"})
"""Folders of packages that another environment lends to this one."""


def calling_line() -> str:
    """Return `file:line` of the innermost frame that is the project's own.

    Not its own are Python's files, those of installed packages, and perfkit's.
    The file is relative to the working directory where it is below it.
    A project that is itself installed as a package has no such frame; then it is `-`.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  # inspect.stack() reads source files, this does not
    while frame is not None:
        if is_own(frame.f_code.co_filename):
            return f"{_shown(frame.f_code.co_filename)}:{frame.f_lineno}"
        frame = frame.f_back
    return "-"


@lru_cache(maxsize=4096)
def is_own(filename: str) -> bool:
    """Whether the file belongs to the project."""
    is_installed = not INSTALLED.isdisjoint(Path(filename).parts)
    return not is_installed and not filename.startswith(("<", PERFKIT, *LIBRARIES))


def _shown(filename: str) -> str:
    path, here = Path(filename), Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else filename
