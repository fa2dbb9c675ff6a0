from __future__ import annotations

import inspect
import pickle
import re
from collections.abc import Iterator

import pytest
from django.core.exceptions import ImproperlyConfigured

from perfkit import errors
from perfkit.errors import PerfkitError, nearest

# What a parameter of an error's constructor may look like, by its annotation.
SAMPLES = {
    "str": "airlin",
    "str | None": "airlin",
    "int": 7,
    "int | None": 7,
    "float": 0.5,
    "float | None": 0.5,
    "object": 10**21,
    "Sequence[str]": ["airline", "plane"],
    "Sequence[int]": [1, 2],
    "bool": True,
}


def family(root: type[PerfkitError]) -> Iterator[type[PerfkitError]]:
    yield root
    for child in root.__subclasses__():
        yield from family(child)


def declared() -> list[type[PerfkitError]]:
    return [kind for kind in family(PerfkitError) if kind.__module__ == errors.__name__]


def sample_of(kind: type[PerfkitError]) -> PerfkitError:
    if kind.__init__ is Exception.__init__:
        return kind("what happened")
    parameters = list(inspect.signature(kind.__init__).parameters.values())[1:]
    return kind(*(SAMPLES[parameter.annotation] for parameter in parameters))


EACH = pytest.mark.parametrize("kind", declared(), ids=lambda kind: kind.__name__)


@EACH
def test_it_survives_pickling_with_the_same_text(kind: type[PerfkitError]) -> None:
    error = sample_of(kind)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        copy = pickle.loads(pickle.dumps(error, protocol))  # noqa: S301  # its own bytes
        assert type(copy) is kind
        assert str(copy) == str(error)
        assert copy.args == error.args
        assert vars(copy) == vars(error)


@EACH
def test_it_says_something_in_its_text(kind: type[PerfkitError]) -> None:
    assert str(sample_of(kind))
    assert "<" not in str(sample_of(kind))


@EACH
def test_it_is_explained_in_its_own_docstring(kind: type[PerfkitError]) -> None:
    assert "__doc__" in vars(kind)
    assert kind.__doc__


@EACH
def test_it_is_named_an_error(kind: type[PerfkitError]) -> None:
    assert kind.__name__.endswith("Error")


def test_it_defines_no_error_outside_the_tree() -> None:
    here = [
        value
        for value in vars(errors).values()
        if inspect.isclass(value) and issubclass(value, Exception) and value.__module__ == errors.__name__
    ]
    assert set(here) == set(declared())


def test_it_draws_the_tree_as_it_is() -> None:
    drawn: dict[str, str | None] = {}
    path: list[str] = []
    for line in errors.__doc__.splitlines():
        match = re.match(r"(?P<bars>[│├└─ ]*)(?P<name>[A-Z]\w*Error)\b", line)
        if match and (match["bars"] or match["name"] == "PerfkitError"):
            depth = len(match["bars"]) // 4
            del path[depth:]
            drawn[match["name"]] = path[-1] if path else None
            path.append(match["name"])
    real = {
        kind.__name__: None if kind is PerfkitError else kind.__bases__[0].__name__ for kind in declared()
    }
    assert drawn == real


def test_it_lets_django_recognise_a_wrong_setting() -> None:
    assert issubclass(errors.SettingsError, ImproperlyConfigured)


class TestNearest:
    def test_it_names_the_one_that_was_meant(self) -> None:
        assert nearest("airlin", ["plane", "airline"]) == " Did you mean 'airline'?"

    def test_a_name_with_all_the_words_and_more_is_nearest(self) -> None:
        names = ["CACHE_TIMEOUT", "CACHE_DEFAULT_TTL", "CACHE_ENABLED"]
        assert nearest("CACHE_TTL", names) == " Did you mean 'CACHE_DEFAULT_TTL'?"
        assert nearest("CACHE", names).startswith(" Allowed: ")

    def test_it_lists_what_is_allowed_where_nothing_is_near(self) -> None:
        assert nearest("zzz", ["plane", "airline"]) == " Allowed: airline, plane."

    def test_it_says_nothing_where_nothing_is_allowed(self) -> None:
        assert nearest("zzz", []) == ""


class TestTexts:
    def test_it_names_the_wrong_part_of_a_relation_path(self) -> None:
        error = errors.RelationPathError("Flight", "plane__ownr", "ownr", ["owner"])
        assert (
            str(error) == "Flight has no relation 'ownr' (in the path 'plane__ownr'). Did you mean 'owner'?"
        )

    def test_it_names_the_option_of_a_wrong_setting(self) -> None:
        assert str(errors.SettingsError("CACHE_ALIAS", "must be str, not int.")) == (
            "PERFKIT['CACHE_ALIAS'] must be str, not int."
        )
