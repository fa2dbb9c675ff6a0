"""Lists by a declared column depend on the rows with that value, and on no others."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.core.checks import CheckMessage
from django.db import DatabaseError, IntegrityError, connection, models, transaction
from django.db.models import Count, Exists, F, OuterRef, Q, Sum, Value
from django.db.models.functions import Lower
from django.db.transaction import TransactionManagementError
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    invariant,
    rule,
    run_state_machine_as_test,
)

from perfkit.bulk import bulk_insert, bulk_update, bulk_upsert
from perfkit.caching import CachedManager, observed
from perfkit.caching.inserts import Insert, insert_of
from perfkit.caching.queries import prepared_read
from perfkit.caching.registry import tracked_tables
from tests.caching.actors import WritersMachine, actors, execute
from tests.caching.conftest import Outcome
from tests.testapp.models import Booking, Shelf

pytestmark = pytest.mark.django_db(transaction=True)

DAY = dt.date(2013, 7, 4)
KEY = uuid.UUID(int=7)


def outcomes(reads: list[Outcome]) -> list[str]:
    told = [outcome for _, outcome, _ in reads]
    reads.clear()
    return told


def names(**conditions: Any) -> list[str]:
    return sorted(row.name for row in Booking.objects.filter(**conditions))


def tags(queryset: models.QuerySet[Any], *kind: str) -> tuple[str, ...]:
    """What the answer depends on, without the database's name."""
    place = prepared_read(queryset.query, "default").place(connection, 60, *kind)
    return tuple(":".join([kind, *rest]) for kind, _, *rest in (tag.split(":") for tag in place.tags))


@pytest.fixture(params=["its own", "before 18"] if connection.vendor == "postgresql" else ["its own"])
def version(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """An older PostgreSQL is asked in its own way; what it is sent, a newer one understands too."""
    if request.param != "its own":
        monkeypatch.setitem(vars(connection), "pg_version", 150_000)
    return str(request.param)


B, A = "b:testapp_booking", "a:testapp_booking"
C = "c:testapp_booking"

RESTRICTED: dict[str, tuple[Callable[[], models.QuerySet[Any]], tuple[str, ...]]] = {
    "text": (lambda: Booking.objects.filter(zone="north"), (f"{C}:zone:north", B)),
    "number": (lambda: Booking.objects.filter(number="5"), (f"{C}:number:5", B)),
    "date": (lambda: Booking.objects.filter(day=DAY), (f"{C}:day:2013-07-04", B)),
    "truth": (lambda: Booking.objects.filter(is_paid=True), (f"{C}:is_paid:1", B)),
    "uuid": (lambda: Booking.objects.filter(key=str(KEY)), (f"{C}:key:{KEY.hex}", B)),
    "foreign key": (lambda: Booking.objects.filter(shelf_id=3), (f"{C}:shelf_id:3", B)),
    "instance": (lambda: Booking.objects.filter(shelf=Shelf(pk=3)), (f"{C}:shelf_id:3", B)),
    "related manager": (Shelf(pk=3).bookings.all, (f"{C}:shelf_id:3", B)),
    "the foreign key's own key": (lambda: Booking.objects.filter(shelf__id=3), (f"{C}:shelf_id:3", B)),
    "null": (lambda: Booking.objects.filter(zone=None), (f"{C}:zone", B)),
    "is null": (lambda: Booking.objects.filter(shelf__isnull=True), (f"{C}:shelf_id", B)),
    "some": (
        lambda: Booking.objects.filter(zone__in=["north", "south"]),
        (f"{C}:zone:north", f"{C}:zone:south", B),
    ),
    "among others": (
        lambda: Booking.objects.filter(Q(name="x") | Q(name="y"), zone="north").exclude(number=2),
        (f"{C}:zone:north", B),
    ),
    "with a join": (
        lambda: Booking.objects.filter(zone="north").select_related("shelf"),
        (f"{C}:zone:north", B, "a:testapp_shelf"),
    ),
    "aggregated": (
        lambda: Booking.objects.filter(zone="north").values("number").annotate(n=Count("id")),
        (f"{C}:zone:north", B),
    ),
    "key": (
        lambda: Booking.objects.filter(pk=5, zone="north").select_related("shelf"),
        ("r:testapp_booking:5", B, "a:testapp_shelf", A),
    ),
}

WHOLE: dict[str, Callable[[], models.QuerySet[Any]]] = {
    "another column": lambda: Booking.objects.filter(name="x"),
    "either": lambda: Booking.objects.filter(Q(zone="north") | Q(number=1)),
    "not": lambda: Booking.objects.exclude(zone="north"),
    "not null": lambda: Booking.objects.filter(zone__isnull=False),
    "another lookup": lambda: Booking.objects.filter(zone__startswith="n"),
    "another column's value": lambda: Booking.objects.filter(zone=F("name")),
    "very many": lambda: Booking.objects.filter(number__in=range(100)),
    "a second look into the table": lambda: Booking.objects.filter(zone="north").select_related("former"),
    "a second look in the order": lambda: Booking.objects.filter(zone="north").order_by("former__name"),
    "a second look backwards": lambda: Booking.objects.filter(zone="north", later__name="x"),
    "a subquery": lambda: Booking.objects.filter(zone="north").annotate(
        twin=Exists(Booking.objects.filter(number=OuterRef("number")))
    ),
    "a subquery as a condition": lambda: Booking.objects.filter(
        zone="north", number__in=Booking.objects.filter(name="x").values("number")
    ),
    "the column of a joined table": lambda: Shelf.objects.filter(bookings__zone="north"),
    "some keys": lambda: Booking.objects.filter(pk__in=[1, 2]),
}


class TestTags:
    @pytest.mark.parametrize("name", RESTRICTED)
    def test_it_depends_on_the_rows_it_is_kept_to(self, name: str) -> None:
        make, expected = RESTRICTED[name]
        assert tags(make()) == expected

    @pytest.mark.parametrize("name", WHOLE)
    def test_it_depends_on_all_rows_otherwise(self, name: str) -> None:
        assert A in tags(WHOLE[name]())
        assert not any(tag.startswith("c:") for tag in tags(WHOLE[name]()))

    def test_it_takes_a_number_of_rows_for_one_of_the_value(self) -> None:
        assert tags(Booking.objects.filter(zone="north"), "count") == (f"{C}:zone:north", B)
        assert tags(Booking.objects.filter(pk=5), "count") == (A,)


class TestReads:
    @pytest.fixture(autouse=True)
    def _rows(self) -> None:
        for zone in ("north", "south"):
            Booking.plain.create(name=f"{zone} 1", zone=zone, number=1)
            Booking.plain.create(name=f"{zone} 2", zone=zone, number=2)

    @pytest.fixture
    def south(self, reads: list[Outcome]) -> Callable[[], list[str]]:
        """Says whether the list of the south is still cached."""
        names(zone="south")
        reads.clear()

        def read() -> list[str]:
            names(zone="south")
            return outcomes(reads)

        return read

    def test_it_stays_cached_while_others_are_written(
        self, south: Callable[[], list[str]], reads: list[Outcome], version: str
    ) -> None:
        names(zone="north")
        north = Booking.plain.filter(zone="north").order_by("pk")
        first, second = north
        first.name = "renamed"
        first.save()
        assert names(zone="north") == ["north 2", "renamed"]
        second.delete()
        assert names(zone="north") == ["renamed"]
        Booking.plain.create(name="new", zone="north")
        assert names(zone="north") == ["new", "renamed"]
        Booking.plain.bulk_create(Booking(name=f"bulk {n}", zone="north") for n in range(3))
        assert len(names(zone="north")) == 5
        rows = list(north.all())
        for row in rows:
            row.name = "all"
        Booking.plain.bulk_update(rows, ["name"])
        assert names(zone="north") == ["all"] * 5
        assert set(outcomes(reads)) == {"miss"}
        assert south() == ["hit" if connection.vendor == "postgresql" else "miss"]

    def test_it_follows_a_row_from_list_to_list(self, reads: list[Outcome], version: str) -> None:
        moved = Booking.plain.get(name="south 1")
        moved.zone = "north"
        for move in (
            moved.save,
            lambda: Booking.plain.filter(pk=moved.pk).update(zone="south"),
            lambda: Booking.plain.bulk_update([moved], ["zone"]),
            lambda: Booking.plain.filter(pk=moved.pk).update(zone=F("name")),
        ):
            names(zone="north"), names(zone="south"), names(zone="south 1")
            move()
            for zone in ("north", "south", "south 1"):
                assert names(zone=zone) == sorted(
                    Booking.plain.filter(zone=zone).values_list("name", flat=True)
                )
        assert names(zone="south 1") == ["south 1"]

    def test_it_follows_a_row_whose_former_list_its_instance_does_not_know(self, version: str) -> None:
        early = Booking.plain.get(name="north 1")
        Booking.plain.filter(pk=early.pk).update(zone="south")
        assert names(zone="south") == ["north 1", "south 1", "south 2"]
        early.save()
        assert names(zone="south") == ["south 1", "south 2"]
        assert names(zone="north") == ["north 1", "north 2"]

    def test_it_reads_its_own_writes_inside_a_transaction(self, version: str) -> None:
        assert len(names(zone="north")) == 2
        with transaction.atomic():
            Booking.plain.get(name="north 1").delete()
            assert names(zone="north") == ["north 2"]
            with pytest.raises(IntegrityError), transaction.atomic():
                Booking.plain.filter(name="north 2").update(zone="south")
                raise IntegrityError
            assert names(zone="north") == ["north 2"]
        assert names(zone="north") == ["north 2"]

    def test_it_sees_nothing_of_what_was_rolled_back(
        self, south: Callable[[], list[str]], version: str
    ) -> None:
        first = Booking.plain.get(name="south 1")
        with pytest.raises(RuntimeError), transaction.atomic():
            first.zone = "north"
            first.save()
            raise RuntimeError
        assert names(zone="south") == ["south 1", "south 2"]

    @pytest.mark.parametrize(
        "write",
        [
            lambda: Booking.plain.filter(number=1).update(zone="north"),
            lambda: Booking.plain.filter(name="north 1", pk__gt=0).delete(),
            lambda: execute("UPDATE testapp_booking SET zone = 'north' WHERE name = 'south 1'"),
            lambda: execute("DELETE FROM testapp_booking"),
            lambda: execute(
                "INSERT INTO testapp_booking (name, zone, is_paid) SELECT 'more', 'north', false"
            ),
            lambda: execute("INSERT INTO testapp_booking (name, zone, is_paid) VALUES ('x', 'north', false)"),
            lambda: execute(
                'INSERT INTO "testapp_booking" ("name", "is_paid", "zone") VALUES (%s, %s, upper(%s))',
                *("x", False, "north"),
            ),
            lambda: bulk_insert(Booking, [{"name": "bulk", "zone": "north"}]),
            lambda: bulk_update(Booking, [(Booking.plain.get(name="south 1").pk, {"zone": "north"})]),
            lambda: bulk_upsert(
                Booking,
                [{"id": Booking.plain.get(name="south 1").pk, "zone": "north", "name": "moved"}],
                conflict_columns=["id"],
            ),
            lambda: bulk_upsert(
                Booking,
                [{"id": pk, "zone": "north", "name": f"n{pk}"} for pk in range(1, 400)],
                conflict_columns=["id"],
            ),
            lambda: Booking.plain.bulk_create(
                [Booking(pk=Booking.plain.get(name="south 1").pk, name="moved", zone="north")],
                update_conflicts=True,
                update_fields=["name", "zone"],
                unique_fields=["id"],
            ),
            lambda: Booking.plain.bulk_create(
                [Booking(name="kept", zone="north", code="1")], ignore_conflicts=True
            ),
            lambda: Booking.plain.update_or_create(name="south 2", defaults={"zone": "north"}),
            lambda: Booking.plain.update_or_create(name="newest", defaults={"zone": "north"}),
            lambda: Booking.plain.get_or_create(name="newest", zone="north"),
        ],
    )
    def test_it_follows_any_write(self, write: Callable[[], object]) -> None:
        zones = ("north", "south", "NORTH")
        for zone in zones:
            names(zone=zone)
        write()
        for zone in zones:
            expected = Booking.plain.filter(zone=zone).values_list("name", flat=True)
            assert names(zone=zone) == sorted(expected)

    def test_it_follows_relations(self) -> None:
        shelf, other = Shelf.plain.create(name="a"), Shelf.plain.create(name="b")

        def listed() -> list[int]:
            return [each.bookings.count() for each in (shelf, other)]

        first, second = Booking.plain.filter(zone="north").order_by("pk")
        assert listed() == [0, 0]
        shelf.bookings.set([first, second], bulk=False)
        assert listed() == [2, 0]
        other.bookings.add(first)
        assert listed() == [1, 1]
        shelf.bookings.clear()
        assert listed() == [0, 1]
        gone = other.pk
        other.delete()
        assert [len(Booking.objects.filter(shelf_id=gone)), names(zone="north")] == [0, ["north 2"]]

    def test_it_counts_and_adds_within_the_value(
        self, south: Callable[[], list[str]], reads: list[Outcome], version: str
    ) -> None:
        asked = [
            lambda: Booking.objects.filter(zone="south").count(),
            lambda: Booking.objects.filter(zone="south").exists(),
            lambda: Booking.objects.filter(zone="south").aggregate(Sum("number")),
        ]
        before = [ask() for ask in asked]
        reads.clear()
        Booking.plain.get(name="north 1").delete()
        assert [ask() for ask in asked] == before == [2, True, {"number__sum": 3}]
        assert set(outcomes(reads)) == {"hit" if connection.vendor == "postgresql" else "miss"}

    def test_it_keeps_a_detail_by_key_while_other_rows_are_written(
        self, reads: list[Outcome], version: str
    ) -> None:
        key = Booking.plain.get(name="south 1").pk

        def detail() -> str:
            return Booking.objects.select_related("shelf").get(pk=key).name

        detail()
        Booking.plain.get(name="north 1").save()
        Booking.plain.create(name="new")
        reads.clear()
        assert detail() == "south 1"
        assert outcomes(reads) == ["hit" if connection.vendor == "postgresql" else "miss"]
        Booking.plain.filter(pk=key).update(name="now")
        assert detail() == "now"
        Booking.plain.get(pk=key).delete()
        for _ in range(2):
            with pytest.raises(Booking.DoesNotExist):
                detail()
        Booking.plain.create(pk=key, name="again")
        assert detail() == "again"

    def test_it_counts_no_rows_for_a_group_that_is_there_without_any(self) -> None:
        def counted(manager: Any) -> list[dict[str, Any]]:
            rows = manager.annotate(x=Value(1)).values("x").annotate(n=Count("id"))
            return list(rows.filter(pk=12345).order_by())

        assert counted(Booking.objects) == counted(Booking.plain)
        Booking.plain.create(pk=12345, name="x")
        assert counted(Booking.objects) == counted(Booking.plain)

    def test_it_reads_values_through_a_related_manager(self) -> None:
        shelf = Shelf.plain.create(name="a")
        Booking.plain.filter(zone="north").update(shelf=shelf)
        for _ in range(2):
            assert sorted(shelf.bookings.values_list("name", flat=True)) == ["north 1", "north 2"]
            assert sorted(shelf.bookings.values_list("name", "zone")) == [
                ("north 1", "north"),
                ("north 2", "north"),
            ]
            assert {row["name"] for row in shelf.bookings.values("name")} == {"north 1", "north 2"}

    def test_it_shows_a_row_that_the_open_transaction_has_made(self) -> None:
        for _ in range(2):
            assert not Booking.objects.filter(pk=1234).select_related("shelf")
        with transaction.atomic():
            Booking.plain.create(pk=1234, name="new")
            assert [row.name for row in Booking.objects.filter(pk=1234).select_related("shelf")] == ["new"]


@pytest.mark.postgres
class TestStatements:
    """What becomes of the statement, which must say what it changes."""

    def test_it_is_one_statement_still(
        self, django_assert_num_queries: Callable[..., Any], version: str
    ) -> None:
        row = Booking.plain.create(name="x", zone="north")
        with transaction.atomic(), django_assert_num_queries(1):
            row.save()

    def test_it_counts_the_rows_as_before(self, version: str) -> None:
        row = Booking.plain.create(name="x", zone="north")
        assert Booking.plain.filter(pk=row.pk).update(name="y") == 1
        assert Booking.plain.filter(pk=0).update(name="y") == 0
        row.refresh_from_db()
        assert row.delete() == (1, {"testapp.Booking": 1})
        with pytest.raises(DatabaseError, match="did not affect any rows"):
            Booking(pk=12345, name="x").save(force_update=True)

    def test_it_leaves_the_connection_usable_where_it_fails(self, version: str) -> None:
        row = Booking.plain.create(name="x", code="1")
        Booking.plain.create(name="y", code="2")
        row.code = "2"
        with pytest.raises(IntegrityError):
            row.save()
        assert Booking.objects.get(code="1").name == "x"
        assert not connection.in_atomic_block

    def test_it_does_without_a_column_that_is_not_there_yet(self) -> None:
        """As in a migration that writes before another one adds the column."""
        row = Booking.plain.create(name="x", zone="north")
        names(number=1)
        execute("ALTER TABLE testapp_booking RENAME COLUMN zone TO zone_later")
        try:
            observed.forget_columns()
            execute('UPDATE "testapp_booking" SET "name" = %s WHERE "id" = %s', "y", row.pk)
        finally:
            execute("ALTER TABLE testapp_booking RENAME COLUMN zone_later TO zone")
        assert names(zone="north") == ["y"]
        row.save()
        assert names(zone="north") == ["x"]

    def test_it_runs_hooks_after_the_write_is_done(self) -> None:
        row = Booking.plain.create(name="x", zone="north")
        seen: list[list[str]] = []
        with transaction.atomic():
            row.name = "y"
            row.save()
            transaction.on_commit(lambda: seen.append(names(zone="north")))
        assert seen == [["y"]]

    @pytest.mark.parametrize(
        "sql",
        [
            'UPDATE "testapp_booking" SET "zone" = %s WHERE "testapp_booking"."id" = %s RETURNING "name"',
            'DELETE FROM "testapp_booking" WHERE "zone" <> %s AND "id" = %s RETURNING "name"',
        ],
    )
    def test_it_takes_the_whole_table_where_the_statement_returns_something_itself(self, sql: str) -> None:
        row = Booking.plain.create(name="x", zone="north")
        assert (names(zone="north"), names(zone="south")) == (["x"], [])
        execute(sql, "south", row.pk)
        left = [] if sql.startswith("DELETE") else ["x"]
        assert (names(zone="north"), names(zone="south")) == ([], left)

    def test_it_follows_a_save_of_an_expression(self) -> None:
        """From Django 6.0 such a save returns the column."""
        row = Booking.plain.create(name="x", zone="NORTH")
        assert (names(zone="NORTH"), names(zone="north")) == (["x"], [])
        row.zone = Lower(F("zone"))
        row.save()
        assert (names(zone="NORTH"), names(zone="north")) == ([], ["x"])

    def test_it_leaves_a_cursor_with_rows_of_another_kind_alone(self) -> None:
        from psycopg.rows import dict_row

        row = Booking.plain.create(name="x", zone="north")
        assert names(zone="north") == ["x"]
        with connection.cursor() as cursor:
            cursor.cursor.row_factory = dict_row
            cursor.execute('UPDATE "testapp_booking" SET "zone" = %s WHERE "id" = %s', ["south", row.pk])
            assert cursor.rowcount == 1
        assert names(zone="north") == []

    def test_it_lets_a_rule_take_the_place_of_a_write(self) -> None:
        row = Booking.plain.create(name="x", zone="north")
        Booking.plain.filter(pk=row.pk).update(zone="north")
        execute(
            "CREATE RULE soft AS ON DELETE TO testapp_booking"
            " DO INSTEAD UPDATE testapp_booking SET zone = 'gone' WHERE id = OLD.id"
        )
        try:
            assert names(zone="north") == ["x"]
            Booking.plain.filter(pk=row.pk).delete()
            assert (names(zone="north"), names(zone="gone")) == ([], ["x"])
        finally:
            execute("DROP RULE soft ON testapp_booking")

    def test_it_lets_a_role_write_what_it_may_not_read(self) -> None:
        row = Booking.plain.create(name="x", zone="north")
        assert names(zone="north") == ["x"]
        execute("CREATE ROLE clerk")
        try:
            execute("GRANT UPDATE (zone), SELECT (id) ON testapp_booking TO clerk")
            with transaction.atomic():
                execute("SET LOCAL ROLE clerk")
                Booking.plain.filter(pk=row.pk).update(zone="south")
            assert names(zone="north") == []
        finally:
            execute("DROP OWNED BY clerk")
            execute("DROP ROLE clerk")

    def test_it_follows_a_trigger_that_changes_new_rows(self) -> None:
        Booking.plain.create(name="first", zone="south")
        assert names(zone="north") == []
        execute(
            "CREATE FUNCTION lowered() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN NEW.zone = lower(NEW.zone); RETURN NEW; END $$"
        )
        execute(
            "CREATE TRIGGER lowered BEFORE INSERT ON testapp_booking FOR EACH ROW EXECUTE FUNCTION lowered()"
        )
        try:
            Booking.plain.create(name="x", zone="NORTH")
            assert names(zone="north") == ["x"]
            Booking.plain.bulk_create(Booking(name=f"{n}", zone="North") for n in range(2))
            assert names(zone="north") == ["0", "1", "x"]
        finally:
            execute("DROP TRIGGER lowered ON testapp_booking")
            execute("DROP FUNCTION lowered")

    def test_it_knows_that_surplus_spaces_are_cut_off(self) -> None:
        stored = "north".ljust(40)
        assert names(zone=stored) == []
        Booking.plain.create(name="x", zone="north".ljust(80))
        assert names(zone=stored) == ["x"]

    def test_it_says_what_django_says_of_a_broken_transaction(self) -> None:
        row = Booking.plain.create(name="x")
        observed.forget_columns()
        with transaction.atomic():
            with pytest.raises(DatabaseError):
                execute("SELECT 1 / 0")
            transaction.set_rollback(True)
            with pytest.raises(TransactionManagementError):
                row.save()


class TestInserts:
    def test_it_reads_what_django_sends(self, django_capture_on_commit_callbacks: Any) -> None:
        seen: list[Insert | None] = []

        def note(run: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            if sql.startswith("INSERT"):
                read = insert_of(sql)
                columns = tracked_tables()["testapp_booking"].declared
                assert read is not None, sql
                values = read.values(columns, params)
                assert values is not None
                seen.append(dict(zip((column.name for column in columns), map(list, values), strict=True)))  # type: ignore[arg-type]
            return run(sql, params, many, context)

        with connection.execute_wrapper(note):
            Booking.plain.create(name="one", zone="north", number=1)
            Booking.plain.bulk_create(Booking(name=f"{n}", zone=f"z{n}", number=n) for n in range(3))
        one, many = seen
        assert one["zone"] == ["north"]  # type: ignore[index]
        assert one["number"] == [1]  # type: ignore[index]
        assert many["zone"] == ["z0", "z1", "z2"]  # type: ignore[index]
        assert many["number"] == [0, 1, 2]  # type: ignore[index]

    @pytest.mark.parametrize(
        "sql",
        [
            "INSERT INTO t (a) VALUES (%s)",
            'INSERT INTO "t" ("a", "b") VALUES (%s)',
            'INSERT INTO "t" ("a") VALUES (%s), (1)',
            """INSERT INTO "t" ("a", "b") VALUES (')', %s)""",
            'INSERT INTO "t" ("a") SELECT * FROM UNNEST(f(%s))',
            'INSERT INTO "t" ("a") VALUES (%s) ON CONFLICT DO NOTHING',
            'INSERT INTO "t" ("a") VALUES (%s) RETURNING %s',
        ],
    )
    def test_it_reads_no_other(self, sql: str) -> None:
        assert insert_of(sql) is None

    def test_it_counts_the_parameters_of_the_cells_before(self) -> None:
        read = insert_of(
            'INSERT INTO "t" ("a", "b", "c") VALUES (f(%s, (%s)), DEFAULT, %s) RETURNING "t"."id"'
        )
        assert read == Insert("t", {"c": 2}, 3)


class TestChecks:
    def made(self, by: list[str]) -> list[CheckMessage]:
        manager: Any = CachedManager(by=by)
        manager.model, manager.name = Booking, "objects"
        return [message for message in manager.check() if message.id == "perfkit.E102"]

    def test_it_names_the_nearest_field(self) -> None:
        [message] = self.made(["zones"])
        assert message.msg.endswith("which is not a field of it; did you mean 'zone'?.")

    @pytest.mark.parametrize("name", ["later", "code"])
    def test_it_knows_what_can_be_declared(self, name: str) -> None:
        assert bool(self.made([name])) == (name == "later")

    def test_it_refuses_a_single_name(self) -> None:
        with pytest.raises(TypeError, match=r"such as \['zone'\]"):
            CachedManager(by="zone")


KEYS = (1, 2, 3, 4)
ZONES = ("north", "south", None)
keys, zones = st.sampled_from(KEYS), st.sampled_from(ZONES)


class DeclaredAgainstPlain(WritersMachine):
    """Two connections write rows from list to list; instances are loaded early and saved late."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: dict[tuple[int, int], Booking] = {}

    def teardown(self) -> None:
        super().teardown()
        Booking.plain.all().delete()

    @rule(actor=actors, key=keys, zone=zones)
    def create(self, actor: int, key: int, zone: str | None) -> None:
        self.write(actor, lambda name: Booking(pk=key, name=name, zone=zone).save())

    @rule(actor=actors, key=keys)
    def load(self, actor: int, key: int) -> None:
        for row in self.actors[actor].do(lambda: list(Booking.plain.filter(pk=key))):
            self.loaded[actor, key] = row

    @rule(actor=actors, key=keys, zone=zones, is_whole=st.booleans())
    def save_what_was_loaded(self, actor: int, key: int, zone: str | None, is_whole: bool) -> None:
        row = self.loaded.get((actor, key))
        if row is None:
            return

        def save(name: str) -> None:
            row.name, row.zone = name, zone
            row.save(update_fields=None if is_whole else ["name"])

        self.write(actor, save)

    @rule(actor=actors, key=keys, zone=zones)
    def update(self, actor: int, key: int, zone: str | None) -> None:
        self.write(actor, lambda name: Booking.plain.filter(pk=key).update(name=name, zone=zone))

    @rule(actor=actors, some=st.lists(keys, unique=True, min_size=1), zone=zones)
    def bulk_update(self, actor: int, some: list[int], zone: str | None) -> None:
        rows = [Booking(pk=key, zone=zone) for key in some]
        self.write(actor, lambda _: Booking.plain.bulk_update(rows, ["zone"]))

    @rule(actor=actors, zone=zones, to=zones)
    def move_all(self, actor: int, zone: str | None, to: str | None) -> None:
        self.write(actor, lambda name: Booking.plain.filter(zone=zone).update(zone=to, name=name))

    @rule(actor=actors, zone=zones)
    def make_many(self, actor: int, zone: str | None) -> None:
        self.write(
            actor, lambda name: Booking.plain.bulk_create([Booking(name=name, zone=zone) for _ in range(2)])
        )

    @rule(actor=actors, key=keys)
    def delete(self, actor: int, key: int) -> None:
        self.write(actor, lambda _: Booking.plain.filter(pk=key).delete())

    @invariant()
    def it_reads_what_the_database_holds(self) -> None:
        for actor in self.actors:
            for zone in ZONES:
                cached, plain = (
                    actor.do(lambda of=of, zone=zone: list(of.filter(zone=zone).order_by("pk").values()))
                    for of in (Booking.objects, Booking.plain)
                )
                assert cached == plain


@pytest.fixture
def _older(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every connection of the actors takes its server for one before 18."""
    from django.db.backends.postgresql.base import DatabaseWrapper

    monkeypatch.setattr(DatabaseWrapper, "pg_version", 150_000)


def run_machine() -> None:
    run_state_machine_as_test(
        DeclaredAgainstPlain,
        settings=settings(
            max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_it_cannot_be_told_from_a_plain_manager() -> None:
    run_machine()


@pytest.mark.postgres
@pytest.mark.usefixtures("_older")
def test_it_cannot_be_told_from_a_plain_manager_on_an_older_server() -> None:
    run_machine()
