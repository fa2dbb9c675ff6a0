from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg.pq import Format

from perfkit.hydration.moment_loader import MOMENT_OID
from perfkit.hydration.moments import load_moments_fast
from perfkit.loading import FastQuerySet
from tests.hydration.comparison import portrait
from tests.testapp.bulk import Everything

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="PostgreSQL's"),
]

ODD = ["infinity", "-infinity", "0044-03-15 12:00:00+00 BC", "10000-01-01 00:00:00+00", "19-01-2013 00:00:00+00",
       "9999-12-31 23:59:59.999999+00", "0001-01-01 00:00:00+00", "9999-12-31 23:59:59-05", "", "now"]  # fmt: skip


@pytest.fixture(params=["UTC", "Europe/Rome", "America/New_York", "Asia/Kathmandu", "Africa/Monrovia"])
def zone(request: pytest.FixtureRequest) -> Iterator[str]:
    """The time zone of the connection, as a project names it for a database."""
    before = connection.settings_dict["TIME_ZONE"]
    reset(request.param)
    yield request.param
    reset(before)


def reset(zone: str | None) -> None:
    connection.close()
    connection.settings_dict["TIME_ZONE"] = zone
    for name in ("timezone", "timezone_name"):
        vars(connection).pop(name, None)
    connection.ensure_connection()


def loader() -> Any:
    """Return how the connection loads moments now."""
    return connection.connection.adapters.get_loader(MOMENT_OID, Format.TEXT)


def loaded(loader: Any, text: str) -> Any:
    """Return all that can be seen of what a loader makes of a text, or how it fails."""
    try:
        moment = loader(MOMENT_OID, connection.connection).load(text.encode())
    except Exception as error:  # noqa: BLE001  # whatever it is
        return type(error), str(error)
    return repr(moment), moment.fold, moment.utcoffset()


def both() -> tuple[Any, Any]:
    """Return Django's loader and the fast one."""
    djangos = loader()
    load_moments_fast(connection)
    assert loader() is not djangos
    return djangos, loader()


@pytest.mark.parametrize("text", ODD)
def test_it_makes_of_odd_texts_what_django_makes(zone: str, text: str) -> None:
    djangos, fast = both()

    assert loaded(fast, text) == loaded(djangos, text)


def test_it_makes_of_any_moment_what_django_makes(zone: str) -> None:
    djangos, fast = both()

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(seconds=st.integers(-62_135_300_000, 253_402_100_000), micros=st.integers(0, 999_999))
    @example(seconds=1_382_833_800, micros=0)  # twice on a clock in Rome
    @example(seconds=1_382_837_400, micros=0)
    @example(seconds=-2_208_988_800, micros=1)
    def compare(seconds: int, micros: int) -> None:
        with connection.cursor() as cursor:
            moment = "(to_timestamp(%s) + %s * interval '1 microsecond')::text"
            cursor.execute(f"SELECT {moment}", [seconds, micros])
            (text,) = cursor.fetchone()
        assert loaded(fast, text) == loaded(djangos, text)

    compare()


@pytest.mark.parametrize("style", ["SQL, DMY", "German", "Postgres"])
def test_it_fails_as_django_does_in_another_style(style: str) -> None:
    connection.close()
    connection.ensure_connection()
    djangos, fast = both()
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('datestyle', %s, false)", [style])
        cursor.execute("SELECT '2013-10-27 00:30:00+00'::timestamptz::text")
        (text,) = cursor.fetchone()

    assert loaded(fast, text) == loaded(djangos, text)
    connection.close()


def test_it_holds_for_rows_of_a_connection_until_it_is_closed(zone: str) -> None:
    moment = datetime.datetime(2013, 10, 27, 0, 30, tzinfo=datetime.UTC)
    Everything.objects.create(moment=moment)
    expected = portrait(list(Everything.objects.all()))
    djangos = loader()

    assert portrait(list(FastQuerySet(Everything))) == expected
    fast = loader()
    assert fast is not djangos
    assert fast.timezone is djangos.timezone
    assert portrait(list(FastQuerySet(Everything))) == portrait(list(Everything.objects.all())) == expected
    assert loader() is fast
    connection.close()
    connection.ensure_connection()
    assert loader() is djangos


def test_it_leaves_a_loader_of_the_projects_own() -> None:
    connection.close()
    connection.ensure_connection()

    class Own(loader()):  # type: ignore[misc]  # a class made when it runs
        """A project's."""

    connection.connection.adapters.register_loader("timestamptz", Own)
    load_moments_fast(connection)

    assert loader() is Own
    connection.close()


def test_it_opens_a_closed_connection() -> None:
    connection.close()
    load_moments_fast(connection)

    assert connection.connection is not None
