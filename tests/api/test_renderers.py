from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address
from typing import Any
from uuid import UUID

import pytest
from django.test import RequestFactory
from django.utils.translation import gettext_lazy
from hypothesis import given
from hypothesis import strategies as st
from ninja.renderers import JSONRenderer

from perfkit.api import FastJSONRenderer

REQUEST = RequestFactory().get("/")


class Colour(Enum):
    RED = "red"


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.uuids()
    | st.dates(),
    lambda below: st.lists(below, max_size=4) | st.dictionaries(st.text(), below, max_size=4),
    max_leaves=10,
)


def told(renderer: Any, value: Any) -> Any:
    return json.loads(renderer.render(REQUEST, value, response_status=200))


@given(VALUES)
def test_it_says_what_ninjas_says(value: Any) -> None:
    assert told(FastJSONRenderer(), value) == told(JSONRenderer(), value)


@pytest.mark.parametrize(
    "value",
    [
        datetime(2013, 1, 1, 5, 0, 1, tzinfo=UTC),
        datetime(2013, 1, 1),  # noqa: DTZ001  # as models without time zones have them
        date(2013, 1, 1),
        Decimal("1.50"),
        UUID(int=1),
        IPv4Address("127.0.0.1"),
        gettext_lazy("Password"),
    ],
)
def test_it_writes_other_types_as_ninja_does(value: Any) -> None:
    assert told(FastJSONRenderer(), [value]) == told(JSONRenderer(), [value])


def test_it_is_compact_and_not_escaped() -> None:
    assert (
        FastJSONRenderer().render(REQUEST, {"a": ["é", 1]}, response_status=200) == '{"a":["é",1]}'.encode()
    )


def test_what_cannot_be_written_is_an_error_as_with_ninjas() -> None:
    for renderer in (FastJSONRenderer(), JSONRenderer()):
        with pytest.raises(TypeError):
            renderer.render(REQUEST, {"a": object()}, response_status=200)
