"""What HTTP asks of a cache: codings, entity tags, 304, HEAD, addresses, forged headers."""

from __future__ import annotations

import gzip

import msgspec
import pytest
from django.conf import LazySettings
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client, RequestFactory, override_settings

from perfkit.caching import invalidate
from perfkit.caching.responses import encodings
from perfkit.caching.responses.pages import KeptPage, PageCodec, page_of, shown
from perfkit.conf import configured
from tests.caching.responses import urls
from tests.caching.responses.decoders import DECODERS, body_of
from tests.testapp.models import Item

pytestmark = pytest.mark.django_db(transaction=True)

GZIP = {"Accept-Encoding": "gzip, deflate"}


def new_calls(calls: list[str]) -> int:
    made = len(calls)
    calls.clear()
    return made


def test_each_client_gets_the_coding_that_it_takes(calls: list[str], client: Client) -> None:
    wanted = urls.LONG.encode()
    for accepted, coding in (
        ("gzip", "gzip"),
        ("", None),
        ("identity", None),
        ("gzip;q=0", None),
        ("*", "br"),
        ("x-gzip, deflate;q=0.5", "gzip"),
        ("gzip, deflate, br, zstd", "br"),
        ("gzip, deflate, zstd", "zstd"),
        ("gzip, br;q=0.9, zstd;q=0.8", "gzip"),
        ("zstd, *;q=0", "zstd"),
        ("identity;q=0, *", "br"),
        ("*;q=0", None),
        ("identity;q=0", None),
        ("gzip;q=0.2, identity", None),
        ("nonsense;;q=x,", None),
    ):
        headers = {"Accept-Encoding": accepted} if accepted else {}
        page = client.get("/long", headers=headers)
        assert page.get("Content-Encoding") == coding, accepted
        assert body_of(page) == wanted
        assert page["Vary"] == "Accept-Encoding"
        assert int(page["Content-Length"]) == len(page.content)
    assert new_calls(calls) == 1


def test_each_coding_has_its_own_entity_tag_and_304_the_same_headers(
    calls: list[str], client: Client
) -> None:
    tags = set()
    codings = [{"Accept-Encoding": coding} for coding in DECODERS]
    for headers in ({}, *codings):
        first, second = client.get("/long", headers=headers), client.get("/long", headers=headers)
        assert first["ETag"] == second["ETag"]
        tags.add(first["ETag"])
        for sent in (first["ETag"], f'"other", W/{first["ETag"]}', "*"):
            unchanged = client.get("/long", headers={**headers, "If-None-Match": sent})
            assert unchanged.status_code == 304
            assert unchanged.content == b""
            for name in ("ETag", "Vary", "Cache-Control"):
                assert unchanged[name] == first[name]
            assert not unchanged.has_header("Content-Encoding")
        for sent in ('"other"', "", first["ETag"].strip('"')):
            assert client.get("/long", headers={**headers, "If-None-Match": sent}).status_code == 200
    assert len(tags) == 1 + len(codings)
    assert new_calls(calls) == 1


def test_304_has_the_headers_that_the_view_has_set(client: Client) -> None:
    page = client.get("/says/modified")
    unchanged = client.get("/says/modified", headers={"If-None-Match": page["ETag"]})
    assert unchanged.status_code == 304
    assert unchanged["Last-Modified"] == page["Last-Modified"]


def test_a_date_counts_where_the_view_has_set_one_and_no_tag_is_sent(
    calls: list[str], client: Client
) -> None:
    date = {"If-Modified-Since": "Wed, 21 Oct 2015 07:28:00 GMT"}
    client.get("/says/modified")
    assert client.get("/says/modified", headers=date).status_code == 304
    assert client.get("/says/modified", headers={**date, "If-None-Match": '"other"'}).status_code == 200
    assert client.get("/long", headers=date).status_code == 200


def test_a_tag_of_the_views_own_stays_and_is_weak_in_other_codings(client: Client) -> None:
    for _ in range(2):
        assert client.get("/says/tagged")["ETag"] == '"of the view"'
        assert client.get("/says/tagged", headers=GZIP)["ETag"] == 'W/"of the view"'
    for headers in ({}, GZIP):
        sent = {**headers, "If-None-Match": '"of the view"'}
        assert client.get("/says/tagged", headers=sent).status_code == 304


def test_a_condition_around_the_view_is_left_to_itself(client: Client) -> None:
    for _ in range(2):
        page = client.get("/conditional")
        assert page.content == b"a text"
        assert client.get("/conditional", headers={"If-None-Match": '"from outside"'}).status_code == 304
        assert client.get("/conditional", headers={"If-None-Match": page["ETag"]}).status_code == 304


def test_the_tag_changes_with_the_page(item: Item, client: Client) -> None:
    before = client.get(f"/item/{item.pk}")["ETag"]
    Item.plain.filter(pk=item.pk).update(name="new")
    page = client.get(f"/item/{item.pk}", headers={"If-None-Match": before})
    assert page.status_code == 200
    assert page["ETag"] != before


@pytest.mark.parametrize("headers", [{}, GZIP, {"Accept-Encoding": "zstd"}, {"Accept-Encoding": "br"}])
def test_head_is_answered_from_the_page_of_get(
    headers: dict[str, str], calls: list[str], client: Client
) -> None:
    client.head("/long", headers=headers)
    client.head("/long", headers=headers)
    assert new_calls(calls) == 2, "it keeps none"
    page = client.get("/long", headers=headers)
    assert body_of(page) == urls.LONG.encode()
    head = client.head("/long", headers=headers)
    assert new_calls(calls) == 1
    assert head.content == b""
    for name in ("Content-Length", "ETag", "Vary", "Cache-Control", "Content-Type"):
        assert head[name] == page[name]
    assert client.head("/long", headers={**headers, "If-None-Match": page["ETag"]}).status_code == 304


def test_what_is_no_text_or_must_not_be_transformed_is_sent_as_it_is(client: Client) -> None:
    for what in ("image", "no-transform"):
        for _ in range(2):
            page = client.get(f"/says/{what}", headers=GZIP)
            assert not page.has_header("Content-Encoding")
            assert not page.has_header("Vary")


@pytest.mark.parametrize("middleware", ["gzip.GZipMiddleware", "http.ConditionalGetMiddleware"])
def test_djangos_middleware_around_it_changes_nothing_twice(
    middleware: str, client: Client, settings: LazySettings
) -> None:
    settings.MIDDLEWARE = [f"django.middleware.{middleware}", *settings.MIDDLEWARE]
    for _ in range(2):
        page = client.get("/long", headers=GZIP)
        assert gzip.decompress(page.content) == urls.LONG.encode()
        assert page["Vary"] == "Accept-Encoding"
        assert client.get("/long", headers={**GZIP, "If-None-Match": page["ETag"]}).status_code == 304


def test_browsers_ask_each_time_unless_the_view_says_otherwise(client: Client) -> None:
    for _ in range(2):
        assert client.get("/long")["Cache-Control"] == "no-cache"
        assert client.get("/kept-for-a-minute")["Cache-Control"] == "max-age=60"
        assert client.get("/says/public")["Cache-Control"] == "public, max-age=60"


def test_a_page_that_was_kept_says_its_age(client: Client) -> None:
    assert not client.get("/long").has_header("Age")
    assert client.get("/long")["Age"] in {"0", "1", "2"}


def test_a_minute_without_asking_counts_from_each_answer_unless_the_view_says_it_itself() -> None:
    ages = {}
    for said in ("", "max-age=60"):
        response = HttpResponse("a text", headers={"Cache-Control": said} if said else {})
        page = page_of(response, ttl_seconds=600, variations=frozenset(), max_age=60)
        former = KeptPage(msgspec.structs.replace(page, made_at=page.made_at - 100))
        codec = PageCodec()
        for kept in (former, codec.unpacked(*codec.packed(former.page))):
            answer = shown(kept, RequestFactory().get("/"))  # type: ignore[arg-type]
            assert answer["Cache-Control"] == "max-age=60"
            ages[said] = int(answer["Age"])
    assert ages[""] == 0
    assert ages["max-age=60"] >= 100


def test_a_request_cannot_have_it_made_anew(calls: list[str], client: Client) -> None:
    for value in ("no-cache", "no-store", "max-age=0"):
        client.get("/long", headers={"Cache-Control": value, "Pragma": "no-cache"})
    assert new_calls(calls) == 1


def test_the_order_of_parameters_and_where_a_visitor_came_from_make_no_other_page(
    calls: list[str], client: Client
) -> None:
    pages = [
        client.get(f"/query?{query}")
        for query in (
            "b=2&a=1&a=0",
            "a=1&a=0&b=2",
            "a=1&b=2&a=0",
            "a=1&a=0&b=2&utm_source=x&utm_medium=y",
            "gclid=1&b=2&a=1&a=0",
            "%61=1&a=0&b=%32",
            "&&a=1&a=0&b=2",
        )
    ]
    assert new_calls(calls) == 1
    assert {page.content for page in pages} == {
        b'{"path": "/query?a=1&a=0&b=2", "query": {"a": ["1", "0"], "b": ["2"]}}'
    }
    for query in ("a=0&a=1&b=2", "a=1&b=2", "a=1&a=0&b=", "A=1&a=0&b=2", "a=1%26a=0&b=2", ""):
        client.get(f"/query?{query}")
    assert new_calls(calls) == 6


def test_the_first_visitor_cannot_write_into_the_address_that_others_see(client: Client) -> None:
    assert b"evil" not in client.get("/query?utm_source=evil").content
    assert b"evil" not in client.get("/query").content
    raw = client.get('/query?q=<script>alert("evil")</script>').content
    assert b"<script>" not in raw.split(b'"query"')[0]
    assert client.get("/query?q=%3Cscript%3Ealert(%22evil%22)%3C/script%3E").content == raw


def test_what_the_request_shows_after_the_view_is_what_it_was(client: Client) -> None:
    page = client.get("/query?b=1&a=2&utm_source=x")
    assert page.wsgi_request.get_full_path() == "/query?b=1&a=2&utm_source=x"
    assert list(page.wsgi_request.GET) == ["b", "a", "utm_source"]
    assert type(page.wsgi_request.META) is dict
    assert type(page.wsgi_request.COOKIES) is dict


def test_an_address_may_be_as_long_as_a_server_takes(calls: list[str], client: Client) -> None:
    for _ in range(2):
        assert client.get(f"/query?q={'x' * 20_000}").status_code == 200
    assert new_calls(calls) == 1


def test_each_host_and_scheme_has_its_own_page(calls: list[str], settings: LazySettings) -> None:
    settings.ALLOWED_HOSTS = ["a.example", "b.example"]
    for _ in range(2):
        for host in ("a.example", "b.example", "a.example:8000"):
            for secure in (False, True):
                page = Client(headers={"Host": host}).get("/site", secure=secure)
                assert page.content.decode() == f"http{'s' if secure else ''}://{host}/site"
    assert new_calls(calls) == 6


def test_a_host_that_is_not_allowed_is_refused_and_poisons_nothing(
    calls: list[str], settings: LazySettings
) -> None:
    settings.ALLOWED_HOSTS = ["a.example"]
    for _ in range(2):
        assert Client(headers={"Host": "evil.example"}).get("/site").status_code == 400
        assert Client(headers={"Host": "a.example"}).get("/site").content == b"http://a.example/site"


FORGED = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "https", "X-Forwarded-Port": "666"}


@pytest.mark.parametrize("is_behind_proxy", [False, True])
def test_forged_headers_of_a_proxy_change_nobody_elses_page(
    is_behind_proxy: bool, settings: LazySettings
) -> None:
    settings.ALLOWED_HOSTS = ["a.example", "evil.example"]
    if is_behind_proxy:
        settings.USE_X_FORWARDED_HOST = settings.USE_X_FORWARDED_PORT = True
        settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    for _ in range(2):
        forged = Client(headers={"Host": "a.example", **FORGED}).get("/site").content
        assert (b"evil" in forged) == is_behind_proxy
        assert Client(headers={"Host": "a.example"}).get("/site").content == b"http://a.example/site"


def test_a_range_is_answered_with_the_whole(calls: list[str], client: Client) -> None:
    for _ in range(2):
        page = client.get("/long", headers={"Range": "bytes=0-3"})
        assert (page.status_code, page.content) == (200, urls.LONG.encode())
    assert new_calls(calls) == 1


def test_a_get_with_a_body_goes_to_the_view(calls: list[str], client: Client) -> None:
    for _ in range(2):
        client.generic("GET", "/long", b"q=evil", content_type="application/x-www-form-urlencoded")
    assert new_calls(calls) == 2


def test_an_encoding_that_the_request_chooses_goes_to_the_view(calls: list[str], client: Client) -> None:
    for _ in range(2):
        client.get("/query?q=%E9", headers={"Content-Type": "text/plain; charset=latin-1"})
    client.get("/query?q=%E9")
    client.get("/query?q=%E9")
    assert new_calls(calls) == 3


def test_languages_that_mean_the_same_share_a_page(calls: list[str], client: Client) -> None:
    for value in ("de, en;q=0.5", "de,en; q=0.50", "DE;q=1.0, en;q=0.5, fr;q=0"):
        client.get("/says/vary language", headers={"Accept-Language": value})
    assert new_calls(calls) == 1
    client.get("/says/vary language", headers={"Accept-Language": "en, de;q=0.5"})
    assert new_calls(calls) == 1


def test_a_page_of_another_language_or_time_zone_is_another(calls: list[str], settings: LazySettings) -> None:
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE,
        "django.middleware.locale.LocaleMiddleware",
        "tests.caching.responses.zones.zone_middleware",
    ]
    for _ in range(2):
        for language in ("de", "fr"):
            client = Client(headers={"Accept-Language": language})
            assert client.get("/looks/language").content.decode() == language
        for zone in ("Europe/Berlin", "America/New_York"):
            client = Client(headers={"X-Zone": zone})
            assert client.get("/looks/zone").content.decode() == zone
    assert new_calls(calls) == 4


def test_a_large_page_is_sent_and_not_kept(calls: list[str], client: Client) -> None:
    for _ in range(2):
        assert len(client.get("/says/large").content) == 4_000_001
    assert new_calls(calls) == 2


def test_each_coding_is_made_once_however_many_ask(
    calls: list[str], client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def noting(coding: str, coder: encodings.Coder) -> encodings.Coder:
        def note(body: bytes, pad: encodings.Pad | None = None, /) -> bytes:
            made.append(coding)
            return coder(body, pad)

        return note

    for coding, coder in list(encodings.CODERS.items()):
        monkeypatch.setitem(encodings.CODERS, coding, noting(coding, coder))
    for _ in range(3):
        for accepted in ("gzip, zstd", "gzip", "br", "zstd;q=0.5, gzip", ""):
            assert body_of(client.get("/long", headers={"Accept-Encoding": accepted})) == urls.LONG.encode()
    assert new_calls(calls) == 1
    assert sorted(made) == ["br", "gzip", "zstd"]


@pytest.mark.usefixtures("only_gzip")
def test_where_only_gzip_is_installed_it_is_what_everybody_gets(client: Client) -> None:
    assert client.get("/long", headers={"Accept-Encoding": "gzip, br, zstd"})["Content-Encoding"] == "gzip"
    assert not client.get("/long", headers={"Accept-Encoding": "br, zstd"}).has_header("Content-Encoding")


def test_only_a_page_of_ones_own_has_padding(client: Client, django_user_model: type[User]) -> None:
    client.force_login(django_user_model.objects.create(username="ann"))
    accepts = {"Accept-Encoding": "zstd"}
    for path, is_padded in (("/long", False), ("/own-long", True)):
        lengths = set()
        for most in (0, 1, 100):
            invalidate("page:*")
            with override_settings(PERFKIT={**configured(), "COMPRESS_PADDING_BYTES": most}):
                first, second = client.get(path, headers=accepts), client.get(path, headers=accepts)
                assert first.content == second.content
                assert body_of(second) == urls.LONG.encode()
                lengths.add(len(second.content))
        assert (len(lengths) > 1) == is_padded
