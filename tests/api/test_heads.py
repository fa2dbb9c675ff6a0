"""HeadMiddleware: HEAD for django-ninja's GET operations, with the headers of GET."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.conf import LazySettings
from django.contrib.auth.models import Group
from django.core.handlers.base import BaseHandler
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.test import AsyncRequestFactory, Client, RequestFactory
from django.urls import path
from django.views.decorators.http import require_GET
from ninja import NinjaAPI, Schema
from ninja.decorators import decorate_view
from ninja.pagination import paginate as paginated
from ninja.responses import Status

from perfkit.api import KeysetPagination, PagePagination, link_headers
from perfkit.caching import cache_response
from perfkit.conf import configured

pytestmark = pytest.mark.django_db(transaction=True)

HEADS = "perfkit.api.HeadMiddleware"
COMPRESSION = "perfkit.caching.responses.compression.CompressionMiddleware"
CONDITIONAL = "django.middleware.http.ConditionalGetMiddleware"
COMMON = "django.middleware.common.CommonMiddleware"

api = NinjaAPI(urls_namespace="tests-heads")
seen: list[str | None] = []
closed: list[str] = []


class GroupOut(Schema):
    id: int
    name: str


@api.get("page", response=list[GroupOut])
@paginated(PagePagination)
def page(request: HttpRequest) -> Any:
    seen.append(request.method)
    return Group.objects.order_by("name")


@api.get("async-page", response=list[GroupOut])
@paginated(PagePagination)
async def async_page(request: HttpRequest) -> Any:
    seen.append(request.method)
    return Group.objects.order_by("name")


@api.get("keyset", response=list[GroupOut])
@decorate_view(link_headers)
@paginated(KeysetPagination)
def keyset_page(request: HttpRequest) -> Any:
    return Group.objects.order_by("name")


@api.get("kept", response=list[GroupOut])
@decorate_view(cache_response(ttl=600, ignores=["REMOTE_ADDR"]))
def kept(request: HttpRequest) -> Any:
    seen.append(request.method)
    return list(Group.objects.order_by("name"))


@api.get("member", auth=lambda request: None)
def member(request: HttpRequest) -> dict[str, str]:
    return {"for": "members"}


@api.get("number")
def number(request: HttpRequest, of: int) -> dict[str, int]:
    return {"of": of}


@api.get("nothing", response={204: None})
def nothing(request: HttpRequest) -> Any:
    return Status(204, None)


@api.get("file")
def file(request: HttpRequest) -> HttpResponseBase:
    return FileResponse(io.BytesIO(b"x" * 500), content_type="text/plain")


@api.get("stream")
def stream(request: HttpRequest) -> HttpResponseBase:
    def chunks() -> Iterator[bytes]:
        closed.append("begun")
        yield b"a"

    response = StreamingHttpResponse(chunks(), content_type="text/event-stream")
    response._resource_closers.append(lambda: closed.append("resource"))
    return response


@api.get("async-stream")
async def async_stream(request: HttpRequest) -> HttpResponseBase:
    async def chunks() -> AsyncIterator[bytes]:
        closed.append("begun")
        yield b"a"

    await asyncio.sleep(0)
    response = StreamingHttpResponse(chunks(), content_type="text/event-stream")
    response._resource_closers.append(lambda: closed.append("resource"))
    return response


@api.post("both")
def create_both(request: HttpRequest) -> dict[str, str | None]:
    return {"method": request.method}


@api.get("both")
def both(request: HttpRequest) -> dict[str, str | None]:
    return {"method": request.method}


@api.post("written")
def written(request: HttpRequest) -> dict[str, str]:
    return {}


@api.api_operation(["GET", "HEAD"], "own")
def own(request: HttpRequest) -> HttpResponse:
    return HttpResponse(b"of " + (request.method or "").encode(), headers={"X-Method": request.method})


@require_GET
def plain_view(request: HttpRequest) -> HttpResponse:
    return HttpResponse(b"plain")


def own_view(request: HttpRequest) -> HttpResponse:
    return HttpResponse(headers={"X-Method": request.method or ""})


urlpatterns = [path("api/", api.urls), path("plain", plain_view), path("own", own_view)]


@pytest.fixture(autouse=True)
def _site(settings: LazySettings) -> None:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = [HEADS]
    settings.ALLOWED_HOSTS = ["testserver"]
    settings.PERFKIT = {**configured(), "CACHE_MODELS": ["auth.Group"]}
    seen.clear()
    closed.clear()


@pytest.fixture
def groups(db: None) -> list[Group]:
    return Group.objects.bulk_create([Group(name=f"group {number:03}") for number in range(100)])


class Asks:
    """Asks Django's handler itself, sync or async, for its test client takes the body of HEAD away."""

    def __init__(self, kind: str) -> None:
        self.is_async = kind == "async"
        self.factory: Any = AsyncRequestFactory() if self.is_async else RequestFactory()

    def __call__(self, method: str, address: str, **headers: str) -> Any:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        self.request = getattr(self.factory, method)(address, headers=sent)
        handler = BaseHandler()
        handler.load_middleware(is_async=self.is_async)
        if self.is_async:
            return async_to_sync(handler.get_response_async)(self.request)
        return handler.get_response(self.request)


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Asks:
    return Asks(request.param)


ADDRESSES = ["page?page_size=50", "async-page?page_size=50", "keyset", "kept", "number?of=1"]


@pytest.mark.parametrize("address", ADDRESSES)
def test_it_answers_with_the_headers_of_get_and_no_body(
    ask: Asks, groups: list[Group], address: str, settings: LazySettings
) -> None:
    settings.MIDDLEWARE = [HEADS, COMMON]
    head, whole = ask("head", f"/api/{address}"), ask("get", f"/api/{address}")
    assert (head.status_code, whole.status_code) == (200, 200)
    assert head.content == b""
    assert head["Content-Length"] == str(len(whole.content))
    assert {**head.headers, "Age": ""} == {**whole.headers, "Age": ""}
    assert set(seen) <= {"GET"}


@pytest.mark.parametrize("coding", ["", "gzip", "br", "zstd"])
@pytest.mark.parametrize("address", ["page?page_size=50", "async-page?page_size=50", "kept"])
def test_coding_tag_vary_and_304_are_those_of_get(
    ask: Asks, groups: list[Group], settings: LazySettings, address: str, coding: str
) -> None:
    settings.MIDDLEWARE = [HEADS, COMPRESSION, CONDITIONAL, COMMON]
    accepts = {"accept_encoding": coding} if coding else {}
    whole, head = ask("get", f"/api/{address}", **accepts), ask("head", f"/api/{address}", **accepts)
    assert whole.get("Content-Encoding", "") == coding
    assert {**head.headers, "Age": ""} == {**whole.headers, "Age": ""}
    assert head["Content-Length"] == str(len(whole.content))
    assert head.content == b""
    found = [ask(how, f"/api/{address}", **accepts, if_none_match=whole["ETag"]) for how in ("get", "head")]
    for unchanged in found:
        assert unchanged.status_code == 304
        assert (unchanged["ETag"], unchanged["Vary"]) == (whole["ETag"], whole["Vary"])
        assert unchanged.get("Content-Length") in {None, "0"}


def test_a_page_that_head_has_asked_for_is_kept_for_get(ask: Asks, groups: list[Group]) -> None:
    ask("head", "/api/kept")
    assert len(json.loads(ask("get", "/api/kept").content)) == 100
    ask("head", "/api/kept")
    assert seen == ["GET"]
    Group.objects.create(name="another")
    ask("head", "/api/kept")
    assert seen == ["GET", "GET"]


def test_refusals_are_those_of_get(ask: Asks) -> None:
    for address, status in (("member", 401), ("number?of=x", 422)):
        head, whole = ask("head", f"/api/{address}"), ask("get", f"/api/{address}")
        assert head.status_code == whole.status_code == status
        assert head.content == b""


def test_an_answer_without_content_has_no_length(ask: Asks) -> None:
    head = ask("head", "/api/nothing")
    assert (head.status_code, head.has_header("Content-Length")) == (204, False)


def test_a_file_has_its_length(ask: Asks) -> None:
    head = ask("head", "/api/file")
    assert head["Content-Length"] == "500"
    assert chunks_of(head) == []
    head.close()


@pytest.mark.parametrize("name", ["stream", "async-stream"])
def test_a_stream_is_not_begun_and_what_it_holds_is_closed(ask: Asks, name: str) -> None:
    head = ask("head", f"/api/{name}")
    assert head["Content-Type"] == "text/event-stream"
    assert head.is_async == (name == "async-stream"), "a server reads it as it would have read the stream"
    assert chunks_of(head) == []
    assert closed == []
    head.close()
    assert closed == ["resource"]


def chunks_of(response: Any) -> list[bytes]:
    async def read() -> list[bytes]:
        return [chunk async for chunk in response]

    return async_to_sync(read)() if response.is_async else list(response)


def test_other_methods_are_as_they_were(ask: Asks) -> None:
    assert json.loads(ask("post", "/api/both").content) == {"method": "POST"}
    assert json.loads(ask("get", "/api/both").content) == {"method": "GET"}
    assert ask("head", "/api/both").status_code == 200
    assert ask("head", "/api/written").status_code == 405
    assert ask("head", "/api/written")["Allow"] == "POST"


def test_what_is_allowed_names_head(ask: Asks) -> None:
    refused = ask("put", "/api/both")
    assert refused.status_code == 405
    assert set(refused["Allow"].split(", ")) == {"GET", "POST", "HEAD"}


def test_operations_and_views_that_know_head_are_left_alone(ask: Asks) -> None:
    assert ask("head", "/api/own")["X-Method"] == "HEAD"
    assert ask("head", "/own")["X-Method"] == "HEAD"
    assert ask("head", "/plain").status_code == 405


def test_the_request_has_its_method_back(ask: Asks) -> None:
    ask("head", "/api/both")
    assert ask.request.method == "HEAD"


def test_openapi_says_nothing_of_it() -> None:
    paths = json.loads(Client().get("/api/openapi.json").content)["paths"]
    assert {"get", "post"} == set(paths["/api/both"])
    assert set(paths["/api/page"]) == {"get"}


def test_without_it_ninja_refuses(ask: Asks, settings: LazySettings) -> None:
    settings.MIDDLEWARE = []
    assert ask("head", "/api/both").status_code == 405
