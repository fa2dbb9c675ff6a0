"""Finds the line of the project's own code that is being run."""

from __future__ import annotations

import inspect
import os
import sys
import sysconfig
from functools import lru_cache
from pathlib import Path
from types import CodeType, FrameType, FunctionType
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

    A queryset that a view returns is read by who called the view, after the view's frame is gone.
    So a decorator's frame counts as well, for the line where the project's function begins that it wraps.

    Not its own are Python's files, those of installed packages, and perfkit's.
    The file is relative to the working directory where it is below it.
    It is `-` where no frame is: in a project that is itself installed as a package,
    and for what an async view leaves to be read, in a thread that does not know the view.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  # inspect.stack() reads source files, this does not
    while frame is not None:
        if is_own(frame.f_code.co_filename):
            return f"{_shown(frame.f_code.co_filename)}:{frame.f_lineno}"
        if (wrapped := _wrapped(frame)) is not None:
            return f"{_shown(wrapped.co_filename)}:{wrapped.co_firstlineno}"
        frame = frame.f_back
    return "-"


@lru_cache(maxsize=4096)
def is_own(filename: str) -> bool:
    """Whether the file belongs to the project."""
    is_installed = not INSTALLED.isdisjoint(Path(filename).parts)
    return not is_installed and not filename.startswith(("<", PERFKIT, *LIBRARIES))


def _wrapped(frame: FrameType) -> CodeType | None:
    """Return the code of the project's function that the frame's, a decorator's, holds in its closure."""
    for name in frame.f_code.co_freevars:
        value = frame.f_locals.get(name)
        # Not isinstance(): it would ask a lazy object for its class, and that may be a query.
        if type(value) is FunctionType:
            code: CodeType = inspect.unwrap(value).__code__
            if is_own(code.co_filename):
                return code
    return None


def _shown(filename: str) -> str:
    path = Path(filename)
    try:
        here = Path.cwd()
    except OSError:  # the folder is gone
        return filename
    return str(path.relative_to(here)) if path.is_relative_to(here) else filename
