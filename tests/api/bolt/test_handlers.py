"""A server of django-bolt answers to the byte as django-ninja does, and survives its database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from django.db import connection
from django.test import Client

from project.services.processes import free_port
from project.services.state import BASE_DIR, LOOPBACK
from tests.api.writing.test_servers import wait_until_it_answers
from tests.plugins.postgres import DisposablePostgres
from tests.testapp.loading import Book, Person, Publisher, Review

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.urls("tests.api.compiling.views"),
    pytest.mark.django_db(transaction=True),
]

MODELS = (Person, Publisher, Book, Review)
LISTS = [("books", "books/keyset"), ("async-books", "books/keyset"), ("all", "all"), ("async-all", "all")]


@pytest.fixture
def library(own_postgres: DisposablePostgres) -> Iterator[DisposablePostgres]:
    """A server with some books, where all that stands in it is the test's."""
    with connection.schema_editor() as editor:
        for model in MODELS:
            editor.create_model(model)
    publisher = Publisher.objects.create(name="Präss")
    person = Person.objects.create(name='Ed "é"', mentor=Person.objects.create(name="Me"))
    for number in range(7):
        book = Book.objects.create(title=f"Book {number}", publisher=publisher, editor=person)
        book.authors.add(person)
        Review.objects.create(book=book, critic=person, stars=number)
    yield own_postgres
    own_postgres.start()
    connection.close()
    connection.close_pool()  # it may still wait before it connects again
    with connection.schema_editor() as editor:
        for model in reversed(MODELS):
            editor.delete_model(model)


@contextmanager
def serving(folder: Path, database: str, connections: str) -> Iterator[str]:
    """Run a server of django-bolt, and give its address."""
    port = free_port()
    path = folder / "log"
    with path.open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "manage.py", "runbolt", "--no-admin", "--host", LOOPBACK, "--port", str(port)],
            cwd=BASE_DIR,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "tests.api.bolt.site_settings",
                "SITE_DATABASE": database,
                "SITE_CONNECTIONS": connections,
            },
            stdout=log,
            stderr=log,
        )
        try:
            wait_until_it_answers(f"http://{LOOPBACK}:{port}/scope", log=path)
            yield f"http://{LOOPBACK}:{port}"
        except BaseException:
            print(path.read_text(encoding="utf-8"))
            raise
        finally:
            server.kill()
            server.wait(timeout=10)


def sessions_of(application: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE application_name = %s", [application])
        return int(cursor.fetchone()[0])


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("connections", ["kept", "pool", "async pool"])
def test_it_answers_as_ninja_does_also_after_its_database_was_away(
    library: DisposablePostgres, tmp_path: Path, client: Client, connections: str
) -> None:
    expected = {theirs: client.get(f"/api/{theirs}").content for _, theirs in LISTS}
    with serving(tmp_path, library.url, connections) as site:

        def check() -> None:
            for ours, theirs in LISTS:
                answer = requests.get(f"{site}/{ours}", timeout=10)
                assert answer.status_code == 200
                assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
                assert answer.content == expected[theirs]

        with ThreadPoolExecutor(6) as threads:
            for done in [threads.submit(check) for _ in range(12)]:
                done.result()
        if connections == "kept":  # by threads that have ended
            until(lambda: sessions_of("site") == 0)
        library.kill()
        for ours, _ in LISTS:
            answer = requests.get(f"{site}/{ours}", timeout=10)
            assert answer.status_code == 503
            assert answer.json() == {"detail": "Temporarily unavailable."}
            assert int(answer.headers["Retry-After"]) >= 1
        library.start()
        for ours, _ in LISTS:
            until(lambda address=f"{site}/{ours}": requests.get(address, timeout=10).status_code == 200)
        for _ in range(3):
            check()


def test_its_pages_and_its_refusals_are_ninjas(
    library: DisposablePostgres, tmp_path: Path, client: Client
) -> None:
    with serving(tmp_path, library.url, "pool") as site:
        for ours in ("books", "async-books"):
            cursor, titles = None, []
            while True:
                query = {"page_size": 3} if cursor is None else {"page_size": 3, "cursor": cursor}
                answer = requests.get(f"{site}/{ours}", query, timeout=10)
                assert answer.content == client.get("/api/books/keyset", query).content
                titles += [item["title"] for item in answer.json()["items"]]
                cursor = answer.json()["next"]
                if cursor is None:
                    break
            assert titles == [f"Book {number}" for number in range(6, -1, -1)]

            refused = requests.get(f"{site}/{ours}", {"cursor": "none"}, timeout=10)
            assert refused.status_code == 422
            assert refused.content == client.get("/api/books/keyset?cursor=none").content
            (problem,) = requests.get(f"{site}/{ours}?page_size=101", timeout=10).json()["detail"]
            assert problem["loc"] == ["query", "page_size"]

        assert json.loads(requests.get(f"{site}/scope", timeout=10).content) is True
        assert requests.get(f"{site}/wrong", timeout=10).status_code == 500
