"""An API that writes, as a project would have it, for the tests of this folder; `caller` serves it too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from django.db import transaction
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path
from ninja import Body, Field, File, Form, NinjaAPI, Router, Schema, Status, UploadedFile
from ninja.errors import HttpError
from ninja.security import APIKeyHeader

from perfkit.api import after_response, bulk_body, bulk_create, idempotent, strict_query
from tests.testapp.bulk import City, Country

calls: list[str] = []
"""The views that were run."""

done: list[Any] = []
"""Work that was done after an answer."""

stops: dict[str, Callable[[], None]] = {}
"""By point of a view: what a process does there; see `caller`."""

api = NinjaAPI(urls_namespace="tests-writing")
router = Router()


class CityIn(Schema):
    name: Annotated[str, Field(max_length=100)]
    country: str = "PE"
    population: int = 0


class CityOut(Schema):
    id: int
    name: str


class CityRow(Schema):
    name: str
    country_id: str
    population: int = 0


class Key(APIKeyHeader):
    param_name = "X-Key"

    def authenticate(self, request: HttpRequest, key: str | None) -> str | None:
        return key


def work(note: str) -> None:
    done.append(note)


async def work_async(note: str) -> None:
    done.append(await Country.objects.acount())
    done.append(note)


def stop(point: str) -> None:
    stops.get(point, lambda: None)()


def created(city: CityIn) -> City:
    calls.append(city.name)
    stop("before the write")
    made = City.objects.create(name=city.name, country_id=city.country, population=city.population)
    stop("before COMMIT")
    transaction.on_commit(lambda: stop("after COMMIT"))
    return made


@router.post("cities", response={201: CityOut})
@idempotent
def create_city(request: HttpRequest, response: HttpResponse, city: CityIn) -> Status[City]:
    response["X-Made"] = city.name
    response.set_cookie("seen", "1")
    return Status(201, created(city))


@router.post("countries/{code}/cities", response={201: CityOut}, auth=Key())
@strict_query
@idempotent
def create_city_of(request: HttpRequest, code: str, city: CityIn, note: str = "") -> Status[City]:
    return Status(201, created(city))


@api.post("required", response={201: CityOut})
@idempotent(required=True)
def create_with_key(request: HttpRequest, city: CityIn) -> Status[City]:
    return Status(201, created(city))


@api.post("scoped", response={201: CityOut})
@idempotent(scope=lambda request: request.headers.get("X-Tenant", ""))
def create_for_tenant(request: HttpRequest, city: CityIn) -> Status[City]:
    return Status(201, created(city))


@api.post("plain-response")
@idempotent
def create_plainly(request: HttpRequest, city: CityIn) -> HttpResponse:
    return HttpResponse(f"made {created(city).name}", status=202, content_type="text/plain")


@api.post("failing/{status}", response={201: CityOut, 409: str, 503: str})
@idempotent
def create_and_fail(request: HttpRequest, status: int, city: CityIn, raises: bool = False) -> Any:
    created(city)
    if raises:
        raise HttpError(status, "no")
    return Status(status, "no")


@api.post("unserializable", response=CityOut)
@idempotent
def create_unserializably(request: HttpRequest, city: CityIn) -> Any:
    return {"id": created(city).pk, "name": None}


@api.post("empty", response={204: None})
@idempotent
def create_silently(request: HttpRequest, city: CityIn) -> Status[None]:
    created(city)
    return Status(204, None)


@api.post("streaming")
@idempotent
def stream_city(request: HttpRequest, city: CityIn) -> StreamingHttpResponse:
    return StreamingHttpResponse([created(city).name.encode()])


@api.post("upload", response=int)
@idempotent
def upload(request: HttpRequest, note: Form[str], file: File[UploadedFile]) -> int:
    calls.append(note)
    return len(file.read())


@api.post("many", response={201: list[int]})
@bulk_body(max_bytes=20_000)
@idempotent
def create_many(
    request: HttpRequest, cities: Annotated[list[CityRow], Body(max_length=100)]
) -> Status[list[int]]:
    result = bulk_create(City, cities, return_ids=True)
    return Status(201, result.ids or [])


@api.post("after", response={200: str, 400: str, 500: str})
def work_after(request: HttpRequest, note: str, status: int = 200, rolls_back: bool = False) -> Any:
    with transaction.atomic():
        after_response(work, note)
        transaction.set_rollback(rolls_back)
    calls.append(note)
    assert note not in done, "the answer is not sent yet"
    return Status(status, note)


@api.post("after-exception")
def work_after_exception(request: HttpRequest, note: str) -> Any:
    after_response(done.append, note)
    raise ValueError(note)


@api.post("after-async", response={200: str, 400: str})
async def work_after_async(request: HttpRequest, note: str, status: int = 200) -> Any:
    after_response(work_async, note)
    return Status(status, note)


api.add_router("", router)
other_api = NinjaAPI(urls_namespace="tests-writing-again")
other_api.add_router("", router)

urlpatterns = [path("api/", api.urls), path("other/", other_api.urls)]
