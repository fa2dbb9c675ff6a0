"""Views that look at one thing each, kept; what each was called for stands in `calls`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import connection, transaction
from django.http import (
    FileResponse,
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    JsonResponse,
    StreamingHttpResponse,
)
from django.middleware.csrf import get_token
from django.template import engines
from django.template.response import TemplateResponse
from django.urls import path
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.translation import get_language
from django.views import View
from django.views.decorators.cache import cache_control, never_cache
from django.views.decorators.http import condition
from django.views.decorators.vary import vary_on_cookie, vary_on_headers
from ninja import NinjaAPI, Schema
from ninja.decorators import decorate_view

from perfkit.caching import cache_response
from tests.testapp.models import Booking, Item, ItemNote

calls: list[str] = []
"""The full paths of the requests that reached a view."""

LONG = "a long text that is worth compressing, " * 60


def counted(view: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(view)
    def call(request: HttpRequest, **kwargs: Any) -> Any:
        calls.append(request.get_full_path())
        return view(request, **kwargs)

    return call


def text(value: object, **kwargs: Any) -> HttpResponse:
    return HttpResponse(str(value), content_type="text/plain", **kwargs)


kept = cache_response(ttl=600)


@kept
@counted
def item(request: HttpRequest, pk: int) -> HttpResponseBase:
    return text(Item.objects.get(pk=pk).name)


@kept
@counted
def plain_item(request: HttpRequest, pk: int) -> HttpResponseBase:
    return text(Item.plain.filter(pk=pk).values_list("name", flat=True)[0])


@counted
def untouched_rendered(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Reads nothing itself; its template does."""
    template = engines["django"].from_string("{% for item in items %}<p>{{ item.name }}</p>{% endfor %}")
    return TemplateResponse(request, template, {"items": Item.plain.filter(pk=pk)})


rendered = kept(untouched_rendered)


@kept
async def async_item(request: HttpRequest, pk: int) -> HttpResponseBase:
    calls.append(request.get_full_path())
    return text((await Item.plain.aget(pk=pk)).name)


@method_decorator(kept, name="dispatch")
class ItemView(View):
    def get(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        calls.append(request.get_full_path())
        return text(Item.objects.get(pk=pk).name)

    def post(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        Item.plain.filter(pk=pk).update(name=request.POST["name"])
        return text("written")


@kept
class DirectView(View):
    def get(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        calls.append(request.get_full_path())
        return text(Item.objects.get(pk=pk).name)


@kept
class AsyncView(View):
    async def get(self, request: HttpRequest, pk: int) -> HttpResponseBase:
        calls.append(request.get_full_path())
        return text((await Item.objects.aget(pk=pk)).name)


@kept
@counted
def booking_zone(request: HttpRequest, zone: str) -> HttpResponseBase:
    return text(sorted(Booking.objects.filter(zone=zone).values_list("name", flat=True)))


@kept
@counted
def note(request: HttpRequest) -> HttpResponseBase:
    """Of a table that nobody watches."""
    return text(ItemNote.objects.count())


@kept
@counted
def shows_query(request: HttpRequest) -> HttpResponseBase:
    return JsonResponse({"path": request.get_full_path(), "query": dict(request.GET.lists())})


@kept
@counted
def shows_site(request: HttpRequest) -> HttpResponseBase:
    return text(request.build_absolute_uri())


@kept
@counted
def long_text(request: HttpRequest) -> HttpResponseBase:
    return text(LONG)


@kept
@counted
def status(request: HttpRequest, code: int) -> HttpResponseBase:
    if code == 404:
        raise Http404
    return text("a text", status=code)


LOOKS: dict[str, Callable[[HttpRequest], object]] = {
    "cookie": lambda request: request.COOKIES.get("theme", "plain"),
    "raw cookies": lambda request: request.META.get("HTTP_COOKIE", ""),
    "cookie header": lambda request: request.headers.get("Cookie", ""),
    "all cookies": lambda request: sorted(request.COOKIES.items()),
    "session": lambda request: request.session.get("cart", "empty"),
    "session key": lambda request: request.session.session_key or "none",
    "user": lambda request: request.user.get_username(),
    "authenticated": lambda request: request.user.is_authenticated,
    "csrf": lambda request: get_token(request)[:0],
    "agent": lambda request: request.headers.get("User-Agent", "-"),
    "agent of META": lambda request: request.META.get("HTTP_USER_AGENT", "-"),
    "address": lambda request: request.META["REMOTE_ADDR"],
    "api key": lambda request: request.headers.get("X-Api-Key", "-"),
    "authorization": lambda request: request.headers.get("Authorization", "-"),
    "all headers": lambda request: len(dict(request.headers)),
    "all of META": lambda request: len(dict(request.META)),
    "language": lambda request: get_language(),
    "zone": lambda request: timezone.get_current_timezone_name(),
    "messages": lambda request: [str(message) for message in messages.get_messages(request)],
    "a new message": lambda request: messages.info(request, "something"),
    "nothing": lambda request: "nothing",
}


@kept
@counted
def looks(request: HttpRequest, at: str) -> HttpResponseBase:
    return text(LOOKS[at](request))


def looking(at: str, **options: Any) -> Any:
    @cache_response(ttl=600, **options)
    @counted
    def view(request: HttpRequest) -> HttpResponseBase:
        return text(LOOKS[at](request))

    view.__qualname__ = at
    return view


@kept
@counted
def shows_user(request: HttpRequest) -> HttpResponseBase:
    template = engines["django"].from_string("{{ user.username }}{% if messages %}{% endif %}")
    return HttpResponse(template.render({}, request))


FRAGMENTS = {
    "nothing": "a text",
    "path": "{{ request.path }}",
    "user": "{{ user.username }}",
    "agent": "{{ request.META.HTTP_USER_AGENT }}",
    "theme": "{{ request.COOKIES.theme }}",
}


@kept
@counted
def with_fragment(request: HttpRequest, what: str) -> HttpResponseBase:
    template = engines["django"].from_string(
        '{% load perfkit %}{% perfcache 600 "within" what %}' + FRAGMENTS[what] + "{% endperfcache %}"
    )
    return HttpResponse(template.render({"what": what}, request))


@cache_response(ttl=600, vary_on=["user"])
@counted
def own_page(request: HttpRequest) -> HttpResponseBase:
    return text(f"{request.user.get_username()} {request.user.first_name if request.user.pk else ''}")


@cache_response(ttl=600, vary_on=["user"])
async def own_async_page(request: HttpRequest) -> HttpResponseBase:
    calls.append(request.get_full_path())
    user = await request.auser()
    return text(f"{user.get_username()} {user.first_name}")


@cache_response(ttl=600, vary_on=["user"])
@counted
def own_long_page(request: HttpRequest) -> HttpResponseBase:
    return text(LONG)


def checks_token(request: HttpRequest) -> HttpResponseBase:
    if request.headers.get("Authorization") != "Bearer good":
        return text("no", status=401)
    return text("a secret", headers={"Cache-Control": "public, max-age=300"})


token_checked = kept(counted(checks_token))
token_checked_and_kept = cache_response(ttl=600, vary_on=["Authorization"])(counted(checks_token))


SAYS: dict[str, Callable[[HttpRequest], HttpResponseBase]] = {
    "private": cache_control(private=True)(lambda request: text("a text")),
    "no-store": cache_control(no_store=True)(lambda request: text("a text")),
    "no-cache": cache_control(no_cache=True)(lambda request: text("a text")),
    "never": never_cache(lambda request: text("a text")),
    "stale": cache_control(max_age=0)(lambda request: text("a text")),
    "public": cache_control(public=True, max_age=60)(lambda request: text("a text")),
    "vary *": lambda request: text("a text", headers={"Vary": "*"}),
    "cookie": lambda request: with_cookie(text("a text")),
    "stream": lambda request: StreamingHttpResponse(["a ", "text"]),
    "file": lambda request: FileResponse(open(__file__, "rb")),  # noqa: PTH123, SIM115  # closed with the response
    "range": lambda request: text("a t", status=206, headers={"Content-Range": "bytes 0-2/6"}),
    "no-transform": lambda request: text(LONG, headers={"Cache-Control": "no-transform"}),
    "image": lambda request: HttpResponse(b"\x00" * 5000, content_type="image/png"),
    "large": lambda request: HttpResponse(b"x" * 4_000_001),
    "modified": lambda request: text("a text", headers={"Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"}),
    "tagged": lambda request: text(LONG, headers={"ETag": '"of the view"'}),
    "vary cookie": vary_on_cookie(lambda request: text(request.COOKIES.get("theme", "plain"))),
    "vary language": vary_on_headers("Accept-Language")(
        lambda request: text(request.headers.get("Accept-Language", "-"))
    ),
    "expired": lambda request: text("a text", headers={"Expires": "Wed, 21 Oct 2015 07:28:00 GMT"}),
}


def with_cookie(response: HttpResponse) -> HttpResponse:
    response.set_cookie("seen", "yes")
    return response


@kept
@counted
def says(request: HttpRequest, what: str) -> HttpResponseBase:
    return SAYS[what](request)


@kept
@counted
def writes(request: HttpRequest, pk: int) -> HttpResponseBase:
    Item.plain.filter(pk=pk).update(count=Item.plain.get(pk=pk).count + 1)
    return text("written")


@kept
@counted
def writes_later(request: HttpRequest, pk: int) -> HttpResponseBase:
    with transaction.atomic():
        return text(Item.plain.get(pk=pk).name)


@kept
@counted
def raw(request: HttpRequest) -> HttpResponseBase:
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM testapp_item ORDER BY id")
        return text(cursor.fetchall())


@login_required
@kept
@counted
def behind_login(request: HttpRequest) -> HttpResponseBase:
    return text("for members")


@condition(etag_func=lambda request: '"from outside"')
@kept
@counted
def conditional(request: HttpRequest) -> HttpResponseBase:
    return text("a text")


@cache_response(ttl=600, tags=["item:{pk}"], key=lambda request, pk: "odd" if pk % 2 else "even")
@counted
def tagged(request: HttpRequest, pk: int) -> HttpResponseBase:
    return text("a text")


@counted
def untouched(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Kept by the middleware alone."""
    return text(Item.plain.get(pk=pk).name)


async def async_untouched(request: HttpRequest, pk: int) -> HttpResponseBase:
    calls.append(request.get_full_path())
    return text((await Item.plain.aget(pk=pk)).name)


api = NinjaAPI(urls_namespace="pages")


class ItemOut(Schema):
    id: int
    name: str


@api.get("items/{pk}", response=ItemOut)
@decorate_view(kept)
def item_out(request: HttpRequest, pk: int) -> Item:
    calls.append(request.get_full_path())
    return Item.objects.get(pk=pk)


@api.get("async-items/{pk}", response=ItemOut)
@decorate_view(kept)
async def async_item_out(request: HttpRequest, pk: int) -> Item:
    calls.append(request.get_full_path())
    return await Item.objects.aget(pk=pk)


def passed_on(view: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(view)
    def call(*args: Any, **kwargs: Any) -> Any:
        return view(*args, **kwargs)

    return call


@api.get("wrapped-items/{pk}", response=ItemOut)
@decorate_view(kept)
@decorate_view(passed_on)
def wrapped_item_out(request: HttpRequest, pk: int) -> Item:
    return item_out(request, pk)


@api.get("members", auth=lambda request: request.user.is_authenticated)
@decorate_view(kept)
def members(request: HttpRequest) -> dict[str, str]:
    calls.append(request.get_full_path())
    return {"for": "members"}


urlpatterns = [
    path("item/<int:pk>", item),
    path("plain/<int:pk>", plain_item),
    path("rendered/<int:pk>", rendered),
    path("async/<int:pk>", async_item),
    path("view/<int:pk>", ItemView.as_view()),
    path("direct/<int:pk>", DirectView.as_view()),
    path("async-view/<int:pk>", AsyncView.as_view()),
    path("zone/<str:zone>", booking_zone),
    path("note", note),
    path("query", shows_query),
    path("site", shows_site),
    path("long", long_text),
    path("status/<int:code>", status),
    path("looks/<str:at>", looks),
    path("kept-by-theme", looking("cookie", vary_on=["cookie:theme"])),
    path("kept-by-key", looking("api key", vary_on=["X-Api-Key"])),
    path("kept-by-authorization", looking("authorization", vary_on=["Authorization"])),
    path("kept-whatever-agent", looking("agent", ignores=["User-Agent"])),
    path("kept-for-a-minute", looking("nothing", max_age=60)),
    path("user", shows_user),
    path("with-fragment/<str:what>", with_fragment),
    path("own", own_page),
    path("own-async", own_async_page),
    path("own-long", own_long_page),
    path("says/<str:what>", says),
    path("checks-token", token_checked),
    path("checks-token-and-keeps", token_checked_and_kept),
    path("writes/<int:pk>", writes),
    path("in-transaction/<int:pk>", writes_later),
    path("raw", raw),
    path("behind-login", behind_login),
    path("conditional", conditional),
    path("tagged/<int:pk>", tagged),
    path("untouched/<int:pk>", untouched),
    path("untouched-rendered/<int:pk>", untouched_rendered),
    path("async-untouched/<int:pk>", async_untouched),
    path("api/", api.urls),
]
