"""Templates of key paths."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfkit.caching import cached, invalidates
from perfkit.caching.functions.templates import Template
from perfkit.caching.named.names import KEY_TEXT, checked_path
from perfkit.errors import CacheKeyError, KeyTemplateError


def template(text: str, *parameters: str) -> Template:
    return Template(text, function="app.f", parameters=parameters)


def template_of_key(text: str) -> Template:
    return Template(text, function="app.f", parameters=(), literal=KEY_TEXT)


def test_it_names_parameters_and_their_attributes() -> None:
    flight = SimpleNamespace(origin=SimpleNamespace(code="JFK"), number=7)
    found = template("flight:{flight.origin.code}:{flight.number}:{day}", "flight", "day")
    assert found.path({"flight": flight, "day": "x"}) == "flight:JFK:7:x"
    assert found.parameters == {"flight", "day"}
    assert template("all").path({}) == "all"
    assert template("a{{b}}").path({}) == "a{b}"


@given(st.text(min_size=1), st.text(min_size=1), st.text(min_size=1), st.text(min_size=1))
def test_different_values_are_different_paths(one: str, two: str, three: str, four: str) -> None:
    found = template("x:{a}:{b}", "a", "b")
    first, second = found.path({"a": one, "b": two}), found.path({"a": three, "b": four})
    assert (first == second) == ((one, two) == (three, four))
    assert checked_path(first) == first


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a:{airprt}", "no parameter 'airprt'. Did you mean 'airport'"),
        ("a:{airport!r}", "no format and no conversion"),
        ("a:{airport:>3}", "no format and no conversion"),
        ("a:{airport[0]}", "no parameter"),
        ("a:{airport.}", "names no attribute"),
        ("a:{}", "no parameter ''"),
        ("a:{", "{"),
    ],
)
def test_it_refuses_what_does_not_fit(text: str, problem: str) -> None:
    with pytest.raises(KeyTemplateError, match=r"does not fit app\.f: .*" + problem.replace("{", r"\{")):
        template(text, "airport", "day")


@pytest.mark.parametrize(
    "text", ["air port:{day}", "star:*:{day}", "{day}:[1]", "what?", "Flughäfen", "a\n", ""]
)
def test_a_key_holds_no_text_that_is_none_of_a_key(text: str) -> None:
    with pytest.raises(KeyTemplateError, match="a key"):
        cached(text)(lambda day: day)
    if text.isascii() and text.isprintable() and text and " " not in text:
        invalidates(text)(lambda day: day)
    else:
        with pytest.raises(KeyTemplateError, match="a key"):
            invalidates(text)(lambda day: day)
    cached("airport:{day}", tags=["air port {day}"])(lambda day: day)


@given(st.characters(max_codepoint=300).filter(lambda letter: letter not in "{}"))
def test_it_holds_what_a_path_may_hold(letter: str) -> None:
    try:
        path = checked_path(f"a{letter}")
    except CacheKeyError:
        with pytest.raises(KeyTemplateError):
            template_of_key(f"a{letter}")
    else:
        assert template_of_key(f"a{letter}").path({}) == path
