"""An API of views as a project would write them, for the tests of the room."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from django.contrib.auth.models import Group, Permission
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.urls import path
from ninja import NinjaAPI, Query, Schema
from ninja.decorators import decorate_view
from ninja.pagination import paginate as paginated
from ninja.security import APIKeyHeader

from perfkit.api import (
    KeysetPagination,
    PagePagination,
    Sorting,
    add_error_handlers,
    default_throttles,
    link_headers,
    paginate,
    strict_query,
)
from perfkit.errors import PageError, TaskStatusUnavailableError

api = NinjaAPI(urls_namespace="tests-api")
add_error_handlers(api)


class GroupOut(Schema):
    id: int
    name: str


class GroupSorting(Sorting):
    sort_by: Literal["name", "members"] = "name"
    paths: ClassVar = {"members": "member_count"}


class Key(APIKeyHeader):
    param_name = "X-Key"

    def authenticate(self, request: HttpRequest, key: str | None) -> str | None:
        return key


@api.get("groups", response=list[GroupOut])
@strict_query
@paginated(PagePagination)
def groups(request: HttpRequest, name: str = "") -> QuerySet[Group]:
    return Group.objects.filter(name__startswith=name)


@api.get("async-groups", response=list[GroupOut])
@strict_query
@paginated(PagePagination)
async def async_groups(request: HttpRequest, name: str = "") -> QuerySet[Group]:
    return Group.objects.filter(name__startswith=name)


@api.get("capped-groups", response=list[GroupOut])
@paginated(PagePagination, count="capped")
def capped_groups(request: HttpRequest) -> QuerySet[Group]:
    return Group.objects.order_by("name")


@api.get("async-capped-groups", response=list[GroupOut])
@paginated(PagePagination, count="capped")
async def async_capped_groups(request: HttpRequest) -> QuerySet[Group]:
    return Group.objects.order_by("name")


@api.get("keyset-groups", response=list[GroupOut])
@decorate_view(link_headers)
@strict_query
@paginated(KeysetPagination)
def keyset_groups(request: HttpRequest, name: str = "", order: str = "name") -> QuerySet[Group]:
    return Group.objects.filter(name__startswith=name).order_by(order)


@api.get("async-keyset-groups", response=list[GroupOut])
@decorate_view(link_headers)
@strict_query
@paginated(KeysetPagination)
async def async_keyset_groups(request: HttpRequest, name: str = "", order: str = "name") -> QuerySet[Group]:
    return Group.objects.filter(name__startswith=name).order_by(order)


@api.get("sorted-groups", response=list[GroupOut])
@strict_query
@paginated(PagePagination)
def sorted_groups(request: HttpRequest, sorting: Query[GroupSorting]) -> QuerySet[Group]:
    return sorting.apply(Group.objects.annotate(member_count=Count("user")))


@api.get("numbers", response=list[int])
@strict_query
@paginated(PagePagination)
def numbers(request: HttpRequest) -> list[int]:
    return list(range(1, 46))


@api.get("nothing", response=str)
@strict_query
def nothing(request: HttpRequest) -> str:
    return "nothing"


@api.get("by-hand", response=list[str])
def by_hand(request: HttpRequest, page: int) -> list[str]:
    return paginate(Permission.objects.values_list("codename", flat=True), page).items


@api.get("unavailable")
def unavailable(request: HttpRequest) -> Any:
    raise TaskStatusUnavailableError("4", "the secret address does not answer")


@api.get("page-error")
def page_error(request: HttpRequest) -> Any:
    raise PageError("page", 0, "is not between 1 and 2.")


@api.get("limited", throttle=default_throttles())
def limited(request: HttpRequest) -> str:
    return "allowed"


@api.get("limited-async", throttle=default_throttles())
async def limited_async(request: HttpRequest) -> str:
    return "allowed"


@api.get("limited-by-key", auth=Key(), throttle=default_throttles())
def limited_by_key(request: HttpRequest) -> str:
    return "allowed"


urlpatterns = [path("api/", api.urls)]
