from __future__ import annotations

from typing import Any

import pytest
from django.http import HttpRequest
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from perfkit.api.writing.requests import idempotency_key, request_digest, scope_digest

KEYS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=255)


def request(
    path: str = "/a", body: bytes = b"", content_type: str = "application/json", **headers: str
) -> Any:
    return RequestFactory().generic("POST", path, body, content_type=content_type, headers=headers)


@given(KEYS)
def test_a_key_reads_the_same_in_quotation_marks(key: str) -> None:
    """As RFC 8941 writes a string; a key that has the marks itself means what is within."""
    quoted = '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'
    assert idempotency_key(request(**{"Idempotency-Key": quoted})) == key


@given(
    st.lists(
        st.tuples(st.text("ab/?=&", max_size=4), st.binary(max_size=4)), min_size=2, max_size=2, unique=True
    )
)
def test_another_address_or_body_has_another_digest(pair: list[tuple[str, bytes]]) -> None:
    first, second = (request(f"/{path}", body) for path, body in pair)
    differs = (first.get_full_path(), first.body) != (second.get_full_path(), second.body)
    assert (request_digest(first) != request_digest(second)) is differs


def test_another_type_of_content_has_another_digest() -> None:
    assert request_digest(request(body=b"1")) != request_digest(request(body=b"1", content_type="text/plain"))


@pytest.mark.parametrize(("one", "other"), [(("ab", "c"), ("a", "bc")), (("", "/a"), ("/a", ""))])
def test_caller_and_route_do_not_run_into_each_other(one: tuple[str, str], other: tuple[str, str]) -> None:
    def scope(caller: str, path: str) -> str:
        asked = HttpRequest()
        asked.method, asked.path_info = "POST", path
        return scope_digest(caller, asked)

    assert scope(*one) != scope(*other)
    assert scope(*one) == scope(*one)
