from __future__ import annotations

import pytest
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from perfkit.api.limiting.addresses import client_address, normal_address
from tests.api.limiting.conftest import limits


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1 ", "192.0.2.1"),
        ("192.0.2.1:5678", "192.0.2.1"),
        ('"192.0.2.1:5678"', "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("[::ffff:192.0.2.1]:443", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:DB8:0:0:ffff::1", "2001:db8::/64"),
        ("[2001:db8::1]", "2001:db8::/64"),
        ("[2001:db8::1]:443", "2001:db8::/64"),
        ('"[2001:db8::1]:443"', "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        *(
            (text, None)
            for text in ("", "unknown", "_hidden", "1.2.3", "1.2.3.4.5", "::1::", "[", "a b", "10.0.0.01")
        ),
    ],
)
def test_it_knows_an_address_however_it_is_written(text: str, address: str | None) -> None:
    assert normal_address(text, 64) == address


def test_a_network_is_as_wide_as_the_setting_says() -> None:
    assert normal_address("2001:db8:1:2::3", 48) == "2001:db8:1::/48"
    assert normal_address("2001:db8:1:2::3", 128) == "2001:db8:1:2::3/128"


@given(st.text())
def test_whatever_is_sent_it_is_an_address_or_none(text: str) -> None:
    found = normal_address(text, 64)
    assert found is None or normal_address(found.partition("/")[0], 64) == found


@given(st.ip_addresses())
def test_an_address_has_one_name(address: object) -> None:
    assert normal_address(str(address), 64) is not None


@pytest.mark.parametrize(
    ("proxies", "forwarded", "expected"),
    [
        (0, None, "192.0.2.1"),
        (0, "198.51.100.1", "192.0.2.1"),
        (1, None, "192.0.2.1"),
        (1, "", "192.0.2.1"),
        (1, "203.0.113.9", "203.0.113.9"),
        (1, "198.51.100.1, 203.0.113.9", "203.0.113.9"),
        (1, "198.51.100.1,203.0.113.9:1234", "203.0.113.9"),
        (1, "198.51.100.1, [2001:db8::9]:1234", "2001:db8::/64"),
        (2, "198.51.100.1, 203.0.113.9, 203.0.113.10", "203.0.113.9"),
        (3, "203.0.113.9", "192.0.2.1"),
        (1, "203.0.113.9, unknown", "192.0.2.1"),
        (2, "unknown, 203.0.113.9", "192.0.2.1"),
        (1, "203.0.113.9,", "192.0.2.1"),
    ],
)
def test_it_believes_only_declared_proxies(proxies: int, forwarded: str | None, expected: str) -> None:
    headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
    request = RequestFactory().get("/", headers=headers, REMOTE_ADDR="192.0.2.1")
    with limits(RATE_LIMIT_PROXIES=proxies):
        assert client_address(request) == expected


@given(forged=st.text(st.characters(codec="latin-1", exclude_characters="\r\n")))
def test_what_a_client_puts_before_it_changes_nothing(forged: str) -> None:
    request = RequestFactory().get(
        "/", REMOTE_ADDR="192.0.2.1", HTTP_X_FORWARDED_FOR=f"{forged}, 203.0.113.7, 203.0.113.8"
    )
    with limits(RATE_LIMIT_PROXIES=2):
        assert client_address(request) == "203.0.113.7"
    with limits(RATE_LIMIT_PROXIES=0):
        assert client_address(request) == "192.0.2.1"


@pytest.mark.parametrize("peer", ["", "unix:"])
def test_a_peer_without_an_address_is_one_client(peer: str) -> None:
    request = RequestFactory().get("/", REMOTE_ADDR=peer)
    assert client_address(request) == peer
    del request.META["REMOTE_ADDR"]
    assert client_address(request) == ""
