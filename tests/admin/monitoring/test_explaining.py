"""Which statements are explained: those that Django sends, and nothing that could do anything else."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.db.models import Case, Count, Exists, F, OuterRef, Q, Subquery, Value, When, Window
from django.db.models.functions import Coalesce, Lower, Now, RowNumber
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from perfkit.admin.monitoring.explaining import Explainable, explainable, plan_of, why_not
from perfkit.errors import NotExplainableError
from perfkit.monitoring.fingerprints import fingerprint_of
from perfkit.watching import normalised
from project.flights.models import Airline, Flight

HOSTILE = {
    "another statement": 'SELECT ?; DROP TABLE "a"',
    "another, in a name": 'SELECT "a;b"',
    "a literal": "SELECT 'x'",
    "a literal with an escape": "SELECT E?\\",
    "a dollar": "SELECT $x$ $x$",
    "a comment": "SELECT ? -- x",
    "a comment in a block": "SELECT ? /* x */",
    "a comment that the star makes": 'SELECT pg_sleep /… FROM "x" */ (?)',
    "a comment that a sign makes": "SELECT ? -%%- ? --",
    "no SELECT": 'DELETE FROM "a"',
    "WITH": 'WITH "x" AS (SELECT ?) SELECT * FROM "x"',
    "EXPLAIN's own options": "ANALYZE SELECT ?",
    "brackets around": "(SELECT ?) UNION (SELECT ?)",
    "columns by numbers, which are not kept": 'SELECT "a", COUNT(*) FROM "b" GROUP BY ?',
    "INTO": 'SELECT * INTO "b" FROM "a"',
    "a write in a query": 'SELECT * FROM (DELETE FROM "a" RETURNING *) "x"',
    "an update": 'SELECT * FROM (UPDATE "a" SET "b" = ? RETURNING *) "x"',
    "a function": "SELECT pg_sleep(?)",
    "a function without arguments": "SELECT pg_reload_conf()",
    "a function of a list": "SELECT set_config(…)",
    "a function after a space": "SELECT pg_sleep (?)",
    "a function of a schema": "SELECT pg_catalog.lower(?)",
    "a function in quotes": 'SELECT "pg_sleep"(?)',
    "a function in quotes after a space": 'SELECT "pg_sleep" (…)',
    "a function of a schema in quotes": 'SELECT "public"."lower"(?)',
    "a function in another's name": "SELECT lowerx(?)",
    "an operator by name": 'SELECT ? OPERATOR("public".+) ?',
    "an unusual space": "SELECT\u00a0?",
    "a new line": "SELECT ?\n",
    "what is cut": 'SELECT "a" … "b"',
    "rows": "SELECT * FROM (VALUES (…), …) x",
    "a null": "SELECT \0",
    "nothing": "",
}
"""What somebody might put where the texts are."""


def proven(text: str) -> Explainable:
    return explainable(text, fingerprint_of(text))


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_it_refuses(text: str) -> None:
    with pytest.raises(NotExplainableError):
        proven(text)


def test_it_refuses_a_text_under_another_name() -> None:
    with pytest.raises(NotExplainableError, match="not that of the statement"):
        explainable("SELECT ?", fingerprint_of("SELECT ? + ?"))


def test_it_numbers_what_was_left_out_and_says_what_differs() -> None:
    found = proven('SELECT … FROM "a" WHERE "b" = %s AND "c" IN (…) AND "d" %% ? = %(x)s FOR NO KEY UPDATE')
    assert (
        found.sql
        == 'SELECT * FROM "a" WHERE "b" = $1 AND "c" IN ($2, $3) AND "d" % $4 = $5 FOR NO KEY UPDATE'
    )
    assert len(found.notes) == 2


@given(st.text(alphabet="SELECT lower()\"';-/*%?s…$1\\abc,.FROM \n\0", max_size=60))
def test_what_it_lets_through_has_no_end_no_literal_and_no_comment(text: str) -> None:
    try:
        sql = proven(f"SELECT {text}").sql
    except NotExplainableError:
        return
    assert not re.search(r"[;'\\\0\n]|--|/\*|\*/(?=\*)", sql)
    assert not re.search(r"\$[a-z]*\$", sql)


SETS: dict[str, Any] = {
    "rows": lambda: User.objects.filter(username="ann", is_staff=True)[:5],
    "many ids": lambda: User.objects.filter(pk__in=[1, 2, 3]),
    "a join": lambda: Flight.objects.filter(airline__name="x", dep_delay__gte=60).select_related("airline"),
    "functions": lambda: User.objects.annotate(low=Lower(Coalesce("first_name", "username"))).filter(low="x"),
    "exists": lambda: Airline.objects.filter(Exists(Flight.objects.filter(airline=OuterRef("pk")))),
    "a subquery": lambda: Airline.objects.annotate(
        first=Subquery(Flight.objects.filter(airline=OuterRef("pk")).values("number")[:1])
    ),
    "a case": lambda: User.objects.annotate(
        kind=Case(When(Q(is_staff=True) | ~Q(email=""), then=Value("a")), default=F("username"))
    ),
    "a number of all": lambda: User.objects.annotate(n=Count("groups")).filter(n__gt=2),
    "a window": lambda: Flight.objects.annotate(place=Window(RowNumber(), partition_by="airline")),
    "words": lambda: User.objects.filter(username__icontains="x", date_joined__lt=Now()),
    "a lock": lambda: User.objects.select_for_update().filter(pk=1),
}


@pytest.mark.postgres
@pytest.mark.django_db
@pytest.mark.parametrize("name", SETS)
def test_it_explains_what_django_sends(name: str) -> None:
    with CaptureQueriesContext(connection), transaction.atomic():
        sql, _ = SETS[name]().query.sql_with_params()
    plan = plan_of(proven(normalised(sql)), "default")
    assert "cost=" in plan[0]


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
class TestThePlan:
    def test_it_runs_nothing(self) -> None:
        User.objects.create_user("ann")
        with connection.cursor() as cursor:
            cursor.execute("CREATE SEQUENCE touched")
            cursor.execute(
                "CREATE FUNCTION lower(integer) RETURNS text LANGUAGE sql VOLATILE "
                "AS $$ SELECT nextval('touched')::text $$"
            )
        try:
            plan_of(proven('SELECT LOWER("id") FROM "auth_user"'), "default")
            with connection.cursor() as cursor:
                cursor.execute("SELECT is_called FROM touched")
                assert cursor.fetchone() == (False,)
        finally:
            with connection.cursor() as cursor:
                cursor.execute("DROP FUNCTION lower(integer)")
                cursor.execute("DROP SEQUENCE touched")

    def test_a_function_that_writes_as_it_is_planned_cannot(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("CREATE TABLE touched (x integer)")
            cursor.execute(
                "CREATE FUNCTION touch() RETURNS text LANGUAGE plpgsql VOLATILE "
                "AS $$ BEGIN INSERT INTO touched VALUES (1); RETURN 'x'; END $$"
            )
            cursor.execute(
                "CREATE FUNCTION lower(boolean) RETURNS text LANGUAGE plpgsql IMMUTABLE "
                "AS $$ BEGIN RETURN touch(); END $$"
            )
        try:
            with pytest.raises(NotExplainableError, match="read-only"):
                plan_of(proven('SELECT LOWER(TRUE) FROM "auth_user"'), "default")
            with connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM touched")
                assert cursor.fetchone() == (0,)
        finally:
            with connection.cursor() as cursor:
                cursor.execute("DROP FUNCTION lower(boolean)")
                cursor.execute("DROP FUNCTION touch()")
                cursor.execute("DROP TABLE touched")

    def test_what_the_request_has_written_stays_and_may_go_on(self) -> None:
        with transaction.atomic():
            User.objects.create_user("ann")
            plan_of(proven('SELECT * FROM "auth_user"'), "default")
            User.objects.create_user("bob")
            with connection.cursor() as cursor:
                cursor.execute("SHOW statement_timeout")
                assert cursor.fetchone() != ("2s",)
        assert User.objects.count() == 2

    def test_it_says_what_the_database_says_and_the_request_goes_on(self) -> None:
        with transaction.atomic():
            with pytest.raises(NotExplainableError, match='relation "nowhere" does not exist'):
                plan_of(proven('SELECT * FROM "nowhere"'), "default")
            assert User.objects.count() == 0


@pytest.mark.django_db
def test_it_says_where_there_are_no_plans() -> None:
    assert "no database of that alias" in why_not("elsewhere")
    if connection.vendor != "postgresql":
        assert "PostgreSQL's alone" in why_not("default")
        with pytest.raises(NotExplainableError):
            plan_of(proven("SELECT ?"), "default")
