"""What a SQL text sets; and connections whose session differs from others of their alias do without the cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.db.models import DateField
from django.db.models.functions import Cast
from hypothesis import given
from hypothesis import strategies as st

from perfkit.caching.databases import entry_scope
from perfkit.caching.sessions import may_commit, settings_in
from perfkit.caching.writes import tracker_of
from tests.caching.conftest import Outcome
from tests.testapp.models import Bundle, Item

SESSION = [
    "SET search_path TO a",
    "set role reader",
    "SET SESSION AUTHORIZATION x",
    "SET SESSION search_path TO a",
    "SET  role  reader",
    "SET TIME ZONE 'UTC'",
    "SET NAMES 'latin1'",
    "SET SCHEMA 'a'",
    "RESET role",
    "RESET ALL",
    "DISCARD ALL",
    "SELECT set_config('app.tenant', '5', false)",
    "SELECT set_config('lock_timeout', %s, false), set_config('role', %s, false)",
    "SELECT set_config(%s, %s, false)",
    "SELECT pg_catalog.set_config /* x */ ( 'role', 'x', false)",
    "SELECT \"set_config\"('role', 'x', false)",
    "UPDATE pg_settings SET setting = 'a' WHERE name = 'search_path'",
    "DO $$ BEGIN SET ROLE reader; END $$",
    "DO $$ BEGIN IF true THEN EXECUTE 'SET ROLE reader'; END IF; END $$",
    "/* who */ SET ROLE reader",
    "-- who\nSET ROLE reader",
    "-- who\rSET ROLE reader",
    "-- a; b\n  /* c; d */ -- e\n\tSET ROLE reader",
    "/* -- */ SET ROLE reader",
    "/* a /* b */ c */ SET ROLE reader",
    "SET /* local */ ROLE reader",
    "SELECT 1; SET ROLE reader",
    "SELECT '--'; SET ROLE reader",
    "SELECT '/*'; SET ROLE reader; SELECT '*/'",
    "SELECT 1;-- now\nSET ROLE reader",
    "SELECT 1; /* now */ SET ROLE reader; SELECT 2",
    "RESET ALL; SET ROLE reader",
    "SET lock_timeout = 1; SET ROLE reader",
    "SET LOCAL search_path TO a; SET ROLE reader",
    "UPDATE testapp_item SET count = 1; SET ROLE reader",
    "BEGIN; SET search_path TO a; COMMIT",
]
NOTHING = [
    "SET CONSTRAINTS ALL IMMEDIATE",
    "SET lock_timeout = '1s'",
    "SET  lock_timeout = '1s'",
    "SET SESSION lock_timeout = '1s'",
    "RESET lock_timeout",
    "SET LOCAL statement_timeout = 0",
    "DISCARD PLANS",
    "UPDATE x SET role = 1",
    "UPDATE x -- all\nSET role = 1",
    "UPDATE x /* all */ SET role = 1",
    "/* by hand */ UPDATE x SET role = 1",
    "SELECT 1; UPDATE x SET role = 1",
    "INSERT INTO x VALUES (1) ON CONFLICT DO UPDATE SET role = 1",
    "ALTER TABLE x ALTER COLUMN y SET DEFAULT 1",
    "DELETE FROM settings",
    "-- SET ROLE reader",
    "/* SET ROLE reader */ SELECT 1",
    "SELECT set_config('lock_timeout', %s, false), set_config('statement_timeout', %s, false)",
    "DO $$ BEGIN PERFORM 1; END $$",
    "SAVEPOINT s",
    "",
]
LOCAL = [
    "SET LOCAL app.tenant = '5'",
    "set local role reader",
    "-- now\nSET LOCAL ROLE reader",
    "BEGIN; SET LOCAL ROLE reader",
]


class TestText:
    @pytest.mark.parametrize("sql", SESSION)
    def test_it_knows_what_changes_a_session(self, sql: str) -> None:
        assert settings_in(sql).session

    @pytest.mark.parametrize("sql", NOTHING)
    def test_it_knows_what_does_not(self, sql: str) -> None:
        assert settings_in(sql) == (False, False, False, False, frozenset())

    @pytest.mark.parametrize("sql", LOCAL)
    def test_it_knows_what_changes_a_transaction(self, sql: str) -> None:
        assert settings_in(sql) == (False, True, False, False, frozenset())

    @pytest.mark.parametrize(
        ("sql", "of_session"),
        [
            ("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", False),
            ("BEGIN ISOLATION LEVEL REPEATABLE READ", False),
            ("/* x */ SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE", True),
            ("SET default_transaction_isolation = 'serializable'", True),
        ],
    )
    def test_it_knows_what_sets_the_isolation(self, sql: str, of_session: bool) -> None:
        assert settings_in(sql) == (False, False, True, of_session, frozenset())

    @pytest.mark.parametrize(
        ("sql", "name"),
        [
            ("CREATE TEMP TABLE Item (id int)", "item"),
            ('create temporary table if not exists "item" as select 1', "item"),
            ("CREATE LOCAL TEMP TABLE pg_temp.item (id int)", "item"),
            ("CREATE TABLE pg_temp.item (id int)", "item"),
            ("CREATE OR REPLACE TEMP VIEW item AS SELECT 1", "item"),
            ("SELECT 1; CREATE TEMP TABLE item AS SELECT * FROM other", "item"),
            ("CREATE TEMP TABLE other AS SELECT * FROM item", "other"),
            ("CREATE TABLE item (temp int)", None),
        ],
    )
    def test_it_knows_the_tables_that_only_one_session_sees(self, sql: str, name: str | None) -> None:
        assert settings_in(sql).temporary == ({name} if name else set())

    @pytest.mark.parametrize(
        "sql",
        [
            *("COMMIT", "end", "/* a */ -- b\nCOMMIT WORK", "/* a /* b */ c */ COMMIT", "SELECT 1; COMMIT"),
            *("UPDATE x SET a = 1;/* b */END;", "COMMIT AND CHAIN"),
        ],
    )
    def test_it_knows_what_may_commit(self, sql: str) -> None:
        assert may_commit(sql, by_release=False)

    @pytest.mark.parametrize(
        "sql", ["UPDATE x SET a = CASE WHEN b THEN 1 ELSE 2 END /* app */", "ROLLBACK", "RELEASE s", ""]
    )
    def test_it_knows_what_does_not_commit(self, sql: str) -> None:
        assert not may_commit(sql, by_release=False)

    def test_it_knows_a_release_that_commits(self) -> None:
        assert may_commit("-- a\nRELEASE s", by_release=True)

    @given(st.text("-/* \n;'\"sSeEtTrRoOlL(%", max_size=60))
    def test_it_takes_any_text(self, sql: str) -> None:
        settings_in(sql)
        may_commit(sql, by_release=True)
        assert settings_in(f"{sql};SET ROLE x").session

    @pytest.mark.parametrize(
        "part", ["/* a */ ", "-- a\n", " ", "; ", "/*", "set_config(", "create temp table "]
    )
    def test_it_needs_no_longer_for_a_long_text_than_for_its_length(self, part: str) -> None:
        """A pattern that goes back and forth would need years here."""
        settings_in(part * 2_000 + "x")
        may_commit(part * 2_000 + "x", by_release=True)


def run(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def names(queryset: Any) -> list[str]:
    return [each.name for each in queryset]


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
class TestConnections:
    @pytest.fixture(autouse=True)
    def _tenant(self) -> Iterator[None]:
        """A schema whose table of items is not the one that others see; both are read, and one is cached."""
        Item.plain.create(pk=1, name="of public")
        assert [names(Item.objects.all()) for _ in range(2)] == [["of public"]] * 2
        run("CREATE SCHEMA tenant; CREATE TABLE tenant.testapp_item AS TABLE testapp_item")
        run("UPDATE tenant.testapp_item SET name = 'of tenant'")
        yield
        connection.close()
        run("DROP SCHEMA tenant CASCADE")

    def others_see(self, name: str) -> None:
        connection.close()
        assert [names(Item.objects.all()), Item.objects.get(pk=1).name] == [[name], name]

    @pytest.mark.parametrize(
        "sql",
        [
            "SET search_path TO tenant, public",
            "/* mine */ SET search_path TO tenant, public",
            "-- mine\nSET search_path TO tenant, public",
            "SELECT 1; SET search_path TO tenant, public",
            "UPDATE testapp_item SET count = 2; SET search_path TO tenant, public",
            "DO $$ BEGIN SET search_path TO tenant, public; END $$",
            "UPDATE pg_settings SET setting = 'tenant, public' WHERE name = 'search_path'",
        ],
    )
    def test_it_neither_reads_nor_fills(self, sql: str, reads: list[Outcome]) -> None:
        run(sql)
        for _ in range(2):
            assert names(Item.objects.all()) == ["of tenant"]
            assert Item.objects.get(pk=1).name == "of tenant"
            assert reads[-1][1:] == ("bypass", "session setting")
        self.others_see("of public")
        assert reads[-1][1] != "bypass"

    def test_it_notices_what_a_text_set_before_it_failed(self) -> None:
        with pytest.raises(DatabaseError):
            run("BEGIN; SET search_path TO tenant, public; COMMIT; SELECT 1 / 0")
        assert names(Item.objects.all()) == ["of tenant"]
        self.others_see("of public")

    def test_it_does_not_take_a_session_for_reset_whose_role_is_not(self, reads: list[Outcome]) -> None:
        """RESET ALL leaves the role."""
        run("DROP ROLE IF EXISTS perfkit_tenant; CREATE ROLE perfkit_tenant")
        run("ALTER ROLE perfkit_tenant SET search_path = tenant")
        run("GRANT ALL ON ALL TABLES IN SCHEMA public, tenant TO perfkit_tenant")
        try:
            run("ALTER TABLE testapp_item ENABLE ROW LEVEL SECURITY")
            run("SET ROLE perfkit_tenant")
            assert names(Item.objects.all()) == []
            run("RESET ALL")
            assert names(Item.objects.all()) == []
            self.others_see("of public")
        finally:
            connection.close()
            run("ALTER TABLE testapp_item DISABLE ROW LEVEL SECURITY")
            run("DROP OWNED BY perfkit_tenant; DROP ROLE perfkit_tenant")

    def test_it_uses_the_cache_again_after_a_transaction_with_settings_of_its_own(
        self, reads: list[Outcome]
    ) -> None:
        with transaction.atomic():
            run("/* mine */ SET LOCAL search_path TO tenant, public")
            assert names(Item.objects.all()) == ["of tenant"]
            assert reads[-1][1:] == ("bypass", "session setting")
        assert names(Item.objects.all()) == ["of public"]
        assert reads[-1][1] != "bypass"

    def test_it_knows_a_session_again_that_comes_from_a_pool(self, reads: list[Outcome]) -> None:
        settings = connection.settings_dict
        connection.close()
        settings["OPTIONS"]["pool"] = {"min_size": 1, "max_size": 1}
        try:
            run("SET search_path TO tenant, public")
            for _ in range(2):
                connection.close()  # back into the pool, as it is
                assert names(Item.objects.all()) == ["of tenant"], "nothing is cached at this moment"
                assert names(Item.objects.all()) == ["of tenant"]
                assert reads[-1][1:] == ("bypass", "session setting")
        finally:
            connection.close()
            connection.close_pool()
            del settings["OPTIONS"]["pool"]
        self.others_see("of public")

    def test_it_keeps_zones_apart(self) -> None:
        Bundle.plain.create(title="a", made="2024-02-29T20:00:00Z")
        days = Bundle.objects.annotate(day=Cast("made", DateField())).values_list("day", flat=True)
        before = list(days.all())
        run("SELECT 1; SET TIME ZONE 'Asia/Tokyo'")
        assert list(days.all()) != before
        connection.close()
        assert list(days.all()) == before


@pytest.mark.django_db(transaction=True)
def test_it_neither_reads_nor_fills_where_a_temporary_table_hides_the_other(reads: list[Outcome]) -> None:
    Item.plain.create(name="of all")
    assert [names(Item.objects.all()) for _ in range(2)] == [["of all"]] * 2
    try:
        run("CREATE TEMP TABLE testapp_item AS SELECT id, 'of one' AS name, count FROM testapp_item")
        assert names(Item.objects.all()) == ["of one"]
        assert reads[-1][1:] == ("bypass", "session setting")
        run("DROP TABLE testapp_item")
    finally:
        connection.close()  # which leaves SQLite's database in memory open
        tracker_of(connection).reconnected()  # type: ignore[union-attr]
    assert names(Item.objects.all()) == ["of all"]
    assert reads[-1][1] != "bypass"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "part", [{"USER": "x"}, {"TIME_ZONE": "Asia/Tokyo"}, {"OPTIONS": {"options": "-c a=b"}}]
)
def test_it_keeps_ways_into_a_database_apart(part: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    connection.ensure_connection()
    before = entry_scope(connection)
    for key, value in part.items():
        monkeypatch.setitem(connection.settings_dict, key, value)
    if connection.vendor == "postgresql":
        assert entry_scope(connection) == before  # the session that is open is the one that was asked for
    connection.close()
    assert entry_scope(connection) != before
