from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.test import RequestFactory
from django.utils.decorators import decorator_from_middleware
from django.views.decorators.cache import never_cache
from django.views.generic import TemplateView

from perfkit.watching import Call, calling_line, calls
from perfkit.watching.stack import Landmarks, path_here

HERE = "tests/watching/test_callers.py"


def seen_from_library(read: Callable[[], Any]) -> Any:
    """Call `read` from a frame that is not the project's."""
    return functools.reduce(lambda _, call: call(), [read], None)


def test_it_is_the_innermost_line_of_the_project() -> None:
    line = sys._getframe().f_lineno + 1
    assert calling_line() == f"{HERE}:{line}"


def test_a_comprehension_is_its_function() -> None:
    (found,) = [next(calls(sys._getframe())) for _ in range(1)]
    assert found.function == f"{__name__}.test_a_comprehension_is_its_function"


def test_what_wraps_no_function_has_no_line() -> None:
    """A decorator may hold another's, which a middleware of a class is said to be wrapped by."""
    seen: list[Call] = []

    def view(request: HttpRequest) -> HttpResponse:
        seen.extend(calls(sys._getframe()))
        return HttpResponse()

    handle: Any = SessionMiddleware(never_cache(view))
    wrapped: Any = functools.wraps(handle)(lambda request: handle(request))  # noqa: PLW0108  # a function, not the middleware
    wrapped.__wrapped__ = handle
    decorate: Any = decorator_from_middleware(SessionMiddleware)
    decorate(wrapped)(RequestFactory().get("/"))
    assert seen[0].function.endswith(".view")


def test_a_line_of_a_template_is_told(tmp_path: Path) -> None:
    seen: list[str] = []

    class Reader:
        def read(self) -> str:
            # From this frame outwards there is only the template, and the test.
            seen.extend(map(str, calls(sys._getframe(1))))
            return ""

    source = tmp_path / "list.html"
    source.write_text("first\n{% for each in readers %}\n{{ each.read }}{% endfor %}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines["django"].engine, "dirs", [tmp_path])  # type: ignore[attr-defined]
        engines["django"].get_template("list.html").render({"readers": [Reader()]})
    assert seen[:2] == [f"{source}:3", f"{source}:2"]


class Shown(TemplateView):
    template_name = "home.html"
    seen: list[Call] = []

    @property
    def extra_context(self) -> dict[str, Any]:  # type: ignore[override]
        Shown.seen = list(calls(sys._getframe(1)))
        return {}


def test_a_view_that_is_a_class_is_told() -> None:
    Shown.as_view()(RequestFactory().get("/"))
    assert Shown.seen[0].function == f"{__name__}.Shown"
    assert str(Shown.seen[0]).startswith(f"{HERE}:")


class TestPath:
    def number(self) -> int:
        return path_here(depth=2, landmarks=Landmarks()).number

    def test_it_is_the_same_for_each_turn_of_a_loop(self) -> None:
        numbers = set()
        for _ in range(3000):  # the interpreter has made the loop its own by then
            numbers.add(self.number())  # a loop is what is tried
        assert len(numbers) == 1

    def test_it_is_another_on_another_line_and_twice_on_one(self) -> None:
        first = self.number()
        second, third = self.number(), self.number()
        assert len({first, second, third}) == 3

    def test_it_ends_where_it_is_told_to(self) -> None:
        def end() -> int:
            return path_here(depth=1, landmarks=Landmarks(ends=[end.__code__])).number

        first = end()
        assert first == end()

    def test_it_finds_what_is_looked_for(self) -> None:
        def looked_for(value: int) -> Any:
            return path_here(depth=1, landmarks=Landmarks(marks=[looked_for.__code__])).marked

        assert looked_for(5).f_locals["value"] == 5
