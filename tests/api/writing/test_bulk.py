from __future__ import annotations

from typing import Annotated, Any

import psycopg
import pytest
from asgiref.sync import async_to_sync
from django.db import IntegrityError, connection, models, transaction
from django.http import HttpRequest
from django.test import AsyncClient, Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import path
from ninja import Body, NinjaAPI
from ninja.errors import ValidationError
from ninja.testing import TestClient

from perfkit.api import bulk_body, bulk_create
from perfkit.api.writing import bulk
from perfkit.errors import UsageError
from project import services
from tests.api.writing.views import CityRow
from tests.testapp.bulk import City, Country, Everything

pytestmark = [pytest.mark.urls("tests.api.writing.views"), pytest.mark.django_db]


def row(number: int, **values: Any) -> dict[str, Any]:
    return {"name": f"n{number}", "country_id": "PE", "population": number, **values}


def post(client: Client, rows: Any, **headers: str) -> Any:
    return client.post("/api/many", rows, content_type="application/json", headers=headers)


def problems(response: Any) -> list[tuple[Any, ...]]:
    assert response.status_code == 422, response.content
    return [(*each["loc"], each["type"]) for each in response.json()["detail"]]


@pytest.mark.usefixtures("peru")
class TestEndpoint:
    @pytest.mark.parametrize("count", [0, 1, 100])
    def test_it_writes_all_rows_and_tells_their_ids(self, client: Client, count: int) -> None:
        response = post(client, [row(number) for number in range(count)])
        assert response.status_code == 201
        names = [City.objects.get(pk=pk).name for pk in response.json()]
        assert names == [f"n{number}" for number in range(count)]

    def test_what_ninja_refuses_is_told_by_place(self, client: Client) -> None:
        rows = [row(0), row(1, name=None), {"name": "x"}, row(3, population="many")]
        assert [each[:-1] for each in problems(post(client, rows))] == [
            ("body", 1, "name"),
            ("body", 2, "country_id"),
            ("body", 3, "population"),
        ]
        assert not City.objects.exists()

    def test_what_the_database_refuses_is_told_by_place_for_each_row(self, client: Client) -> None:
        City.objects.create(name="n5", country_id="PE")
        rows = [row(number) for number in range(20)]
        rows[3]["name"] = "x" * 21
        rows[7]["population"] = 2**40 if connection.vendor == "postgresql" else "x"
        rows[9]["name"] = "n2"
        if connection.vendor == "sqlite":
            rows[7]["name"] = "y" * 21
            rows[7]["population"] = 7
        found = problems(post(client, rows))
        assert [each[1] for each in found] == [3, 5, 7, 9]
        assert found[0] == ("body", 3, "name", "row_refused")
        assert {each[-1] for each in found} == {"row_refused"}
        assert City.objects.count() == 1

    def test_references_to_nothing_are_told_by_place_for_each_row(self, client: Client) -> None:
        rows = [row(number) for number in range(50)]
        for number in (0, 17, 49):
            rows[number]["country_id"] = "??"
        assert problems(post(client, rows)) == [
            ("body", number, "country_id", "foreign_key") for number in (0, 17, 49)
        ]
        assert not City.objects.exists()

    def test_no_value_is_told(self, client: Client) -> None:
        response = post(client, [row(0, name="secret" * 10), row(1, country_id="hidden")])
        assert b"secret" not in response.content
        assert b"hidden" not in response.content
        response = post(client, [row(0, name="secret" * 10)])
        assert b"secret" not in response.content

    def test_one_row_too_many_is_refused(self, client: Client) -> None:
        assert problems(post(client, [row(number) for number in range(101)])) == [("body", "too_long")]

    @pytest.mark.parametrize("body", ["{}", "7", "null", '"x"'])
    def test_what_is_no_list_is_refused(self, client: Client, body: str) -> None:
        assert problems(post(client, body))[0][0] == "body"

    def test_a_body_that_is_too_large_is_not_read(self, client: Client) -> None:
        response = post(client, [row(0, name="x" * 20_000)])
        assert response.status_code == 413
        assert response.json() == {"detail": "The body is larger than 20000 bytes."}

    def test_djangos_own_limit_is_a_413_too(self, client: Client, settings: Any) -> None:
        settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
        assert post(client, [row(number) for number in range(3)]).status_code == 413

    def test_a_body_that_does_not_say_its_length_is_refused(self, client: Client) -> None:
        response = client.generic(
            "POST",
            "/api/many",
            b"",
            content_type="application/json",
            headers={"Transfer-Encoding": "chunked"},
        )
        assert response.status_code == 411

    def test_the_same_request_under_a_key_writes_once(self, client: Client) -> None:
        rows = [row(number) for number in range(3)]
        answers = [post(client, rows, **{"Idempotency-Key": "k"}) for _ in range(3)]
        assert len({answer.content for answer in answers}) == 1
        assert City.objects.count() == 3

    @pytest.mark.postgres
    def test_it_takes_the_same_queries_for_1_and_50_rows(self, client: Client) -> None:
        counts = []
        for first, count in ((0, 1), (100, 50)):
            with CaptureQueriesContext(connection) as captured:
                assert post(client, [row(first + number) for number in range(count)]).status_code == 201
            counts.append(len(captured))
        assert counts[0] == counts[1]


class TestBulkCreate:
    def refused(self, model: type[models.Model], rows: list[Any], **options: Any) -> list[Any]:
        with pytest.raises(ValidationError) as caught:
            bulk_create(model, rows, **options)
        return [each["loc"] for each in caught.value.errors]

    @pytest.mark.usefixtures("peru")
    def test_rows_may_be_schemas_dicts_or_instances(self) -> None:
        rows = [
            CityRow(name="a", country_id="PE"),
            {"name": "b", "country": Country.objects.get()},
            City(name="c", country_id="PE"),
        ]
        assert bulk_create(City, rows).rows == 3

    @pytest.mark.usefixtures("peru")
    def test_a_key_is_named_as_the_row_names_it(self) -> None:
        assert self.refused(City, [{"name": "a", "country": "XX"}], loc=("body", "cities")) == [
            ["body", "cities", 0, "country"]
        ]
        assert self.refused(City, [City(name="a", country_id="XX")]) == [["body", 0, "country_id"]]

    @pytest.mark.parametrize("key", ["\0", "\ud800", "XX"])
    def test_a_key_that_the_database_cannot_hold_refers_to_nothing(self, key: str) -> None:
        assert self.refused(City, [{"name": "a", "country_id": key}]) == [["body", 0, "country_id"]]

    def test_null_refers_to_nothing_and_is_allowed_where_the_column_is(self) -> None:
        assert bulk_create(Everything, [{"country": None}, {"country_id": None}, {}]).rows == 3

    @pytest.mark.django_db(transaction=True)
    def test_a_constraint_that_is_deferred_stays_so_after_it(self) -> None:
        Country.objects.create(code="PE")
        with pytest.raises(IntegrityError), transaction.atomic():
            bulk_create(City, [row(0)])
            City.objects.create(name="x", country_id="??")
            passed = True
        assert passed, "the key is checked at COMMIT, as Django has it"
        assert not City.objects.exists()

    @pytest.mark.postgres
    def test_another_constraint_that_is_checked_at_once_stays_so(self) -> None:
        Country.objects.create(code="PE", name="Peru")
        with connection.cursor() as cursor:
            cursor.execute(
                "ALTER TABLE testapp_country ADD CONSTRAINT once UNIQUE (name) DEFERRABLE INITIALLY IMMEDIATE"
            )
        bulk_create(City, [row(0)])
        with pytest.raises(IntegrityError), transaction.atomic():
            Country.objects.create(code="XX", name="Peru")

    @pytest.mark.postgres
    def test_what_else_waits_for_commit_in_the_transaction_goes_on_waiting(self) -> None:
        Country.objects.create(code="PE")
        Everything.objects.create(country_id="??")
        bulk_create(City, [row(0)])
        Everything.objects.all().delete()

    @pytest.mark.django_db(transaction=True)
    def test_nothing_of_it_stays_in_a_transaction_of_the_caller(self) -> None:
        Country.objects.create(code="PE")
        with transaction.atomic():
            assert self.refused(City, [row(0), row(1, name="x" * 21), row(2)]) == [["body", 1, "name"]]
            bulk_create(City, [row(5)])
        assert [each.name for each in City.objects.all()] == ["n5"]

    @pytest.mark.postgres
    @pytest.mark.django_db(transaction=True)
    def test_a_row_that_goes_between_look_and_write_is_told_by_place(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Country.objects.create(code="PE")
        Country.objects.create(code="AR")
        look = bulk.missing_references

        def look_and_lose(*args: Any, **options: Any) -> Any:
            found = look(*args, **options)
            with psycopg.connect(services.database_url(), dbname=connection.settings_dict["NAME"]) as other:
                other.execute("DELETE FROM testapp_country WHERE code = 'AR'")
            return found

        monkeypatch.setattr(bulk, "missing_references", look_and_lose)
        rows = [row(0), row(1, country_id="AR"), row(2), row(3, country_id="AR")]
        assert self.refused(City, rows) == [["body", 1, "country_id"], ["body", 3, "country_id"]]
        assert not City.objects.exists()


@pytest.mark.parametrize("count", [0, 2])
def test_one_parameter_is_the_body(count: int) -> None:
    api = NinjaAPI(urls_namespace=f"tests-body-{count}")
    if count:

        def view(request: HttpRequest, a: list[CityRow], b: list[CityRow]) -> None: ...

    else:

        def view(request: HttpRequest) -> None: ...  # type: ignore[misc]

    with pytest.raises(UsageError, match="one parameter alone"):
        api.post("x")(bulk_body(max_bytes=10)(view))


def test_a_body_may_be_described() -> None:
    api = NinjaAPI(urls_namespace="tests-body-described")

    @api.post("x")
    @bulk_body(max_bytes=1000)
    def view(request: HttpRequest, rows: Annotated[list[CityRow], Body(description="Cities.")]) -> int:
        return len(rows)

    assert TestClient(api).post("x", json=[row(0), row(1)]).json() == 2


def test_a_body_that_is_too_long_is_refused_by_a_coroutine_too() -> None:
    api = NinjaAPI(urls_namespace="tests-body-coroutine")

    @api.post("x")
    @bulk_body(max_bytes=1000)
    async def view(request: HttpRequest, rows: list[CityRow]) -> int:
        return len(rows)

    async def ask(count: int) -> Any:
        body = [row(number) for number in range(count)]
        return await AsyncClient().post("/x", body, content_type="application/json")

    with override_settings(ROOT_URLCONF=(path("", api.urls),)):
        fits, is_too_long = async_to_sync(ask)(2), async_to_sync(ask)(200)
    assert (fits.status_code, fits.json()) == (200, 2)
    assert is_too_long.status_code == 413
