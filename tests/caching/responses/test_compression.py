"""CompressionMiddleware: answers that are not kept, in the coding that each client likes best."""

from __future__ import annotations

import asyncio
import io
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.conf import LazySettings
from django.http import (
    FileResponse,
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseNotModified,
    JsonResponse,
    StreamingHttpResponse,
)
from django.test import AsyncClient, Client
from django.urls import path
from django.views.decorators.http import condition
from django.views.decorators.vary import vary_on_cookie

from perfkit.caching import cache_response
from perfkit.caching.responses import compression
from perfkit.caching.responses.encodings import CODERS
from perfkit.conf import configured
from tests.caching.responses.decoders import DECODERS, body_of

MIDDLEWARE = "perfkit.caching.responses.compression.CompressionMiddleware"
CONDITIONAL = "django.middleware.http.ConditionalGetMiddleware"

ROWS = {"rows": [{"id": number, "name": f"row {number}"} for number in range(200)]}
LONG = JsonResponse(ROWS).content
RANDOM = random.Random(7).randbytes(5000)


def json(**headers: str) -> HttpResponse:
    return JsonResponse(ROWS, headers=headers)


def of_size(size: int) -> HttpResponse:
    return HttpResponse(b"x" * size, content_type="text/plain")


ANSWERS: dict[str, Callable[[], HttpResponseBase]] = {
    "long": json,
    "tagged": lambda: json(ETag='"a-B"'),
    "weakly-tagged": lambda: json(ETag='W/"a"'),
    "with-length": lambda: json(**{"Content-Length": str(len(LONG))}),
    "error": lambda: JsonResponse(ROWS, status=422),
    "999": lambda: of_size(999),
    "1000": lambda: of_size(1000),
    "megabyte": lambda: of_size(1_000_000),
    "random": lambda: HttpResponse(RANDOM, content_type="text/plain"),
    "image": lambda: HttpResponse(bytes(5000), content_type="image/png"),
    "no-type": lambda: HttpResponse(bytes(5000), headers={"Content-Type": ""}),
    "no-transform": lambda: json(**{"Cache-Control": "public, No-Transform"}),
    "coded": lambda: json(**{"Content-Encoding": "deflate"}),
    "range": lambda: HttpResponse("x" * 2000, status=206, headers={"Content-Range": "bytes 0-1999/9000"}),
    "stream": lambda: StreamingHttpResponse([LONG], content_type="application/json"),
    "file": lambda: FileResponse(io.BytesIO(LONG), content_type="application/json"),
    "empty": lambda: HttpResponse(status=204),
}
LEFT_ALONE = ["999", "image", "no-type", "coded", "range", "stream", "file", "empty", "no-transform"]


def answer(request: HttpRequest, name: str) -> HttpResponseBase:
    if name == "missing":
        raise Http404
    return ANSWERS[name]()


async def async_answer(request: HttpRequest, name: str) -> HttpResponseBase:
    await asyncio.sleep(0)
    return answer(request, name)


kept_calls: list[str] = []


@cache_response(ttl=600)
def kept(request: HttpRequest) -> HttpResponse:
    kept_calls.append(request.path)
    return json()


urlpatterns = [
    path("sync/<str:name>", answer),
    path("async/<str:name>", async_answer),
    path("kept", kept),
    path("varies", vary_on_cookie(lambda request: json())),
    path("conditional", condition(etag_func=lambda request: '"of the view"')(lambda request: json())),
    path("not-modified", lambda request: HttpResponseNotModified(headers={"ETag": '"of the view"'})),
]


@pytest.fixture(autouse=True)
def _middleware(settings: LazySettings, _site: None) -> None:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = [MIDDLEWARE]


@pytest.fixture(params=["sync", "async"])
def get(request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """Asks for an answer, under WSGI and under ASGI."""
    if request.param == "sync":
        client = Client()
        yield lambda name, accepted="", **headers: client.get(
            f"/sync/{name}", headers=_headers(accepted, headers)
        )
    else:
        aclient = AsyncClient()
        yield lambda name, accepted="", **headers: async_to_sync(aclient.get)(
            f"/async/{name}", headers=_headers(accepted, headers)
        )


def _headers(accepted: str, more: dict[str, str]) -> dict[str, str]:
    return {**({"accept-encoding": accepted} if accepted else {}), **more}


@pytest.mark.parametrize("coding", DECODERS)
@pytest.mark.parametrize("name", ["long", "with-length", "error", "1000", "megabyte"])
def test_a_client_gets_the_coding_that_it_takes(get: Callable[..., Any], name: str, coding: str) -> None:
    plain, sent = get(name), get(name, coding)
    assert sent["Content-Encoding"] == coding
    assert body_of(sent) == plain.content
    assert len(sent.content) < 0.9 * len(plain.content)
    assert sent["Content-Length"] == str(len(sent.content))
    assert sent["Vary"] == plain["Vary"] == "Accept-Encoding"
    assert not plain.has_header("Content-Encoding")
    assert sent.status_code == plain.status_code


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, deflate, br", "br"),
        ("gzip;q=0.8, br;q=0.9, zstd;q=0.1", "br"),
        ("*", "zstd"),
        ("*, zstd;q=0", "br"),
        ("x-gzip", "gzip"),
        ("identity, gzip;q=0.5", None),
        ("identity;q=0", None),
        ("*;q=0", None),
        ("deflate, compress", None),
        ("gzip;q=nan", None),
    ],
)
def test_what_is_liked_as_much_goes_by_what_is_made_soonest(
    get: Callable[..., Any], accepted: str, coding: str | None
) -> None:
    sent = get("long", accepted)
    assert sent.get("Content-Encoding") == coding
    assert body_of(sent) == LONG
    assert sent["Vary"] == "Accept-Encoding"


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_what_gains_nothing_or_is_not_to_be_changed_is_left_alone(get: Callable[..., Any], name: str) -> None:
    plain, sent = get(name), get(name, "gzip, br, zstd")
    assert sent.headers == plain.headers
    assert not sent.has_header("Vary")
    assert sent.get("Content-Encoding") in {None, "deflate"}
    if not sent.streaming:
        assert sent.content == plain.content


def test_what_gets_no_smaller_is_sent_as_it_is_and_could_have_been_another(get: Callable[..., Any]) -> None:
    sent = get("random", "gzip")
    assert sent.content == RANDOM
    assert not sent.has_header("Content-Encoding")
    assert sent["Vary"] == "Accept-Encoding"


def test_the_size_from_which_it_compresses_is_an_option(
    get: Callable[..., Any], settings: LazySettings
) -> None:
    settings.PERFKIT = {**configured(), "COMPRESS_FROM_BYTES": 500, "COMPRESS_PADDING_BYTES": 0}
    assert get("999", "gzip")["Content-Encoding"] == "gzip"
    settings.PERFKIT = {**configured(), "COMPRESS_FROM_BYTES": 1001}
    assert not get("1000", "gzip").has_header("Content-Encoding")


def test_an_entity_tag_is_weak_once_compressed_and_none_is_made_up(get: Callable[..., Any]) -> None:
    assert get("tagged")["ETag"] == '"a-B"'
    for coding in CODERS:
        assert get("tagged", coding)["ETag"] == 'W/"a-B"'
        assert get("weakly-tagged", coding)["ETag"] == 'W/"a"'
        assert not get("long", coding).has_header("ETag")


@pytest.mark.parametrize("coding", ["", *DECODERS])
@pytest.mark.parametrize("name", ["long", "tagged"])
def test_304_has_the_tag_and_the_vary_of_200(
    get: Callable[..., Any], settings: LazySettings, name: str, coding: str
) -> None:
    settings.MIDDLEWARE = [MIDDLEWARE, CONDITIONAL]
    whole = get(name, coding)
    assert whole.status_code == 200
    assert whole["ETag"].startswith("W/") == bool(coding)
    for sent in (whole["ETag"], f'"other", {whole["ETag"]}', f'{whole["ETag"]},"c"'):
        unchanged = get(name, coding, **{"if-none-match": sent})
        assert unchanged.status_code == 304
        assert unchanged.content == b""
        assert unchanged["ETag"] == whole["ETag"]
        assert unchanged["Vary"] == whole["Vary"] == "Accept-Encoding"
        assert not unchanged.has_header("Content-Encoding")
    assert get(name, coding, **{"if-none-match": '"other"'}).status_code == 200


@pytest.mark.parametrize("coding", DECODERS)
def test_a_condition_of_the_views_own_holds(client: Client, coding: str) -> None:
    headers = {"Accept-Encoding": coding}
    whole = client.get("/conditional", headers=headers)
    assert whole["ETag"] == 'W/"of the view"'
    unchanged = client.get("/conditional", headers={**headers, "If-None-Match": whole["ETag"]})
    assert (unchanged.status_code, unchanged["ETag"]) == (304, 'W/"of the view"')
    assert unchanged["Vary"] == "Accept-Encoding"
    of_plain = client.get("/conditional", headers={**headers, "If-None-Match": '"of the view"'})
    assert (of_plain.status_code, of_plain["ETag"]) == (304, '"of the view"')
    assert client.get("/not-modified")["ETag"] == '"of the view"'


def test_what_an_answer_varies_on_already_stays(client: Client) -> None:
    assert client.get("/varies")["Vary"] == "Cookie, Accept-Encoding"


@pytest.mark.parametrize("coding", DECODERS)
def test_head_has_the_headers_of_get(client: Client, coding: str) -> None:
    headers = {"Accept-Encoding": coding}
    whole, head = client.get("/sync/tagged", headers=headers), client.head("/sync/tagged", headers=headers)
    assert head.headers == whole.headers
    assert head.content == b""
    assert head["Content-Length"] == str(len(whole.content))


@pytest.mark.django_db(transaction=True)
def test_kept_pages_are_compressed_once_and_not_here(
    client: Client, monkeypatch: pytest.MonkeyPatch, settings: LazySettings
) -> None:
    settings.MIDDLEWARE = [MIDDLEWARE, CONDITIONAL]
    kept_calls.clear()

    def unexpected(*args: Any, **kwargs: Any) -> bytes:
        raise AssertionError("compressed twice")

    monkeypatch.setattr(compression, "coded", unexpected)
    for _ in range(2):
        for coding in ("", *DECODERS):
            headers = {"Accept-Encoding": coding}
            page = client.get("/kept", headers=headers)
            assert page.get("Content-Encoding", "") == coding
            assert body_of(page) == LONG
            assert page["Vary"] == "Accept-Encoding"
            assert not page["ETag"].startswith("W/")
            unchanged = client.get("/kept", headers={**headers, "If-None-Match": page["ETag"]})
            assert (unchanged.status_code, unchanged["ETag"]) == (304, page["ETag"])
            assert unchanged["Vary"] == "Accept-Encoding"
    assert len(kept_calls) == 1


@pytest.mark.parametrize("place", ["around", "within"])
def test_djangos_gzip_beside_it_changes_nothing_twice(
    client: Client, settings: LazySettings, place: str
) -> None:
    theirs = "django.middleware.gzip.GZipMiddleware"
    settings.MIDDLEWARE = [theirs, MIDDLEWARE] if place == "around" else [MIDDLEWARE, theirs]
    sent = client.get("/sync/long", headers={"Accept-Encoding": "gzip"})
    assert body_of(sent) == LONG
    assert sent["Vary"] == "Accept-Encoding"


def test_a_missing_page_is_compressed_as_any_other(get: Callable[..., Any], settings: LazySettings) -> None:
    settings.DEBUG = True  # its page is a long one
    sent = get("missing", "br")
    assert sent.status_code == 404
    assert b"tests.caching.responses" in body_of(sent)
    assert sent["Content-Encoding"] == "br"


@pytest.mark.usefixtures("only_gzip")
def test_without_the_packages_it_is_gzip(get: Callable[..., Any]) -> None:
    assert get("long", "gzip, br, zstd")["Content-Encoding"] == "gzip"
    assert not get("long", "br, zstd").has_header("Content-Encoding")


@pytest.mark.parametrize("coding", DECODERS)
def test_the_length_of_an_answer_tells_not_which_guess_is_right(
    rf: Any, settings: LazySettings, coding: str
) -> None:
    def lengths(most: int, guess: str) -> list[int]:
        """Of answers with a secret, a guess of it, and something that is another each time."""
        settings.PERFKIT = {**configured(), "COMPRESS_PADDING_BYTES": most}
        found = []
        for number in range(40):
            body = f'{{"token": "q7Wz1LxV0pTn", "query": "{guess}", "n": {number}}}' + " " * 1000
            respond = compression.CompressionMiddleware(
                lambda request, body=body: HttpResponse(body, content_type="text/plain")
            )
            found.append(len(respond(rf.get("/", headers={"Accept-Encoding": coding})).content))
        return found

    right, wrong = lengths(0, "q7Wz1LxV0pTn"), lengths(0, "m3Kd8RyB5cHs")
    assert max(right) < min(wrong), "without padding each answer tells"
    right, wrong = lengths(100, "q7Wz1LxV0pTn"), lengths(100, "m3Kd8RyB5cHs")
    assert max(right) > min(wrong)
    assert min(right) < max(wrong)
    assert lengths(100, "q7Wz1LxV0pTn") == right, "asking again tells no more"
