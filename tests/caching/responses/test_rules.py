"""The pure rules: addresses, header fields, codings, variations."""

from __future__ import annotations

import random
import zlib
from urllib.parse import parse_qs, quote_plus

import pytest
from django.http import HttpResponse, QueryDict
from hypothesis import given
from hypothesis import strategies as st

from perfkit.caching.responses.addresses import Address, canonical_query
from perfkit.caching.responses.encodings import (
    CODERS,
    GZIP,
    IDENTITY,
    MOST_PADDING,
    chosen_coding,
    coded,
    gunzipped,
    is_compressible,
    padding_of,
    smallest_coding,
    variants,
)
from perfkit.caching.responses.fields import directives, normal_value, seconds_of, weights, with_names
from perfkit.caching.responses.rules import said_seconds, why_not_kept
from perfkit.caching.responses.variations import (
    ALL_COOKIES,
    Looked,
    Sent,
    declared,
    digest,
    header_fields,
    judged,
    meta,
)
from tests.caching.responses.decoders import DECODERS

names = st.text(min_size=1, max_size=4)
pairs = st.lists(st.tuples(st.sampled_from(["a", "b", "ä", "a b", "&", "utm_x"]), names), max_size=8)


@given(pairs, st.randoms(use_true_random=False))
def test_a_canonical_query_says_the_same_to_django(
    given_pairs: list[tuple[str, str]], order: random.Random
) -> None:
    query = "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in given_pairs)
    canonical = canonical_query(query)
    assert canonical is not None
    assert dict(QueryDict(canonical).lists()) == dict(QueryDict(query).lists())
    assert canonical_query(canonical) == canonical
    shuffled = sorted(given_pairs, key=lambda pair: pair[0])
    kinds = sorted({name for name, _ in given_pairs})
    order.shuffle(kinds)
    shuffled.sort(key=lambda pair: kinds.index(pair[0]))
    other = "&".join(f"{quote_plus(name)}={quote_plus(value)}" for name, value in shuffled)
    assert canonical_query(other) == canonical


def test_parameters_that_are_ignored_are_left_out() -> None:
    query = "utm_source=a&b=1&UTM_x=2&utmost=3"
    assert canonical_query(query, ("utm_*",)) == "UTM_x=2&b=1&utmost=3"
    assert canonical_query("q=\xe9") is None
    assert parse_qs(canonical_query("a=%E9") or "", encoding="latin-1") == {"a": ["é"]}


@given(st.lists(names, min_size=7, max_size=7), st.lists(names, min_size=7, max_size=7))
def test_different_addresses_have_different_names(first: list[str], second: list[str]) -> None:
    def address(parts: list[str]) -> Address:
        return Address(parts[0], parts[1], parts[2], parts[3], parts[4], (parts[5], parts[6]))

    assert (address(first).digest() == address(second).digest()) == (first == second)


def test_what_accepts_the_same_has_one_text() -> None:
    assert normal_value("accept-encoding", "gzip, br") == normal_value("accept-encoding", "br;q=1.0,GZIP")
    assert normal_value("accept-encoding", "x-gzip, sdch") == normal_value("accept-encoding", "gzip")
    assert normal_value("accept-encoding", "gzip") != normal_value("accept-encoding", "gzip;q=0")
    assert normal_value("accept-language", "de,en") != normal_value("accept-language", "en,de")
    assert normal_value("cookie", "a=1; b=2") == normal_value("cookie", "b=2;a=1")
    assert normal_value("x-any", None) is None
    assert normal_value("x-any", " a ") == "a"


def test_weights_are_read_as_they_are_meant() -> None:
    assert weights("a;q=0.5, b , c;x=1;Q=0.1,d;q=2,e;q=x,;q=1") == [
        ("a", 0.5),
        ("b", 1.0),
        ("c", 0.1),
        ("d", 0.0),
        ("e", 0.0),
        ("", 1.0),
    ]


def test_lists_of_names_are_joined() -> None:
    assert with_names("Cookie, Accept", ["accept", "X-Kind", "X-Kind"]) == "Cookie, Accept, X-Kind"
    assert with_names("*", ["Accept"]) == "*"
    assert with_names("", []) == ""


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Cache-Control": "max-age=60"}, 60),
        ({"Cache-Control": "max-age=60, s-maxage=5"}, 5),
        ({"Cache-Control": 'MAX-AGE="7"'}, 7),
        ({"Cache-Control": "max-age=soon"}, 0),
        ({"Expires": "Thu, 01 Jan 1970 00:01:40 GMT"}, 50),
        ({"Expires": "0"}, 0),
        ({"Cache-Control": "max-age=9", "Expires": "0"}, 9),
    ],
)
def test_a_response_says_how_long_it_holds(headers: dict[str, str], seconds: int | None) -> None:
    assert said_seconds(HttpResponse(headers=headers), now=50.0) == seconds


def test_numbers_of_seconds_are_whole_and_not_endless() -> None:
    assert [seconds_of(text) for text in ("5", "-5", "5.0", "", None, "9" * 30)] == [
        5,
        None,
        None,
        None,
        None,
        2**31,
    ]
    assert directives('a, B=1 ,c="x",') == {"a": "", "b": "1", "c": "x"}


def test_a_response_is_kept_unless_something_speaks_against_it() -> None:
    assert why_not_kept(HttpResponse()) == ""
    assert why_not_kept(HttpResponse(reason="Fine")) == "no plain 200"
    public = HttpResponse(headers={"Cache-Control": "Public"})
    assert why_not_kept(public) == ""


bodies = st.one_of(
    st.binary(max_size=3000), st.text("abc <>{}", max_size=3000).map(str.encode), st.just(b"0" * 300_000)
)


@given(bodies, st.sampled_from([0, 1, 2, 5, 255, MOST_PADDING]) | st.integers(0, MOST_PADDING))
def test_a_body_comes_back_from_each_coding_whatever_is_put_beside_it(body: bytes, padding: int) -> None:
    for coding, coder in CODERS.items():
        made = coder(body, lambda coded: padding)
        assert DECODERS[coding](made) == body
        assert coder(body, lambda coded: padding) == made
        assert padding <= len(made) - len(coder(body)) <= padding + 20 or not padding


def test_all_codings_are_installed_for_the_tests() -> None:
    assert list(CODERS) == ["zstd", "br", "gzip"]
    assert CODERS.keys() == DECODERS.keys()


@given(bodies)
def test_a_body_that_gets_no_smaller_stays_as_it_is(body: bytes) -> None:
    for coding in CODERS:
        made = coded(body, coding, pad=lambda coded: 10)
        assert made is None or len(made) <= 0.9 * len(body)
    found = variants(body)
    assert found.get(IDENTITY, body) == body
    assert IDENTITY in found or GZIP in found
    if GZIP in found:
        assert gunzipped(found[GZIP], most_bytes=len(body)) == body
        with pytest.raises(ValueError, match="size"):
            gunzipped(found[GZIP], most_bytes=len(body) - 1)
        with pytest.raises((ValueError, zlib.error)):
            gunzipped(found[GZIP][:-9], most_bytes=len(body))


def test_nothing_random_gets_a_coding_and_what_repeats_gets_all() -> None:
    assert variants(random.Random(1).randbytes(5000)).keys() == {IDENTITY}
    assert variants(b"again and " * 500).keys() == CODERS.keys()


@given(st.binary(max_size=100), st.integers(1, MOST_PADDING))
def test_padding_is_the_same_for_a_body_and_within_its_bounds(body: bytes, most: int) -> None:
    padding = padding_of(body, most=most, secret="a secret")
    assert 1 <= padding <= most
    assert padding_of(body, most=most, secret="a secret") == padding
    assert padding_of(body, most=0, secret="a secret") == 0


def test_padding_of_other_bodies_and_other_secrets_is_another() -> None:
    lengths = [padding_of(b"%d" % number, most=100, secret="a secret") for number in range(1000)]
    assert set(lengths) == set(range(1, 101))
    others = [padding_of(b"%d" % number, most=100, secret="another") for number in range(1000)]
    assert sum(one == other for one, other in zip(lengths, others, strict=True)) < 100


qvalues = st.sampled_from([None, "0", "0.", "0.0", "0.001", "0.25", "0.5", "0.50", "1", "1.000"])
accepted_codings = st.dictionaries(
    st.sampled_from(["gzip", "br", "zstd", "identity", "*", "deflate", "sdch"]), qvalues, max_size=7
)


@given(accepted_codings, st.permutations(["zstd", "br", "gzip"]), st.integers(0, 3), st.randoms())
def test_the_coding_sent_is_one_that_the_client_likes_best(
    accepted: dict[str, str | None], order: list[str], count: int, noise: random.Random
) -> None:
    offered = order[:count]
    separator = noise.choice([",", ", ", " ,\t", ",,"])
    shown = [
        noise.choice([name, name.upper()])
        + ("" if value is None else f"{noise.choice([';', ' ; '])}{noise.choice('qQ')}={value}")
        for name, value in accepted.items()
    ]
    chosen = chosen_coding(separator.join(shown), offered)

    def weight(coding: str) -> float:
        """As RFC 9110, section 12.5.3, has it, word by word."""
        if coding in accepted:
            value = accepted[coding]
        elif "*" in accepted:
            value = accepted["*"]
        else:
            return 0.0
        return 1.0 if value is None else float(value)

    best = max([weight(coding) for coding in offered], default=0.0)
    if chosen == IDENTITY:
        assert best == 0 or weight(IDENTITY) > best
    else:
        assert weight(chosen) == best > 0
        assert weight(IDENTITY) <= best
        assert chosen == next(coding for coding in offered if weight(coding) == best)


@given(st.text(max_size=40) | st.text("gzip,;q=0.1* \t", max_size=40))
def test_whatever_is_sent_as_accepted_some_coding_is_chosen(accepted: str) -> None:
    assert chosen_coding(accepted, list(CODERS)) in {IDENTITY, *CODERS}


def test_a_star_is_about_identity_too() -> None:
    assert chosen_coding("*;q=0.5, gzip;q=0.1", ["gzip"]) == IDENTITY
    assert chosen_coding("*;q=0.5, gzip;q=0.1, identity;q=0", ["gzip"]) == GZIP
    assert chosen_coding("", ["gzip"]) == IDENTITY


def test_the_smallest_of_what_a_client_likes_best_is_chosen() -> None:
    bodies = {"gzip": b"123", "zstd": b"12", "br": b"1"}
    assert smallest_coding("", bodies) == IDENTITY
    assert smallest_coding("gzip, zstd, br", bodies) == "br"
    assert smallest_coding("gzip, zstd;q=0.9", bodies) == "gzip"
    assert smallest_coding("*", bodies) == "br"
    assert smallest_coding("*, br;q=0", bodies) == "zstd"
    assert smallest_coding("identity, gzip;q=0.5", bodies) == IDENTITY
    assert smallest_coding("br", {"gzip": b""}) == IDENTITY
    assert smallest_coding("br, gzip", {"identity": b""}) == IDENTITY


def test_types_of_text_are_compressed() -> None:
    for kind in ("text/html; charset=utf-8", "application/json", "image/svg+xml", "application/problem+json"):
        assert is_compressible(kind)
    for kind in ("image/png", "application/zip", "", "application/octet-stream"):
        assert not is_compressible(kind)


def test_variations_have_names_for_clients() -> None:
    found = declared(["Accept-Language", "cookie:theme", "user"])
    assert found == {"header:accept-language", "cookie:theme", "user"}
    assert header_fields(found | {meta("REMOTE_ADDR")}) == ["Accept-Language", "Cookie"]
    assert meta("HTTP_X_KIND") == "header:x-kind"


def test_values_that_are_absent_or_empty_are_two() -> None:
    texts = [
        digest({}),
        digest({"a": None}),
        digest({"a": ""}),
        digest({"a": "-"}),
        digest({"a": "", "b": None}),
        digest({"a": "\0b\1-"}),
    ]
    assert len(set(texts)) == len(texts)


NOBODY = Sent(frozenset(), "sessionid", has_session=False)


@pytest.mark.parametrize(
    ("looked", "known", "sent", "refusal", "learnt"),
    [
        ((), (), NOBODY, "", ()),
        (("cookie:a",), (), NOBODY, "", ("cookie:a",)),
        (("cookie:a",), (), NOBODY._replace(variations={"cookie:a"}), "cookie", ("cookie:a",)),
        (("cookie:a",), ("cookie:a",), NOBODY._replace(variations={"cookie:a"}), "", ()),
        (("cookie:a",), (ALL_COOKIES,), NOBODY._replace(variations={"cookie:a"}), "", ()),
        ((ALL_COOKIES,), (), NOBODY._replace(variations={ALL_COOKIES}), "header cookie", (ALL_COOKIES,)),
        (("header:x-auth",), (), NOBODY, "", ("header:x-auth",)),
        (("header:x-auth",), (), NOBODY._replace(variations={"header:x-auth"}), "header x-auth",
         ("header:x-auth",)),
        (("header:accept",), (), NOBODY._replace(variations={"header:accept"}), "", ("header:accept",)),
        (("header:authorization",), (), NOBODY, "", ()),
        (("meta:REMOTE_USER",), (), NOBODY._replace(variations={"meta:REMOTE_USER"}), "header REMOTE_USER",
         ("meta:REMOTE_USER",)),
    ],
)  # fmt: skip
def test_what_a_view_looked_at_is_judged(
    looked: tuple[str, ...], known: tuple[str, ...], sent: Sent, refusal: str, learnt: tuple[str, ...]
) -> None:
    found = judged(Looked(frozenset(looked), frozenset()), frozenset(known), sent)
    assert found == (refusal, frozenset(learnt))


@pytest.mark.parametrize(
    ("fact", "known", "has_session", "refusal"),
    [
        ("session", (), False, ""),
        ("session", (), True, "session"),
        ("session", (ALL_COOKIES,), True, "session"),
        ("session", ("user",), True, "session"),
        ("user", (), False, "user"),
        ("user", (ALL_COOKIES,), True, "user"),
        ("user", ("user",), True, ""),
        ("visitor", (), False, ""),
        ("visitor", (), True, "user"),
        ("visitor", ("user",), True, ""),
        ("csrf token", (ALL_COOKIES, "user"), False, "csrf token"),
        ("message", (ALL_COOKIES, "user"), False, "message"),
        ("all headers", (ALL_COOKIES, "user"), False, "all headers"),
    ],
)
def test_who_asks_is_judged(fact: str, known: tuple[str, ...], refusal: str, *, has_session: bool) -> None:
    sent = NOBODY._replace(has_session=has_session)
    found, learnt = judged(Looked(frozenset(), frozenset({fact})), frozenset(known), sent)
    assert found == refusal
    is_of_session = fact in {"session", "user", "visitor"} and not (fact != "session" and "user" in known)
    assert learnt == ({"cookie:sessionid", "visitor"} if is_of_session else set())
