"""Finds the lines of the project's own code that are being run."""

from __future__ import annotations

import inspect
import os
import re
import sys
import sysconfig
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any, Final, NamedTuple

import django

from perfkit.watching.awaited import BEGINNING, awaited_from

PERFKIT: Final = str(Path(__file__).resolve().parent.parent) + os.sep
LIBRARIES: Final = (
    *{path + os.sep for name, path in sysconfig.get_paths().items() if name.endswith("lib")},
    str(Path(django.__file__).resolve().parent) + os.sep,
)
"""Where the standard library and installed packages live, and Django, wherever it was put."""

INSTALLED: Final = frozenset({"site-packages", "dist-packages"})
"""Folders of packages that another environment lends to this one."""

TEMPLATE_MODULE: Final = str(Path("django", "template", "base.py"))

VIEW_OF: Final = {
    ("ninja.operation", "run"): "view_func",
    ("ninja.operation", "_result_to_response"): "view_func",
}
"""Where the view hangs on the `self` of a library's function, by that function's module and name."""

COMPREHENSION: Final = re.compile(r"(?:\.<locals>\.<(?:listcomp|setcomp|dictcomp|genexpr)>)+$")

CLASS_VIEWS: Final = frozenset({"dispatch", "changelist_view", "changeform_view"})
"""Functions of libraries whose `self` is of a class of the project, the view."""


class Call(NamedTuple):
    """One of the project's own lines that is being run.

    Args:
        filename: Absolute; a template's file too.
        line: From 1.
        function: `module.function`, `module.Class.method`; empty for a line of a template.
    """

    filename: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{_shown(self.filename)}:{self.line}"


def calling_line() -> str:
    """Return `file:line` of the innermost line that is the project's own, in Python or in a template.

    A queryset that a view returns is read by who called the view, after the view's frame is gone.
    So a decorator's frame counts as well, for the line where the project's function begins that it wraps.

    Not its own are Python's files, those of installed packages, and perfkit's.
    The file is relative to the working directory where it is below it.
    It is `-` where no frame is: in a project that is itself installed as a package,
    and for what an async view leaves to be read, in a thread that does not know the view.
    """
    # inspect.stack() reads source files, this does not
    return str(next(calls(sys._getframe(1)), "-"))  # noqa: SLF001


def calls(frame: FrameType | None) -> Iterator[Call]:
    """Yield the project's own calls that led to `frame`, innermost first; in a thread, those that await it.

    A view that is no longer on the stack while its result is read is yielded where its caller is.
    """
    last: Call | None = None
    while frame is not None:
        code = frame.f_code
        found: Call | None
        if is_own(code.co_filename):
            function = COMPREHENSION.sub("", code.co_qualname)
            found = Call(code.co_filename, frame.f_lineno, f"{frame.f_globals.get('__name__')}.{function}")
        elif code is BEGINNING and (awaited := awaited_from()) is not None:
            yield from awaited.calls
            return
        else:
            found = _template_line(frame) or _wrapped(frame) or _view(frame)
        if found is not None and found != last:  # a comprehension may be a call of its own
            yield found
            last = found
        frame = frame.f_back


@lru_cache(maxsize=4096)
def is_own(filename: str) -> bool:
    """Whether the file belongs to the project."""
    is_installed = not INSTALLED.isdisjoint(Path(filename).parts)
    return not is_installed and not filename.startswith(("<", PERFKIT, *LIBRARIES))


def renders_node(code: CodeType) -> bool:
    """Say whether `code` is what Django's templates run for each of their tags and variables."""
    return code.co_name == "render_annotated" and code.co_filename.endswith(TEMPLATE_MODULE)


def _template_line(frame: FrameType) -> Call | None:
    """Return the line of the project's template that the frame renders."""
    if not renders_node(frame.f_code):
        return None
    node = frame.f_locals["self"]
    origin, token = getattr(node, "origin", None), getattr(node, "token", None)
    if origin is None or token is None or not is_own(origin.name):
        return None
    return Call(origin.name, token.lineno, "")


def _wrapped(frame: FrameType) -> Call | None:
    """Return where the project's function begins that the frame's, a decorator's, holds in its closure."""
    for name in frame.f_code.co_freevars:
        value = frame.f_locals.get(name)
        # Not isinstance(): it would ask a lazy object for its class, and that may be a query.
        if type(value) is FunctionType and (call := _beginning(value)) is not None:
            return call
    return None


def _view(frame: FrameType) -> Call | None:
    """Return where the project's view begins that the frame's function, a library's, runs."""
    name = frame.f_code.co_name
    attribute = VIEW_OF.get((frame.f_globals.get("__name__", ""), name))
    if attribute is not None:
        view = getattr(frame.f_locals.get("self"), attribute, None)
        return _beginning(view) if type(view) is FunctionType else None
    if name in CLASS_VIEWS:
        cls: Any = type(frame.f_locals.get("self"))
        filename = getattr(sys.modules.get(cls.__module__), "__file__", None)
        if filename is not None and is_own(filename):
            return Call(filename, _first_line(cls), f"{cls.__module__}.{cls.__qualname__}")
    return None


def _beginning(function: FunctionType) -> Call | None:
    unwrapped: Any = inspect.unwrap(function)
    code: CodeType | None = getattr(unwrapped, "__code__", None)
    if code is None or not is_own(code.co_filename):  # a middleware stands for what it calls, too
        return None
    return Call(code.co_filename, code.co_firstlineno, f"{unwrapped.__module__}.{code.co_qualname}")


@lru_cache(maxsize=1024)
def _first_line(cls: type[Any]) -> int:
    try:
        return inspect.getsourcelines(cls)[1]
    except OSError:  # made at run time
        return 1


def _shown(filename: str) -> str:
    path = Path(filename)
    try:
        here = Path.cwd()
    except OSError:  # the folder is gone
        return filename
    return str(path.relative_to(here)) if path.is_relative_to(here) else filename
