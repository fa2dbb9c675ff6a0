from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pytest
from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection, models
from django.db.models import F, QuerySet

from perfkit.bulk import bulk_insert
from perfkit.postgres.catalogue import find_index
from project.flights.models import ActivityLog, Flight, StatusReport, Weather
from tests.flights.factories import FIRST_HOUR, make_flights, make_reference_rows
from tests.flights.many import make_many_flights

pytestmark = pytest.mark.django_db

MODELS = [model for model in apps.get_app_config("flights").get_models() if model._meta.indexes]


def indexes() -> list[tuple[type[models.Model], models.Index]]:
    return [(model, index) for model in MODELS for index in model._meta.indexes]


def test_it_names_them_for_every_database() -> None:
    names = [index.name for _, index in indexes()]
    assert len(names) == len(set(names)) == 20
    assert max(map(len, names)) <= 30


def test_it_makes_each_by_a_migration(django_db_setup: None) -> None:
    with connection.cursor() as cursor:
        there = {
            name
            for model in MODELS
            for name in connection.introspection.get_constraints(cursor, model._meta.db_table)
        }
    assert {index.name for _, index in indexes()} <= there


@pytest.mark.postgres
def test_it_leaves_none_invalid() -> None:
    assert all(
        find_index(connection, model._meta.db_table, index.name).is_valid for model, index in indexes()
    )


@pytest.mark.postgres
def test_it_has_no_index_that_another_one_begins_with() -> None:
    """An index on (a) is for nothing beside one on (a, b), a LIKE index on a key of codes too."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT a.indexrelid::regclass::text, b.indexrelid::regclass::text
            FROM pg_index a JOIN pg_index b ON a.indrelid = b.indrelid AND a.indexrelid <> b.indexrelid
            WHERE a.indrelid::regclass::text = ANY(%s) AND NOT a.indisunique
              AND a.indexprs IS NULL AND b.indexprs IS NULL AND a.indpred IS NULL AND b.indpred IS NULL
              AND b.indkey::text || ' ' LIKE a.indkey::text || ' %%'
              AND b.indclass::text || ' ' LIKE a.indclass::text || ' %%'
            """,
            [[model._meta.db_table for model in MODELS]],
        )
        assert cursor.fetchall() == []


@pytest.mark.parametrize("model", MODELS)
def test_it_covers_each_foreign_key(model: type[models.Model]) -> None:
    """Deleting what it points at looks for what points at it."""
    first_columns = {index.fields[0].lstrip("-") for index in model._meta.indexes if index.fields}
    first_columns |= {constraint.fields[0] for constraint in model._meta.constraints}
    keys = {field.name for field in model._meta.fields if field.many_to_one}
    assert keys <= first_columns


def test_it_is_all_that_the_models_say() -> None:
    call_command("makemigrations", "flights", check=True, dry_run=True, verbosity=0)


LATEST = Flight.objects.order_by("-time_hour", "-id")


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("name", "queryset"),
    [
        ("flight_time", LATEST),
        ("flight_time", LATEST.filter(time_hour__lt=FIRST_HOUR.replace(month=3))),
        ("flight_airline_time", LATEST.filter(airline="AA")),
        ("flight_origin_time", LATEST.filter(origin="LGA")),
        ("flight_dest_code_time", LATEST.filter(dest_code="LAX")),
        ("flight_plane_time", LATEST.filter(plane="N500")),
        ("flight_destination", Flight.objects.filter(destination="ABQ")),
        ("flight_number_id", Flight.objects.filter(number=1545)),
        ("flight_number_id", Flight.objects.order_by("-number", "-id")),
        ("flight_airline", Flight.objects.order_by("airline_id", "id")),
        ("flight_tailnum", Flight.objects.filter(tailnum="N500")),
        ("flight_tailnum", Flight.objects.filter(tailnum__startswith="N50")),
        ("flight_dep_delay", Flight.objects.order_by(F("dep_delay").desc(nulls_last=True), "id")),
        ("flight_cancelled", LATEST.filter(dep_time=None)),
    ],
)
def test_it_serves_what_is_listed(name: str, queryset: QuerySet[Flight]) -> None:
    make_many_flights()
    assert name in queryset[:20].explain()


@pytest.mark.postgres
def test_it_serves_the_list_of_the_weather() -> None:
    make_reference_rows()
    hours = [FIRST_HOUR + dt.timedelta(hours=number) for number in range(4_000)]
    bulk_insert(
        Weather,
        (
            {
                "origin_id": "JFK",
                "year": each.year,
                "month": each.month,
                "day": each.day,
                "hour": each.hour,
                "precip": 0.0,
                "visib": 10.0,
                "time_hour": each,
            }
            for each in hours
        ),
    )
    assert "weather_time" in Weather.objects.order_by("-time_hour", "-id")[:20].explain()


def make_many_writings() -> tuple[int, int]:
    """Make 4,000 reports and 4,000 activities of 40 people on 40 flights; return a flight and a person."""
    with connection.cursor() as cursor:
        # What other tests have rolled back still fills the pages, and would tell the planner of a larger table.
        cursor.execute("TRUNCATE flights_statusreport, flights_activitylog")
    flights = make_flights(40)
    people = get_user_model().objects.bulk_create(get_user_model()(username=f"user {n}") for n in range(40))
    bulk_insert(
        StatusReport,
        (
            {"flight": flights[n % 40], "author": people[n // 7 % 40], "kind": "delay" if n % 100 else "gate"}
            for n in range(4000)
        ),
    )
    bulk_insert(ActivityLog, ({"user": people[n % 40], "action": "look"} for n in range(4000)))
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE flights_statusreport, flights_activitylog")
    return flights[0].pk, people[0].pk


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("name", "listed"),
    [
        (
            "report_flight_created",
            lambda flight, _: StatusReport.objects.filter(flight=flight).order_by("-created_at"),
        ),
        ("report_author_kind", lambda _, person: StatusReport.objects.filter(author=person).order_by("kind")),
        ("report_kind_created", lambda *_: StatusReport.objects.filter(kind="gate").order_by("-created_at")),
        ("report_created", lambda *_: StatusReport.objects.order_by("-created_at")),
        (
            "activity_user_created",
            lambda _, person: ActivityLog.objects.filter(user=person).order_by("-created_at"),
        ),
        ("activity_created", lambda *_: ActivityLog.objects.order_by("-created_at")),
    ],
)
def test_it_serves_what_is_listed_of_what_people_write(
    name: str, listed: Callable[[int, int], QuerySet[models.Model]]
) -> None:
    queryset = listed(*make_many_writings())
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("SET LOCAL enable_sort = off")
    assert name in queryset[:20].explain()
