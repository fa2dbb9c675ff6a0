"""The comment at the end of statements: its form, where it stands, and whom it must not disturb."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

import pytest
from asgiref.sync import async_to_sync
from django.conf import LazySettings
from django.contrib.auth.models import Group
from django.db import DatabaseError, connection, connections, transaction
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from perfkit.monitoring.statements import install as watch_statements
from perfkit.postgres.prepared import prepared_rows
from perfkit.tracing import use_request_id
from perfkit.tracing.sql_comments import FRAMEWORK, comment_of, commented, with_comment
from perfkit.watching import is_perfkits
from project.flights.models import Airline

COMMENT = re.compile(r"/\*(?:[a-z_]+='[^'*/]*')(?:,[a-z_]+='[^'*/]*')*\*/")
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@given(st.dictionaries(st.sampled_from(["a", "b", "route"]), st.text(max_size=300)))
def test_nothing_in_a_value_leaves_its_comment(facts: dict[str, str]) -> None:
    comment = comment_of(facts)
    if not any(facts.values()):
        assert comment == ""
        return
    assert COMMENT.fullmatch(comment)
    pairs = [pair.split("=") for pair in comment[2:-2].split(",")]
    assert [key for key, _ in pairs] == sorted(key for key, value in facts.items() if value)
    for key, value in pairs:
        assert unquote(value[1:-1]) == facts[key][:256]


def test_a_value_that_cannot_be_encoded_fails_no_statement() -> None:
    assert comment_of({"a": "x\ud800"}) == "/*a='x%3F'*/"


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT 1", "SELECT 1 /*a='b'*/"),
        ("SELECT 1;", "SELECT 1 /*a='b'*/;"),
        ("SELECT 1 ; \n", "SELECT 1 /*a='b'*/;"),
        ("SELECT 1 /* theirs */", "SELECT 1 /* theirs */"),
        ("SELECT 1 -- theirs", "SELECT 1 -- theirs"),
        ("SELECT '--'", "SELECT '--'"),
        (b"SELECT 1;", b"SELECT 1 /*a='b'*/;"),
        (b"SELECT 1 -- theirs", b"SELECT 1 -- theirs"),
    ],
)
def test_it_stands_at_the_end_unless_there_is_one(sql: Any, expected: Any) -> None:
    assert with_comment(sql, "/*a='b'*/") == expected


@pytest.fixture
def commenting(settings: LazySettings, transactional_db: None) -> Iterator[list[Any]]:
    """With comments on, what is sent: each text as the driver gets it."""
    settings.PERFKIT = {**settings.PERFKIT, "SQL_COMMENTS": True, "CACHE_TIMEOUT": 5.0}
    sent: list[Any] = []

    def note(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        try:
            return execute(sql, params, many, context)
        finally:
            query = getattr(context["cursor"].cursor, "_query", None)
            sent.append(sql.replace("%%", "%") if query is None else query.query.decode())

    connection.ensure_connection()
    with connection.execute_wrapper(note):
        yield sent


def test_none_is_added_unless_it_is_wanted(commenting: list[Any], settings: LazySettings) -> None:
    settings.PERFKIT = {**settings.PERFKIT, "SQL_COMMENTS": False}
    with use_request_id("known"):
        Group.objects.count()
    assert "/*" not in commenting[0]


def test_none_is_added_where_nobody_knows_whence_a_statement_comes(commenting: list[Any]) -> None:
    Group.objects.count()
    assert "/*" not in commenting[0]


def test_it_says_the_request_the_view_and_the_route(commenting: list[Any], settings: LazySettings) -> None:
    settings.ROOT_URLCONF = "tests.tracing.pages"
    settings.MIDDLEWARE = ["perfkit.tracing.request_id_middleware"]
    headers = {"X-Request-ID": "mine", "traceparent": TRACEPARENT}
    assert Client().get("/queried/7/", headers=headers).content == b"7"
    version = FRAMEWORK.removeprefix("django:")
    expected = (
        f" /*controller='it%27s%20queried',framework='django%3A{version}',request_id='mine',"
        f"route='queried%2F%3Cint%3Anumber%3E%2F',traceparent='{TRACEPARENT}'*/"
    )
    value = "7" if connection.vendor == "postgresql" else "%s"
    assert commenting == [f"SELECT {value}{expected}"]


@pytest.mark.postgres
def test_the_server_gets_it_with_single_percent_signs(commenting: list[Any]) -> None:
    shown = "SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid()"
    with use_request_id("known"), connection.cursor() as cursor:
        for sql, params in ((shown, None), (shown, ()), (f"{shown} AND %s = 1", [1]), (f"{shown};", [])):
            cursor.execute(sql, params)
            (text,) = cursor.fetchone()
            assert re.search(r"/\*framework='django%3A[\d.]+',request_id='known'\*/;?$", text), text


def test_percent_signs_and_parameters_stay_what_they_are(commenting: list[Any]) -> None:
    with use_request_id("known"), connection.cursor() as cursor:
        cursor.execute("SELECT '100%'")
        assert cursor.fetchone() == ("100%",)
        cursor.execute("SELECT '100%%', %s", ["5%"])
        assert cursor.fetchone() == ("100%", "5%")
        cursor.executemany("INSERT INTO auth_group (name) VALUES (%s)", [("a%",), ("b",)])
    assert sorted(Group.objects.values_list("name", flat=True)) == ["a%", "b"]
    assert [("/*" in each) for each in commenting[:3]] == [True, True, True]


@pytest.mark.postgres
def test_composed_statements_are_commented(commenting: list[Any]) -> None:
    from psycopg import sql

    composed = sql.SQL("SELECT {}, %s AS {} ;").format(sql.Literal("50%%"), sql.Identifier('o"k'))
    with use_request_id("known"), connection.cursor() as cursor:
        cursor.execute(composed, ["x"])
        assert cursor.fetchone() == ("50%", "x")
        cursor.execute(sql.SQL("SELECT {}").format(sql.Literal("it's")))
        assert cursor.fetchone() == ("it's",)
    assert all("request_id='known'" in each for each in commenting)


@pytest.mark.postgres
def test_rows_of_a_server_side_cursor_come_through(commenting: list[Any]) -> None:
    Group.objects.bulk_create([Group(name=str(number)) for number in range(5)])
    with use_request_id("known"), transaction.atomic():
        rows = list(Group.objects.order_by("pk").iterator(chunk_size=2))
    assert len(rows) == 5
    assert any('FROM "auth_group"' in each and "request_id='known'" in each for each in commenting)


@pytest.mark.postgres
def test_what_is_prepared_has_none(commenting: list[Any]) -> None:
    with use_request_id("known"):
        assert prepared_rows(connection, "SELECT %s::int", [3]) == [(3,)]
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements WHERE statement LIKE '%::int%'")
        assert cursor.fetchall() == [("SELECT $1::int",)]


@pytest.mark.postgres
@pytest.mark.django_db
def test_nor_has_what_a_connection_prepares_by_itself(settings: LazySettings) -> None:
    settings.PERFKIT = {**settings.PERFKIT, "SQL_COMMENTS": True}
    own = connections.create_connection("default")
    own.settings_dict = {
        **own.settings_dict,
        "OPTIONS": {**own.settings_dict["OPTIONS"], "server_side_binding": True, "prepare_threshold": 2},
    }
    try:
        with use_request_id("known"), own.cursor() as cursor:
            for _ in range(5):
                cursor.execute("SELECT %s::int", [1])
            cursor.execute("SELECT statement FROM pg_prepared_statements")
            assert cursor.fetchall() == [("SELECT $1::int",)]
    finally:
        own.close()


@pytest.mark.postgres
@pytest.mark.django_db
def test_one_that_binds_on_the_server_and_prepares_nothing_has_it(settings: LazySettings) -> None:
    settings.PERFKIT = {**settings.PERFKIT, "SQL_COMMENTS": True}
    own = connections.create_connection("default")
    own.settings_dict = {
        **own.settings_dict,
        "OPTIONS": {**own.settings_dict["OPTIONS"], "server_side_binding": True, "prepare_threshold": None},
    }
    try:
        with use_request_id("known"), own.cursor() as cursor:
            cursor.execute("SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid() AND %s = 1", [1])
            (text,) = cursor.fetchone()
        assert re.search(r"AND \$1 = 1 /\*framework='[^']+',request_id='known'\*/$", text), text
    finally:
        own.close()


@pytest.mark.postgres
def test_psycopg_need_not_read_a_statement_anew_for_each_request(commenting: list[Any]) -> None:
    from psycopg._queries import _query2pg_client as readings

    misses = []
    for number in range(5):
        with use_request_id(f"request-{number}"):
            list(Group.objects.filter(name="a"))
        misses.append(readings.cache_info().misses)
    assert misses[1:] == [misses[1]] * 4
    assert "request-4" in commenting[-1]


@pytest.mark.postgres
def test_what_was_read_when_a_statement_fails_is_nobodys(commenting: list[Any]) -> None:
    with use_request_id("known"), connection.cursor() as cursor:
        with pytest.raises(DatabaseError):
            cursor.execute("SELECT nothing FROM nowhere WHERE %s = 1", [1])
        assert "_query_cls" not in vars(cursor.cursor)
    assert "known" in commenting[-1]


def test_it_is_put_on_inside_of_all_that_perfkit_watches_by(db: None) -> None:
    connection.ensure_connection()
    wrappers = connection.execute_wrappers
    own = [each for each in wrappers if is_perfkits(each)]
    assert own[-1] is commented
    assert wrappers[: len(own)] == own, "and before those of others"


@pytest.mark.django_db
def test_a_connection_that_opens_within_a_wrapper_of_somebody_keeps_it() -> None:
    own = connections.create_connection("default")

    def theirs(execute: Callable[..., Any], *args: Any) -> Any:
        return execute(*args)

    with own.execute_wrapper(theirs):
        own.connect()
        assert own.execute_wrappers[-1] is theirs
        assert commented in own.execute_wrappers
    assert theirs not in own.execute_wrappers
    assert commented in own.execute_wrappers
    own.close()


@pytest.mark.redis
def test_a_cached_manager_still_sees_its_writes(commenting: list[Any]) -> None:
    with use_request_id("known"):
        airline = Airline.objects.create(code="AA", name="old")
        for new in ("one", "two", "three"):
            assert Airline.objects.get(pk="AA").name == airline.name
            assert [each.name for each in Airline.objects.filter(code="AA")] == [airline.name]
            airline.name = new
            airline.save()
            assert Airline.objects.get(pk="AA").name == new
        Airline.objects.filter(pk="AA").update(name="four")
        assert Airline.objects.get(pk="AA").name == "four"
        airline.delete()
        assert not Airline.objects.filter(code="AA").exists()
    writes = [each for each in commenting if each.startswith(("INSERT", "UPDATE", "DELETE"))]
    assert writes
    assert all("request_id='known'" in each for each in writes)


def test_the_slow_log_says_the_statement_without_it(
    commenting: list[Any], settings: LazySettings, caplog: pytest.LogCaptureFixture
) -> None:
    watch_statements()
    settings.PERFKIT = {**settings.PERFKIT, "QUERY_SLOW_THRESHOLD": 0.0}
    with use_request_id("known"), caplog.at_level(logging.WARNING, "perfkit.queries"):
        Group.objects.count()
    (line,) = [each.getMessage() for each in caplog.records]
    assert "/*" not in line
    assert "known" in commenting[-1]


def test_the_guard_still_finds_loops(
    commenting: list[Any], caplog: pytest.LogCaptureFixture, settings: Any
) -> None:
    from perfkit.loading import watch_n_plus_one

    settings.PERFKIT = {**settings.PERFKIT, "N_PLUS_ONE_MODE": "log"}
    with use_request_id("known"), watch_n_plus_one(), caplog.at_level(logging.WARNING):
        for name in ("a", "b", "c"):
            list(Group.objects.filter(name=name))
    assert "N+1: 3 queries for auth.Group" in caplog.text
    assert "known" in commenting[-1]


def test_an_async_view_has_it_in_its_queries(commenting: list[Any]) -> None:
    async def count() -> int:
        with use_request_id("known"):
            return await Group.objects.acount()

    assert async_to_sync(count)() == 0
    assert "request_id='known'" in commenting[-1]


def test_secrets_of_a_request_are_in_no_comment(commenting: list[Any], settings: LazySettings) -> None:
    settings.ROOT_URLCONF = "tests.tracing.pages"
    settings.MIDDLEWARE = ["perfkit.tracing.request_id_middleware"]
    headers = {"Authorization": "s3cr3t", "Cookie": "a=s3cr3t", "X-Request-ID": "s3cr3t of mine"}
    Client().get("/queried/7/?token=s3cr3t", headers=headers)
    assert commenting
    assert "s3cr3t" not in str(commenting)
