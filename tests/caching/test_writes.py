"""After each write that has returned, a cached read yields what is committed; and what is not, never."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.management import call_command
from django.db import (
    DatabaseError,
    IntegrityError,
    OperationalError,
    connection,
    connections,
    transaction,
)

from perfkit.bulk import bulk_insert
from perfkit.caching import coherence
from perfkit.caching.databases import tag_scope
from perfkit.caching.store import current_store
from perfkit.caching.tags import any_write_tag, row_tag, table_tag
from perfkit.caching.tokens import is_in_flight
from perfkit.caching.writes import tracker_of
from perfkit.signals import rows_written
from tests.caching.conftest import Outcome
from tests.testapp.models import (
    Airfield,
    Heir,
    Item,
    ItemNote,
    Loan,
    OtherTwin,
    Sample,
    Shelf,
    Ticket,
    Twin,
    Volume,
)

pytestmark = pytest.mark.django_db(transaction=True)
on_postgres = pytest.mark.postgres


@pytest.fixture
def item() -> Item:
    """A row that is in the cache."""
    made = Item.plain.create(name="old", count=1)
    Item.objects.get(pk=made.pk)
    Item.objects.get(pk=made.pk)
    return made


def name(pk: int) -> str:
    return Item.objects.get(pk=pk).name


def elsewhere(function: Callable[[], Any]) -> Any:
    """Run `function` in a thread, on a connection of its own."""
    answer: list[Any] = []

    def run() -> None:
        try:
            answer.append(function())
        except BaseException as error:  # noqa: BLE001  # told to the caller
            answer.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if isinstance(answer[0], BaseException):
        raise answer[0]
    return answer[0]


def raw(sql: str, *params: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, params or None)


WRITES: dict[str, Callable[[Item], object]] = {
    "save": lambda item: Item(id=item.pk, name="new").save(),
    "save of some fields": lambda item: Item(id=item.pk, name="new").save(update_fields=["name"]),
    "update by key": lambda item: Item.plain.filter(pk=item.pk).update(name="new"),
    "update by anything": lambda item: Item.plain.filter(count__gt=0).update(name="new"),
    "update of all": lambda item: Item.plain.update(name="new"),
    "bulk_update": lambda item: Item.plain.bulk_update([Item(id=item.pk, name="new")], ["name"]),
    "bulk_create that updates": lambda item: Item.plain.bulk_create(
        [Item(id=item.pk, name="new")], update_conflicts=True, update_fields=["name"], unique_fields=["id"]
    ),
    "update_or_create": lambda item: Item.plain.update_or_create(pk=item.pk, defaults={"name": "new"}),
    "raw": lambda item: raw("UPDATE testapp_item SET name = 'new' WHERE id = %s", item.pk),
    "raw with a comment": lambda item: raw("/* by hand */ update testapp_item set name = 'new'"),
    "raw insert on conflict": lambda item: raw(
        "INSERT INTO testapp_item (id, name, count) VALUES (%s, 'x', 0)"
        " ON CONFLICT (id) DO UPDATE SET name = 'new'",
        item.pk,
    ),
    "async": lambda item: async_to_sync(Item.plain.filter(pk=item.pk).aupdate)(name="new"),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("mode", ["autocommit", "atomic", "nested"])
def test_it_reads_what_a_write_has_committed(item: Item, write: Callable[[Item], object], mode: str) -> None:
    if mode == "autocommit":
        write(item)
    else:
        with transaction.atomic():
            if mode == "nested":
                with transaction.atomic():
                    write(item)
            else:
                write(item)
            assert elsewhere(lambda: name(item.pk)) == "old"
            assert name(item.pk) == "new"
    assert [name(item.pk), name(item.pk)] == ["new", "new"]
    assert elsewhere(lambda: name(item.pk)) == "new"


@pytest.mark.parametrize(
    "delete",
    [
        lambda item: item.delete(),
        lambda item: Item.plain.filter(pk=item.pk).delete(),
        lambda item: Item.plain.all().delete(),
        lambda item: Item.plain.filter(name="old")._raw_delete("default"),
        lambda item: raw("DELETE FROM testapp_item"),
        lambda item: call_command("flush", interactive=False, verbosity=0),
    ],
)
def test_it_misses_what_was_deleted(item: Item, delete: Callable[[Item], object]) -> None:
    pk = item.pk
    delete(item)
    for _ in range(2):
        with pytest.raises(Item.DoesNotExist):
            name(pk)


def test_it_reads_a_row_that_was_made_again(item: Item) -> None:
    pk = item.pk
    item.delete()
    Item.plain.create(id=pk, name="again")
    assert [name(pk), name(pk)] == ["again", "again"]


@pytest.mark.parametrize("model", [Airfield, Ticket, Heir])
def test_it_works_for_keys_of_every_kind(model: Any) -> None:
    made = model.objects.create(**({"code": "J FK"} if model is Airfield else {}))
    field = "seat" if model is Ticket else "name"
    for value in ("a", "b", "c"):
        setattr(made, field, value)
        made.save()
        assert [getattr(model.objects.get(pk=made.pk), field) for _ in range(2)] == [value, value]


class TestCascades:
    def test_it_misses_what_went_with_its_parent(self) -> None:
        shelf = Shelf.objects.create(name="s")
        volume = Volume.objects.create(title="v", shelf=shelf)
        loan = Loan.objects.create(reader="r", volume=volume)
        for model, row in ((Shelf, shelf), (Volume, volume), (Loan, loan)):
            model.objects.get(pk=row.pk)
        pks = (shelf.pk, volume.pk)
        shelf.delete()
        with pytest.raises(Shelf.DoesNotExist):
            Shelf.objects.get(pk=pks[0])
        with pytest.raises(Volume.DoesNotExist):
            Volume.objects.get(pk=pks[1])
        assert Loan.objects.get(pk=loan.pk).volume_id is None

    def test_it_sees_a_cascade_onto_a_table_of_its_own_name(self, item: Item) -> None:
        sample = Sample.objects.create(item=item)
        Sample.objects.get(pk=sample.pk)
        Item.plain.filter(pk=item.pk).delete()
        with pytest.raises(Sample.DoesNotExist):
            Sample.objects.get(pk=sample.pk)

    @on_postgres
    def test_it_misses_what_a_truncate_took_along(self) -> None:
        volume = Volume.objects.create(title="v", shelf=Shelf.objects.create(name="s"))
        Volume.objects.get(pk=volume.pk)
        raw("TRUNCATE testapp_shelf CASCADE")
        with pytest.raises(Volume.DoesNotExist):
            Volume.objects.get(pk=volume.pk)


@on_postgres
def test_it_keeps_tables_of_one_name_in_two_schemas_apart() -> None:
    raw("CREATE SCHEMA elsewhere")
    raw("CREATE TABLE elsewhere.testapp_twin (LIKE testapp_twin INCLUDING ALL)")
    try:
        for model in (Twin, OtherTwin):
            model.objects.create(id=1, name=model.__name__)
        for _ in range(2):
            assert [model.objects.get(pk=1).name for model in (Twin, OtherTwin)] == ["Twin", "OtherTwin"]
        OtherTwin.objects.filter(pk=1).update(name="new")
        assert [model.objects.get(pk=1).name for model in (Twin, OtherTwin)] == ["Twin", "new"]
    finally:
        raw("DROP SCHEMA elsewhere CASCADE")


class Stop(Exception):  # noqa: N818  # no error, but the way out of a block
    pass


class TestRollback:
    def test_it_reads_the_old_value_after_a_rollback(self, item: Item) -> None:
        with pytest.raises(Stop), transaction.atomic():
            Item.plain.filter(pk=item.pk).update(name="never")
            assert name(item.pk) == "never"
            raise Stop
        assert [name(item.pk), name(item.pk)] == ["old", "old"]

    def test_it_costs_no_round_trip(self, item: Item) -> None:
        store = current_store()
        assert store is not None
        tag = row_tag(tag_scope(connection), "testapp_item", item.pk)
        before = store.take([tag])
        with pytest.raises(Stop), transaction.atomic():
            item.save()
            raise Stop
        assert store.take([tag]) == before

    def test_it_never_shows_a_row_that_was_rolled_back(self) -> None:
        with pytest.raises(Stop), transaction.atomic():
            pk = Item.plain.create(name="never").pk
            assert [name(pk), name(pk)] == ["never", "never"]
            raise Stop
        with pytest.raises(Item.DoesNotExist):
            name(pk)

    @on_postgres
    def test_it_never_shows_a_row_that_another_has_not_committed(self) -> None:
        with transaction.atomic():
            pk = Item.plain.create(name="mine").pk
            assert name(pk) == "mine"
            with pytest.raises(Item.DoesNotExist):
                elsewhere(lambda: name(pk))
        assert name(pk) == "mine"

    @on_postgres
    def test_it_never_shows_a_row_that_a_bulk_insert_left_uncommitted(self) -> None:
        with pytest.raises(Stop), transaction.atomic():
            bulk_insert(Item, [Item(id=77, name="never", count=0)])
            assert name(77) == "never"
            raise Stop
        with pytest.raises(Item.DoesNotExist):
            name(77)

    def test_it_never_shows_what_a_change_of_another_table_brought_about(self, item: Item) -> None:
        """A trigger cannot be seen; what its transaction reads must not reach the cache before COMMIT."""
        install_trigger()
        with pytest.raises(Stop), transaction.atomic():
            Item.plain.filter(pk=item.pk).update(count=1)
            raise Stop
        current_store().clear()  # type: ignore[union-attr]
        with pytest.raises(Stop), transaction.atomic():
            ItemNote.objects.create(item=item, text="by trigger")
            assert name(item.pk) == "by trigger"
            raise Stop
        remove_trigger()
        assert name(item.pk) == "old"

    def test_it_keeps_the_tags_of_a_savepoint_that_was_rolled_back(self, item: Item) -> None:
        other = Item.plain.create(name="old")
        assert name(other.pk) == "old"
        with transaction.atomic():
            with pytest.raises(Stop), transaction.atomic():
                Item.plain.filter(pk=item.pk).update(name="never")
                raise Stop
            assert name(item.pk) == "old"
            Item.plain.filter(pk=other.pk).update(name="new")
        assert [name(item.pk), name(other.pk)] == ["old", "new"]

    @pytest.mark.parametrize(
        "back",
        [
            "ROLLBACK TO s",
            "ROLLBACK TO SAVEPOINT s",
            "ROLLBACK TRANSACTION TO SAVEPOINT s",
            "-- no\nROLLBACK TO s",
        ],
    )
    def test_it_keeps_the_tags_that_came_before_a_raw_savepoint(self, item: Item, back: str) -> None:
        with transaction.atomic():
            Item.plain.filter(pk=item.pk).update(name="new")
            raw("SAVEPOINT s")
            raw("UPDATE testapp_item SET name = 'never'")
            raw(back)
            assert elsewhere(lambda: name(item.pk)) == "old"
        assert [name(item.pk), elsewhere(lambda: name(item.pk))] == ["new", "new"]

    def test_it_reads_the_old_value_where_a_deferred_constraint_fails_at_commit(self, item: Item) -> None:
        with pytest.raises(IntegrityError), transaction.atomic():
            Item.plain.filter(pk=item.pk).update(name="never")
            Volume.objects.create(title="homeless", shelf_id=987654)
        assert name(item.pk) == "old"
        assert not in_flight(item)
        assert elsewhere(lambda: name(item.pk)) == "old"

    def test_it_says_done_after_a_statement_that_failed(self, item: Item) -> None:
        with pytest.raises(DatabaseError):
            raw("UPDATE testapp_item SET name = NULL WHERE id = %s", item.pk)
        assert not in_flight(item)
        assert name(item.pk) == "old"

    @on_postgres
    def test_it_says_done_where_the_database_gave_up_a_lock(self, item: Item) -> None:
        with transaction.atomic():
            Item.plain.select_for_update().get(pk=item.pk)

            def write() -> None:
                raw("SET lock_timeout = '50ms'")
                Item.plain.filter(pk=item.pk).update(name="never")

            with pytest.raises(OperationalError):
                elsewhere(write)
        assert not in_flight(item)


def in_flight(item: Item) -> bool:
    store = current_store()
    assert store is not None
    tags = [
        row_tag(tag_scope(connection), "testapp_item", item.pk),
        table_tag(tag_scope(connection), "testapp_item"),
    ]
    return any(token is not None and is_in_flight(token) for token in store.read("e:none", tags).tokens)


def install_trigger() -> None:
    if connection.vendor == "sqlite":
        raw(
            "CREATE TRIGGER note_item AFTER INSERT ON testapp_itemnote BEGIN"
            " UPDATE testapp_item SET name = NEW.text WHERE id = NEW.item_id; END"
        )
        return
    raw(
        "CREATE FUNCTION note_item() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " UPDATE testapp_item SET name = NEW.text WHERE id = NEW.item_id; RETURN NEW; END $$"
    )
    raw("CREATE TRIGGER note_item AFTER INSERT ON testapp_itemnote FOR EACH ROW EXECUTE FUNCTION note_item()")


def remove_trigger() -> None:
    if connection.vendor == "sqlite":
        raw("DROP TRIGGER note_item")
    else:
        raw("DROP FUNCTION note_item CASCADE")


class TestOrder:
    """MARK, COMMIT, DONE."""

    def test_it_runs_the_projects_hooks_after_done(self, item: Item, reads: list[Outcome]) -> None:
        seen = []
        with transaction.atomic():
            Item.plain.filter(pk=item.pk).update(name="new")
            transaction.on_commit(lambda: seen.append(name(item.pk)))
            transaction.on_commit(lambda: seen.append(name(item.pk)))
            transaction.on_commit(lambda: seen.append(in_flight(item)))
        assert seen == ["new", "new", False]
        assert [outcome for _, outcome, _ in reads[-2:]] == ["miss", "hit"]

    @pytest.mark.parametrize("mode", ["autocommit", pytest.param("atomic", marks=on_postgres)])
    def test_it_marks_before_and_finishes_after(
        self, item: Item, mode: str, reads: list[Outcome], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store = type(current_store())
        order: list[str] = []
        for step in ("mark", "done"):
            original = getattr(store, step)

            def spy(self: Any, tags: Any, *, writer: str, step: str = step, original: Any = original) -> None:
                order.append(f"{step} {elsewhere_name(item.pk)}")
                original(self, tags, writer=writer)

            monkeypatch.setattr(store, step, spy)
        if mode == "autocommit":
            Item.plain.filter(pk=item.pk).update(name="new")
        else:
            with transaction.atomic():
                Item.plain.filter(pk=item.pk).update(name="new")
        assert order == ["mark old", "done new"]

    def test_it_tells_of_a_transaction_in_one_go(self, monkeypatch: pytest.MonkeyPatch) -> None:
        store = type(current_store())
        told: list[tuple[str, int]] = []
        for step in ("mark", "done"):
            original = getattr(store, step)

            def spy(self: Any, tags: Any, *, writer: str, step: str = step, original: Any = original) -> None:
                told.append((step, len(tags)))
                original(self, tags, writer=writer)

            monkeypatch.setattr(store, step, spy)
        items = Item.plain.bulk_create(Item(name="x") for _ in range(20))
        told.clear()
        with transaction.atomic():
            for item in items:
                item.save()
        assert told == [("mark", 21), ("done", 21)], "twenty rows and their table"

    def test_it_does_not_speak_of_reads_or_of_tables_that_nobody_caches(
        self, item: Item, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(coherence, "announce", pytest.fail)
        monkeypatch.setattr("perfkit.caching.commits.announce", pytest.fail)
        with transaction.atomic():
            Item.plain.select_for_update().get(pk=item.pk)
            ItemNote.objects.create(item=item, text="x").delete()
        ItemNote.objects.bulk_create([ItemNote(item=item), ItemNote(item=item)])
        list(Item.plain.raw("SELECT * FROM testapp_item"))

    def test_it_speaks_of_new_rows_to_those_who_read_lists(self, monkeypatch: pytest.MonkeyPatch) -> None:
        store = type(current_store())
        told: list[tuple[str, ...]] = []
        mark = store.mark
        monkeypatch.setattr(
            store,
            "mark",
            lambda self, tags, *, writer: (told.append(tuple(tags)), mark(self, tags, writer=writer)),
        )
        Item.plain.create(name="another")
        assert told == [(any_write_tag(tag_scope(connection), "testapp_item"),)]

    def test_it_tells_of_many_rows_as_of_the_table(self, item: Item, monkeypatch: pytest.MonkeyPatch) -> None:
        """A COMMIT must not make the server go through thousands of keys."""
        told: list[tuple[str, ...]] = []
        store = type(current_store())
        mark = store.mark
        monkeypatch.setattr(
            store,
            "mark",
            lambda self, tags, *, writer: (told.append(tuple(tags)), mark(self, tags, writer=writer)),
        )
        others = Item.plain.bulk_create(Item(name="x") for _ in range(600))
        told.clear()
        with transaction.atomic():
            for other in others:
                Item.plain.filter(pk=other.pk).update(count=5)
            Item.plain.filter(pk=item.pk).update(name="new")
        assert told == [tuple(sorted(whole_table()))]
        assert name(item.pk) == "new"


def whole_table() -> set[str]:
    scope = tag_scope(connection)
    return {any_write_tag(scope, "testapp_item"), table_tag(scope, "testapp_item")}


def elsewhere_name(pk: int) -> str:
    """What is committed, whatever this thread's connection is doing."""
    return str(elsewhere(lambda: Item.plain.get(pk=pk).name))


def test_it_reads_while_another_write_is_in_flight(item: Item, reads: list[Outcome]) -> None:
    store = current_store()
    assert store is not None
    tag = row_tag(tag_scope(connection), "testapp_item", item.pk)
    store.mark([tag], writer="0a")
    assert [name(item.pk), name(item.pk)] == ["old", "old"]
    assert reads[-2:] == [("Item", "bypass", "write in flight")] * 2
    store.done([tag], writer="0a")
    assert [name(item.pk), name(item.pk)] == ["old", "old"]
    assert [outcome for _, outcome, _ in reads[-2:]] == ["miss", "hit"]


class TestWithoutAtomic:
    """Transactions that Django's `atomic` knows nothing of."""

    @pytest.fixture
    def manual(self) -> Iterator[None]:
        transaction.set_autocommit(False)
        yield
        transaction.rollback()
        transaction.set_autocommit(True)

    def test_it_follows_commit_and_rollback_by_hand(self, item: Item, manual: None) -> None:
        Item.plain.filter(pk=item.pk).update(name="never")
        assert name(item.pk) == "never"
        transaction.rollback()
        assert name(item.pk) == "old"
        transaction.rollback()
        Item.plain.filter(pk=item.pk).update(name="new")
        transaction.commit()
        assert elsewhere(lambda: name(item.pk)) == "new"

    def test_it_sees_what_turning_autocommit_on_commits(self, item: Item) -> None:
        transaction.set_autocommit(False)
        Item.plain.filter(pk=item.pk).update(name="new")
        try:
            transaction.set_autocommit(True)  # PostgreSQL's driver refuses, SQLite commits
        except DatabaseError:
            transaction.rollback()
            transaction.set_autocommit(True)
        assert name(item.pk) == Item.plain.get(pk=item.pk).name

    @pytest.mark.parametrize(
        ("begin", "commit"),
        [
            ("BEGIN", "COMMIT"),
            ("begin transaction", "end"),
            ("/* now */ BEGIN", "-- now\nCOMMIT"),
            pytest.param("START TRANSACTION", "COMMIT WORK;", marks=on_postgres),
            pytest.param("BEGIN", "COMMIT AND CHAIN", marks=on_postgres),
            pytest.param("BEGIN", "SELECT 1; COMMIT", marks=on_postgres),
            pytest.param("BEGIN", "UPDATE testapp_item SET count = 3; COMMIT; SELECT 1", marks=on_postgres),
            pytest.param("BEGIN", "COMMIT; BEGIN", marks=on_postgres),
        ],
    )
    def test_it_follows_raw_statements(self, item: Item, begin: str, commit: str) -> None:
        raw(begin)
        Item.plain.filter(pk=item.pk).update(name="new")
        assert name(item.pk) == "new"
        assert elsewhere(lambda: name(item.pk)) == "old"
        raw(commit)
        assert elsewhere(lambda: name(item.pk)) == "new"
        assert name(item.pk) == "new"
        if tracker_of(connection).visibility.in_transaction:  # type: ignore[union-attr]
            raw("ROLLBACK")
        assert not tracker_of(connection).visibility.in_transaction  # type: ignore[union-attr]
        assert not tracker_of(connection).pending  # type: ignore[union-attr]
        assert name(item.pk) == "new"

    @pytest.mark.parametrize("rollback", ["ROLLBACK", "/* no */ rollback transaction"])
    def test_it_follows_a_raw_rollback(self, item: Item, rollback: str) -> None:
        raw("BEGIN")
        Item.plain.filter(pk=item.pk).update(name="never")
        raw(rollback)
        assert name(item.pk) == "old"
        Item.plain.filter(pk=item.pk).update(name="new")
        assert elsewhere(lambda: name(item.pk)) == "new"

    @on_postgres
    def test_it_follows_a_string_of_several_statements(self, item: Item) -> None:
        raw("BEGIN; UPDATE testapp_item SET name = 'new'; COMMIT")
        assert name(item.pk) == "new"
        raw("BEGIN; UPDATE testapp_item SET name = 'newer'")
        assert elsewhere(lambda: name(item.pk)) == "new"
        raw("COMMIT")
        assert elsewhere(lambda: name(item.pk)) == "newer"


class TestSnapshots:
    """A reader that keeps a snapshot would fill with what is old by then."""

    @contextmanager
    def stale_reader(self, item: Item, *, begin: Callable[[], None]) -> Iterator[None]:
        """Read in a transaction whose snapshot is older than another's commit."""
        current_store().clear()  # type: ignore[union-attr]
        with transaction.atomic():
            begin()
            Item.plain.count()  # the snapshot is taken
            elsewhere(lambda: Item.plain.filter(pk=item.pk).update(name="new"))
            assert name(item.pk) == Item.plain.get(pk=item.pk).name == "old"
            yield
        assert [name(item.pk), name(item.pk)] == ["new", "new"]

    @on_postgres
    @pytest.mark.parametrize(
        "statement",
        [
            "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
            "set transaction isolation level serializable, read only",
            "SET LOCAL transaction_isolation TO 'repeatable read'",
            "SET transaction_isolation = 'serializable'",
        ],
    )
    def test_it_does_not_fill_where_the_transaction_says_so(
        self, item: Item, statement: str, reads: list[Outcome]
    ) -> None:
        with self.stale_reader(item, begin=lambda: raw(statement)):
            assert reads[-1] == ("Item", "bypass", "snapshot")

    @on_postgres
    @pytest.mark.parametrize(
        "statement",
        [
            "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ",
            "SET default_transaction_isolation TO 'serializable'",
            "SET SESSION default_transaction_isolation = 'repeatable read'",
            "SELECT set_config('default_transaction_isolation', 'repeatable read', false)",
        ],
    )
    @pytest.mark.parametrize("was_asked", [True, False])
    def test_it_does_not_fill_where_the_session_says_so(
        self, item: Item, statement: str, was_asked: bool, reads: list[Outcome]
    ) -> None:
        connection.close()
        if was_asked:
            with transaction.atomic():
                name(item.pk)
        raw(statement)
        with self.stale_reader(item, begin=lambda: None):
            assert reads[-1] == ("Item", "bypass", "snapshot")
        connection.close()

    @on_postgres
    def test_it_does_not_fill_where_the_database_says_so(self, item: Item, reads: list[Outcome]) -> None:
        database = connection.settings_dict["NAME"]
        raw(f"ALTER DATABASE \"{database}\" SET default_transaction_isolation = 'repeatable read'")
        connection.close()
        try:
            with self.stale_reader(item, begin=lambda: None):
                assert reads[-1] == ("Item", "bypass", "snapshot")
        finally:
            raw(f'ALTER DATABASE "{database}" RESET default_transaction_isolation')
            connection.close()

    @on_postgres
    def test_it_does_not_fill_where_the_settings_say_so(self, item: Item, reads: list[Outcome]) -> None:
        connection.close()
        connection.settings_dict["OPTIONS"]["isolation_level"] = 3
        try:
            with self.stale_reader(item, begin=lambda: None):
                assert reads[-1] == ("Item", "bypass", "snapshot")
            assert [outcome for _, outcome, _ in reads[-2:]] == ["miss", "hit"], "autocommit keeps none"
        finally:
            del connection.settings_dict["OPTIONS"]["isolation_level"]
            connection.close()

    @on_postgres
    def test_it_fills_in_an_ordinary_transaction(self, item: Item, reads: list[Outcome]) -> None:
        current_store().clear()  # type: ignore[union-attr]
        with transaction.atomic():
            assert [name(item.pk), name(item.pk)] == ["old", "old"]
            elsewhere(lambda: Item.plain.filter(pk=item.pk).update(name="new"))
            assert name(item.pk) == "new"
        assert [outcome for _, outcome, _ in reads][-3:] == ["miss", "hit", "miss"]

    @on_postgres
    def test_it_goes_back_to_the_cache_after_such_a_transaction(
        self, item: Item, reads: list[Outcome]
    ) -> None:
        with transaction.atomic():
            raw("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE")
            name(item.pk)
        with transaction.atomic():
            name(item.pk)
        assert [outcome for _, outcome, _ in reads[-2:]] == ["bypass", "hit"]

    def test_it_does_not_use_the_cache_in_a_transaction_of_sqlite(
        self, item: Item, reads: list[Outcome]
    ) -> None:
        if connection.vendor != "sqlite":
            return
        with transaction.atomic():
            name(item.pk)
        assert reads[-1] == ("Item", "bypass", "snapshot")


class TestConnections:
    def test_it_watches_a_connection_that_was_opened_inside_a_wrapper(self, item: Item) -> None:
        """Django takes the last wrapper away at the end of the block, and that must not be ours."""

        def write() -> None:
            with connection.execute_wrapper(lambda execute, *args: execute(*args)):
                Item.plain.count()
            Item.plain.filter(pk=item.pk).update(name="new")

        elsewhere(write)
        assert name(item.pk) == "new"

    def test_it_watches_again_after_the_connection_was_closed(self, item: Item) -> None:
        for value in ("one", "two"):
            connection.close()
            Item.plain.filter(pk=item.pk).update(name=value)
            assert name(item.pk) == value
        assert connection.execute_wrappers.count(tracker_of(connection)) == 1  # type: ignore[arg-type]

    @on_postgres
    def test_it_forgets_a_transaction_that_was_cut_off(self, item: Item) -> None:
        transaction.set_autocommit(False)
        Item.plain.filter(pk=item.pk).update(name="never")
        connection.close()
        transaction.set_autocommit(True)
        assert name(item.pk) == "old"
        assert not tracker_of(connection).pending  # type: ignore[union-attr]

    @on_postgres
    def test_it_keeps_the_rows_out_of_the_cache_where_the_outcome_is_unknown(
        self, item: Item, reads: list[Outcome]
    ) -> None:
        with pytest.raises(OperationalError), transaction.atomic():
            Item.plain.filter(pk=item.pk).update(name="never")
            terminate_own_backend()
        connection.close()
        assert in_flight(item)
        assert name(item.pk) == "old"
        assert reads[-1] == ("Item", "bypass", "write in flight")

    @on_postgres
    def test_it_recovers_after_a_lost_connection(self, item: Item) -> None:
        terminate_own_backend()
        with pytest.raises(OperationalError):
            Item.plain.filter(pk=item.pk).update(name="never")
        connection.close()
        Item.plain.filter(pk=item.pk).update(name="new")
        assert name(item.pk) == "new"


def terminate_own_backend() -> None:
    pid = connection.connection.info.backend_pid

    def terminate() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])

    elsewhere(terminate)


class TestRowsWritten:
    """What other rooms write past the cursor."""

    def send(self, **arguments: Any) -> None:
        rows_written.send(sender=arguments.pop("sender", Item), using="default", **arguments)

    def test_it_takes_the_rows_that_were_named(self, item: Item) -> None:
        other = Item.plain.create(name="old")
        with transaction.atomic():
            self.send(operation="update", pks=[item.pk, str(other.pk)])
            scope = tag_scope(connection)
            rows = {row_tag(scope, "testapp_item", pk) for pk in (item.pk, other.pk)}
            assert tracker_of(connection).pending == {any_write_tag(scope, "testapp_item"), *rows}  # type: ignore[union-attr]

    @pytest.mark.parametrize("pks", [None, range(501), ["what?"]])
    def test_it_takes_the_table_where_they_were_not(self, item: Item, pks: Any) -> None:
        with transaction.atomic():
            self.send(operation="update", pks=pks)
            assert tracker_of(connection).pending == whole_table()  # type: ignore[union-attr]

    def test_it_takes_no_row_for_new_ones(self, item: Item) -> None:
        with transaction.atomic():
            self.send(operation="insert", pks=None)
            assert tracker_of(connection).pending == {any_write_tag(tag_scope(connection), "testapp_item")}  # type: ignore[union-attr]

    def test_it_takes_nothing_of_models_that_nobody_caches(self, item: Item) -> None:
        with transaction.atomic():
            self.send(operation="update", pks=[1], sender=ItemNote)
            assert tracker_of(connection).pending == set()  # type: ignore[union-attr]

    def test_it_refuses_a_signal_outside_a_transaction(self, item: Item) -> None:
        with pytest.raises(RuntimeError, match="outside the transaction"):
            self.send(operation="update", pks=[item.pk])


@on_postgres
@pytest.mark.parametrize(
    ("sql", "is_open"),
    [
        ("BEGIN; INSERT INTO testapp_itemnote (item_id, text) VALUES (%s, 'a')", True),
        ("INSERT INTO testapp_itemnote (item_id, text) VALUES (%s, 'a'); BEGIN", True),
        ("INSERT INTO testapp_itemnote (item_id, text) VALUES (%s, 'a'); ROLLBACK", False),
    ],
)
def test_a_write_to_another_table_may_begin_and_end_a_transaction(
    item: Item, sql: str, is_open: bool
) -> None:
    tracker = tracker_of(connections["default"])
    assert tracker is not None
    with connection.cursor() as cursor:
        if not is_open:
            cursor.execute("BEGIN")
            cursor.execute("UPDATE testapp_item SET name = 'new' WHERE id = %s", [item.pk])
        cursor.execute(sql.replace("%s", str(item.pk)))
        assert (tracker.visibility.in_transaction, tracker.has_written) == (is_open, is_open)
        assert not tracker.pending
        cursor.execute("ROLLBACK")
    assert name(item.pk) == "old"


@on_postgres
def test_it_sees_what_a_statement_writes_that_was_prepared_by_name(item: Item) -> None:
    with connection.cursor() as cursor:
        cursor.execute("PREPARE change(text) AS UPDATE testapp_item SET name = $1")
        for value in ("first", "second"):
            assert name(item.pk) != value
            cursor.execute(f"EXECUTE change('{value}')")
            assert name(item.pk) == value
        cursor.execute("DEALLOCATE change")


SET = "UPDATE testapp_item SET name ="
HIDDEN_BEGINS = {
    "behind comments": f"{SET} 'a' -- it's\n; BEGIN; {SET} 'b' -- it's",
    "between quoted names": f"{SET} 'a'; BEGIN; SELECT 1 AS \"it's\"; {SET} 'b'; SELECT 1 AS \"it's\"",
    "between escapes": f"{SET} E'\\''; BEGIN; {SET} E'\\''",
    "between dollars": f"{SET} $$'$$; BEGIN; {SET} $$'$$",
}
"""Texts whose apostrophes do not pair as they seem to."""


@on_postgres
@pytest.mark.parametrize("text", HIDDEN_BEGINS.values(), ids=HIDDEN_BEGINS)
def test_it_keeps_what_a_text_writes_that_begins_a_transaction(item: Item, text: str) -> None:
    assert name(item.pk) == "old"
    with connection.cursor() as cursor:
        cursor.execute(text)
        assert name(item.pk) == Item.plain.get(pk=item.pk).name != "old"
        assert name_in_another_thread(item.pk) == "old"
        cursor.execute("COMMIT")
    assert name(item.pk) == name_in_another_thread(item.pk) == Item.plain.get(pk=item.pk).name != "old"


@on_postgres
def test_it_keeps_what_is_written_when_the_driver_commits_by_itself_no_longer(item: Item) -> None:
    assert name(item.pk) == "old"
    connection.connection.autocommit = False
    try:
        Item.plain.filter(pk=item.pk).update(name="new")
        assert name_in_another_thread(item.pk) == "old"
        connection.commit()
        assert name_in_another_thread(item.pk) == name(item.pk) == "new"
    finally:
        connection.close()


def name_in_another_thread(pk: int) -> str:
    def read() -> str:
        try:
            return name(pk)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(read).result()
