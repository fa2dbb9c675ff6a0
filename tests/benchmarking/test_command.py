"""`perfkit_benchmark` as people run it: on the test app, on the demo, and as a project of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from project.flights.models import Airline, Flight
from project.services.state import BASE_DIR
from tests.flights.factories import make_flights, make_reference_rows
from tests.testapp.caching import Item

QUICK = ("--rounds", "1", "--budget", "0.01")
LOAD = ("--users", "4", "--requests", "40")

SETTINGS = """
from tests.settings import *
DATABASES["default"]["NAME"] = {name!r}
ROOT_URLCONF = "tests.benchmarking.site"
"""
FILL = """
import django
django.setup()
from tests.testapp.caching import Item, ItemNote
items = Item.plain.bulk_create([Item(name=f"No. {number}") for number in range(30)])
ItemNote.objects.bulk_create([ItemNote(item=item, text="about it") for item in items])
"""
COUNT = """
import django
django.setup()
from tests.testapp.caching import Item, ItemNote
print(Item.plain.count(), ItemNote.objects.count())
"""


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("perfkit_benchmark", *arguments, stdout=out)
    return out.getvalue()


@pytest.mark.django_db(transaction=True)
@pytest.mark.urls("tests.benchmarking.site")
class TestCommand:
    @pytest.fixture(autouse=True)
    def _rows(self) -> None:
        Item.plain.bulk_create([Item(name=f"No. {number}") for number in range(30)])

    def test_it_prints_tables_and_writes_both_files(self, tmp_path: Path) -> None:
        figures, page = tmp_path / "figures.json", tmp_path / "page.html"
        said = run(
            *("--database", "--model", "testapp.Item", "--api", "--url", "/items/", *QUICK),
            *("--json", str(figures), "--html", str(page)),
        )
        assert "Database: " in said
        assert "Requests, in process" in said
        assert f"Written to {page}." in said
        told = json.loads(figures.read_text("utf-8"))
        assert [each["name"] for each in told["sections"]] == ["database", "api"]
        assert told["environment"]["database"].startswith(connection.display_name)
        assert "<svg" in page.read_text("utf-8")

    def test_it_prints_json_and_nothing_else(self) -> None:
        told = json.loads(run("--api", "--url", "/items/", *QUICK, "--json", "-"))
        assert told["sections"][0]["rows"][0]["path"] == "/items/"

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ((), "Say what to measure"),
            (("--database", "--model", "testapp.Nothing"), "There is no model"),
            (("--database", "--model", "testapp.Shelf"), "has no rows"),
            (("--api", "--url", "/nowhere/"), "404"),
            (("--api", "--user", "nobody"), "There is no user 'nobody'"),
            (("--concurrent", "--base-url", "nonsense", "--url", "/"), "no address of a server"),
            (("--concurrent", "--base-url", "http://127.0.0.1:9", "--url", "/"), "does not answer"),
            (("--concurrent", "--before-url", "http://127.0.0.1:9", "--url", "/"), "goes with --base-url"),
            (("--database", "--html", "/no/such/folder/page.html"), "no such folder"),
            (("--database", "--json", "."), "it is a folder"),
            (("--concurrent", "--users", "0"), "no number from 1"),
            (("--concurrent", "--seconds", "nan"), "no number of seconds"),
            (("--concurrent", "--seconds", "1", "--requests", "5"), "not allowed with"),
            (("--api", "--value", "7"), "no NAME=VALUE"),
        ],
    )
    def test_it_says_what_is_wrong(self, arguments: tuple[str, ...], said: str) -> None:
        with pytest.raises(CommandError, match=said):
            run(*arguments, *QUICK)

    def test_it_asks_a_server_that_runs(self, live_server: Any) -> None:
        said = run("--concurrent", "--base-url", live_server.url, "--url", "/slow/", *LOAD, "--json", "-")
        [section] = json.loads(said)["sections"]
        [row] = section["rows"]
        assert (row["way"], row["requests"], row["failures"], row["ratio"]) == ("as it runs", 40, 0, None)
        said = run(
            *("--concurrent", "--base-url", live_server.url, "--before-url", live_server.url),
            *("--url", "/slow/", *LOAD, "--json", "-"),
        )
        off, on = json.loads(said)["sections"][0]["rows"]
        assert (off["ratio"], on["ratio"]) == (None, pytest.approx(on["rate"] / off["rate"]))

    @pytest.mark.skipif(connection.vendor != "sqlite", reason="of SQLite")
    def test_it_says_that_no_server_can_read_a_database_in_memory(self) -> None:
        with pytest.raises(CommandError, match="in the memory of this process"):
            run("--concurrent", "--url", "/items/")

    @pytest.mark.postgres
    @pytest.mark.urls("project.urls")
    @pytest.mark.parametrize("server", ["gunicorn", "granian", "threads"])
    def test_it_serves_the_project_before_and_after(self, server: str) -> None:
        make_reference_rows()
        said = run("--concurrent", "--url", "/api/airlines", "--server", server, *LOAD, "--json", "-")
        [section] = json.loads(said)["sections"]
        off, on = section["rows"]
        assert (off["way"], on["way"]) == ("off", "on")
        assert (off["requests"], on["requests"], off["failures"], on["failures"]) == (40, 40, 0, 0)
        assert on["database_connections"] is not None
        assert ("Python's own server" if server == "threads" else server) in section["how"]
        assert any("none for a load" in each for each in section["warnings"]) == (server == "threads")
        assert Item.plain.count() == 30


def test_it_measures_all_of_a_project_on_sqlite(tmp_path: Path) -> None:
    """A project of its own, for a server can read the database only where it is a file."""
    (tmp_path / "own_settings.py").write_text(SETTINGS.format(name=str(tmp_path / "own.sqlite3")))
    kept = {key: value for key, value in os.environ.items() if key not in {"DATABASE_URL", "REDIS_URL"}}
    environment = {
        **kept,
        "PERFKIT_DB": "sqlite",
        "DJANGO_SETTINGS_MODULE": "own_settings",
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(BASE_DIR)]),
    }

    def ran(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, "-W", "error", *command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    ran("-m", "django", "migrate", "--run-syncdb", "--verbosity", "0")
    ran("-c", FILL)
    said = ran(
        *("-m", "django", "perfkit_benchmark", "--all", "--writes", *QUICK, *LOAD),
        *("--json", "figures.json", "--html", "page.html"),
    )
    for title in ("Database: SQLite", "Requests, in process", "4 users at once"):
        assert title in said
    sections = json.loads((tmp_path / "figures.json").read_text("utf-8"))["sections"]
    works = {row["work"] for row in sections[0]["rows"]}
    assert {"insert 30 rows", "update name of 30 rows"} <= works
    assert [row["failures"] for row in sections[2]["rows"]] == [0, 0]
    assert ran("-c", COUNT).split() == ["30", "30"]


@pytest.mark.django_db(transaction=True)
def test_it_measures_the_demo() -> None:
    make_reference_rows()
    make_flights(25)
    before = Flight.objects.count(), Airline.objects.count()
    told = json.loads(run("--database", "--api", "--writes", *QUICK, "--json", "-"))
    database, api = told["sections"]
    assert "flights.Flight" in {row["subject"] for row in database["rows"]}
    assert {"/flights/", "/api/flights", "/api/airlines"} <= {row["path"] for row in api["rows"]}
    warm = {row["path"]: (row["off_queries"], row["warm_queries"]) for row in api["rows"]}
    assert warm["/api/flights"] == (2, 0), api["notes"]
    assert (Flight.objects.count(), Airline.objects.count()) == before
