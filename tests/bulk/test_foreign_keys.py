"""Foreign keys checked by set: the same answers as the triggers give, also among other sessions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfkit.bulk import RowIntegrityError, bulk_insert, copy
from perfkit.bulk.foreign_keys import LEAST_ROWS
from tests.testapp.bulk import City, Country, Everything

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.postgres,
    pytest.mark.skipif(connection.vendor != "postgresql", reason="the triggers are PostgreSQL's"),
]

PER_ROW = {"BULK_FOREIGN_KEYS_BY_SET": False}
SHOUT = """
    CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN NEW.name = upper(NEW.name); RETURN NEW; END $$
"""
SHOUTING = f"""
    {SHOUT};
    CREATE TRIGGER shouting BEFORE INSERT ON testapp_city FOR EACH ROW EXECUTE FUNCTION shout()
"""
QUIET = "DROP FUNCTION shout() CASCADE"


@pytest.fixture(autouse=True)
def a_copy_for_each_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy, "FIRST_BYTES", 0)


def cities(*codes: str, start: int = 0, count: int = LEAST_ROWS) -> list[dict[str, Any]]:
    """Return so many rows that refer to `codes` in turn."""
    return [
        {"name": f"n{number}", "country_id": codes[number % len(codes)]}
        for number in range(start, start + count)
    ]


def execute(sql: str, using: BaseDatabaseWrapper = connection) -> Any:
    with using.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone() if cursor.description else None


def replication_role() -> str:
    return execute("SHOW session_replication_role")[0]


@contextmanager
def altered(change: str, undo: str) -> Iterator[None]:
    execute(change)
    try:
        yield
    finally:
        execute(undo)


@contextmanager
def path_taken() -> Iterator[Callable[[], bool]]:
    """Yield what tells whether keys were checked by set."""
    with CaptureQueriesContext(connection) as captured:
        yield lambda: any("FOR KEY SHARE" in query["sql"] for query in captured.captured_queries)


@pytest.fixture(autouse=True)
def countries() -> None:
    Country.objects.bulk_create([Country(code="PE"), Country(code="CL")])


@pytest.fixture
def other() -> Iterator[BaseDatabaseWrapper]:
    """A second session on the same database."""
    second = connection.copy()
    second.inc_thread_sharing()
    second.ensure_connection()
    yield second
    second.close()


@pytest.fixture
def beside() -> Iterator[Callable[..., Future[Any]]]:
    """Runs a call in a thread, whose own connection is closed after it."""

    def run(call: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return call(*arguments)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        yield lambda call, *arguments: pool.submit(run, call, *arguments)


def wait_for_lock(using: BaseDatabaseWrapper, waiting: str) -> None:
    """Return once a session whose statement is like `waiting` waits for a lock of another; fail after a while."""
    pause = threading.Event()
    for _ in range(1000):
        execute("SELECT pg_stat_clear_snapshot()", using)  # inside a transaction the view stands still
        found = execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
            f"AND query LIKE '{waiting}' AND cardinality(pg_blocking_pids(pid)) > 0",
            using,
        )
        if found[0]:
            return
        pause.wait(0.01)
    pytest.fail(f"nothing like {waiting} waits")


def test_it_writes_what_bulk_create_writes():
    rows = cities("PE", "CL", count=2 * LEAST_ROWS + 7)
    City.objects.bulk_create([City(**row) for row in rows])
    expected = list(City.objects.order_by("pk").values_list("name", "country"))
    City.objects.all().delete()
    with path_taken() as is_by_set:
        result = bulk_insert(City, iter(rows), chunk_rows=LEAST_ROWS)
    assert is_by_set()
    assert result.method == "copy"
    assert list(City.objects.order_by("pk").values_list("name", "country")) == expected


@pytest.mark.parametrize("is_by_set", [True, False])
def test_it_looks_once_at_the_referenced_table_instead_of_once_per_row(settings, is_by_set):
    settings.PERFKIT = {"BULK_FOREIGN_KEYS_BY_SET": is_by_set}
    scans = []

    def look(_written: int) -> None:
        scans.append(
            execute(
                "SELECT seq_scan + idx_scan FROM pg_stat_xact_user_tables WHERE relname = 'testapp_country'"
            )
        )

    bulk_insert(City, cities("PE", "CL"), chunk_rows=LEAST_ROWS, progress=look)
    ((count,),) = scans
    assert count <= 2 if is_by_set else count == LEAST_ROWS  # before 18 one for each distinct value


@pytest.mark.parametrize("chunks", [1, 3])
def test_it_asks_once_about_the_table_and_once_per_chunk_about_the_keys(chunks):
    with CaptureQueriesContext(connection) as captured:
        bulk_insert(City, cities("PE", "CL", count=chunks * LEAST_ROWS), chunk_rows=LEAST_ROWS)
    asked = [query["sql"].split()[0] for query in captured.captured_queries if query["sql"] != "COMMIT"]
    before, each = ["BEGIN", "SET", "SELECT", "SELECT", "LOCK", "SELECT", "SELECT"], ["SELECT", "COPY"]
    assert asked == before + chunks * each


def test_it_leaves_few_rows_to_the_triggers():
    with path_taken() as is_by_set:
        bulk_insert(City, cities("PE", count=LEAST_ROWS - 1))
    assert not is_by_set()


def test_it_checks_instances_and_returns_their_ids():
    with path_taken() as is_by_set:
        ids = bulk_insert(City, [City(**row) for row in cities("PE", "CL")], return_ids=True).ids
    assert is_by_set()
    assert ids == list(City.objects.order_by("pk").values_list("pk", flat=True))


@pytest.mark.parametrize("codes", [[None], [None, "PE"]])
def test_it_lets_null_refer_to_nothing(codes):
    rows = [{"country_id": codes[each % len(codes)]} for each in range(LEAST_ROWS)]
    assert bulk_insert(Everything, rows).rows == LEAST_ROWS
    assert Everything.objects.filter(country=None).count() == LEAST_ROWS // len(codes)


@pytest.mark.parametrize("code", ["ZZ", "Z\0", "\ud800"])
@pytest.mark.parametrize("first_chunk", [0, 1])
def test_it_refuses_what_the_triggers_refuse_with_the_same_error(settings, code, first_chunk):
    rows = cities("PE", "CL", count=2 * LEAST_ROWS)
    rows[first_chunk * LEAST_ROWS + 3]["country_id"] = code
    told = []
    for setting in ({}, PER_ROW):
        settings.PERFKIT = setting
        with pytest.raises(Exception, match=r"^Row \d+ ") as caught:
            bulk_insert(City, rows, chunk_rows=LEAST_ROWS)
        told.append((type(caught.value), caught.value.row_number, caught.value.field, str(caught.value)))
        assert replication_role() == "origin"
        assert not City.objects.exists()
    assert told[0] == told[1]
    if code == "ZZ":
        assert told[0][:3] == (RowIntegrityError, first_chunk * LEAST_ROWS + 3, "country")


def test_it_turns_the_triggers_on_again_after_each_chunk_and_after_a_failure():
    roles: list[str] = []
    rows = cities("PE", count=2 * LEAST_ROWS)
    rows[-1]["name"] = rows[-2]["name"]  # not unique
    with pytest.raises(RowIntegrityError) as caught:
        bulk_insert(City, rows, chunk_rows=LEAST_ROWS, progress=lambda _: roles.append(replication_role()))
    assert roles == ["origin"]
    assert replication_role() == "origin"
    assert caught.value.row_number == len(rows) - 1
    assert bulk_insert(City, rows[:-1]).rows == len(rows) - 1
    with pytest.raises(IntegrityError):
        City.objects.create(name="Nowhere", country_id="ZZ")


def test_it_asks_again_for_every_chunk_because_the_callers_code_may_delete_between():
    def rows() -> Iterator[dict[str, Any]]:
        yield from cities("PE")
        Country.objects.get(code="PE").delete()  # and the rows above with it
        yield from cities("PE", start=LEAST_ROWS)

    with pytest.raises(RowIntegrityError) as caught:
        bulk_insert(City, rows(), chunk_rows=LEAST_ROWS)
    assert (caught.value.row_number, caught.value.field) == (LEAST_ROWS, "country")
    assert Country.objects.filter(code="PE").exists()


def test_it_makes_who_deletes_a_referenced_row_wait_for_its_commit(beside, other):
    attempts = []

    def attack(_written: int) -> None:
        if not attempts:
            attempts.append(beside(execute, "DELETE FROM testapp_country WHERE code = 'PE'", other))
            wait_for_lock(connection, "DELETE FROM testapp_country%")

    with path_taken() as is_by_set:
        bulk_insert(City, cities("PE", count=2 * LEAST_ROWS), chunk_rows=LEAST_ROWS, progress=attack)
    assert is_by_set()
    with pytest.raises(IntegrityError, match="still referenced"):
        attempts[0].result(timeout=60)
    assert City.objects.filter(country__code="PE").count() == 2 * LEAST_ROWS


@pytest.mark.parametrize("change", ["DELETE FROM testapp_country", "UPDATE testapp_country SET code = 'XX'"])
@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_it_waits_for_who_takes_a_referenced_row_away(beside, other, change, end):
    execute("BEGIN", other)
    execute(f"{change} WHERE code = 'CL'", other)
    load = beside(bulk_insert, City, cities("PE", "CL"))
    wait_for_lock(other, "SELECT (SELECT count(%FOR KEY SHARE%")
    execute(end, other)
    if end == "ROLLBACK":
        assert load.result(timeout=60).rows == LEAST_ROWS
        return
    with pytest.raises(RowIntegrityError) as caught:
        load.result(timeout=60)
    assert (caught.value.row_number, caught.value.field) == (1, "country")
    assert not City.objects.exists()


def test_it_does_not_wait_for_who_changes_something_else_of_a_referenced_row(other):
    execute("BEGIN", other)
    execute("UPDATE testapp_country SET name = 'Peru' WHERE code = 'PE'", other)
    assert bulk_insert(City, cities("PE")).rows == LEAST_ROWS
    execute("COMMIT", other)
    assert Country.objects.get(code="PE").name == "Peru"


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    places=st.dictionaries(
        st.integers(0, 3 * LEAST_ROWS - 1), st.sampled_from(["CL", "ZZ", "YY", None, "pe", ""]), max_size=4
    ),
    chunk_rows=st.sampled_from([LEAST_ROWS, 2 * LEAST_ROWS, 5 * LEAST_ROWS]),
)
def test_it_ends_as_with_the_triggers(settings, places, chunk_rows):
    rows = [{"country_id": places.get(each, "PE"), "whole": each} for each in range(3 * LEAST_ROWS)]
    ends = []
    for setting in ({}, PER_ROW):
        settings.PERFKIT = setting
        try:
            ends.append(("written", bulk_insert(Everything, rows, chunk_rows=chunk_rows).rows))
            assert list(Everything.objects.order_by("pk").values("country_id", "whole")) == rows
            Everything.objects.all().delete()
        except RowIntegrityError as error:
            ends.append((error.row_number, error.field))
            assert not Everything.objects.exists()
    assert ends[0] == ends[1]


# What only the triggers can check.


def test_it_lets_a_trigger_of_yours_fire():
    with altered(SHOUTING, QUIET), path_taken() as is_by_set:
        bulk_insert(City, cities("PE"))
    assert not is_by_set()
    assert City.objects.filter(name="N7").exists()


def test_it_lets_a_deferrable_unique_constraint_be_checked():
    add = "ALTER TABLE testapp_city ADD CONSTRAINT late UNIQUE (population, name) DEFERRABLE"
    rows = cities("PE", "CL")
    rows[1]["name"] = rows[0]["name"]
    with altered(add, "ALTER TABLE testapp_city DROP CONSTRAINT late"), pytest.raises(RowIntegrityError):
        bulk_insert(City, rows)
    assert not City.objects.exists()


def test_it_lets_a_default_be_checked_that_refers_to_nothing():
    add = "ALTER TABLE testapp_city ADD extra varchar(2) REFERENCES testapp_country, ALTER extra SET DEFAULT 'ZZ'"
    with (
        altered(add, "ALTER TABLE testapp_city DROP extra"),
        path_taken() as is_by_set,
        pytest.raises(RowIntegrityError),
    ):
        bulk_insert(City, cities("PE"))
    assert not is_by_set()


CITY = "ALTER TABLE testapp_city"
PAIR = f"""
    CREATE TABLE pair (a int, b int, UNIQUE (a, b));
    {CITY} ADD extra int, ADD more int, ADD FOREIGN KEY (extra, more) REFERENCES pair (a, b)
"""
SEVEN = f"""
    CREATE FUNCTION seven() RETURNS int LANGUAGE sql AS 'SELECT 7';
    {CITY} ADD extra int DEFAULT seven()
"""
LONG = f"CREATE TABLE long (id bigint PRIMARY KEY); {CITY} ADD extra int REFERENCES long"
PARTS = f"""
    CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY RANGE (id);
    {CITY} ADD extra int REFERENCES parts
"""
AGAIN = f"{CITY} ADD CONSTRAINT again FOREIGN KEY (country_id) REFERENCES testapp_country NOT VALID"
LOCKED = "ALTER TABLE testapp_country {} ROW LEVEL SECURITY"
ISOLATED = "SET default_transaction_isolation = 'repeatable read'"

UNUSUAL = {
    "a trigger that always fires": (f"{SHOUTING}; {CITY} ENABLE ALWAYS TRIGGER shouting", QUIET),
    "a trigger on replicas": (f"{SHOUTING}; {CITY} ENABLE REPLICA TRIGGER shouting", QUIET),
    "a default of your own code": (SEVEN, f"{CITY} DROP extra; DROP FUNCTION seven"),
    "an inheriting table": ("CREATE TABLE village () INHERITS (testapp_city)", "DROP TABLE village"),
    "a composite key": (PAIR, f"{CITY} DROP extra, DROP more; DROP TABLE pair"),
    "a key of another type": (LONG, f"{CITY} DROP extra; DROP TABLE long"),
    "a key to a partitioned table": (PARTS, f"{CITY} DROP extra; DROP TABLE parts"),
    "row security on a referenced table": (LOCKED.format("ENABLE"), LOCKED.format("DISABLE")),
    "another isolation level": (ISOLATED, "RESET default_transaction_isolation"),
    "silenced triggers": ("SET session_replication_role = replica", "RESET session_replication_role"),
}
USUAL = {
    "a disabled trigger": (f"{SHOUTING}; {CITY} DISABLE TRIGGER shouting", QUIET),
    "a key that old rows may break": (AGAIN, f"{CITY} DROP CONSTRAINT again"),
    "a referring table": ("CREATE TABLE street (city bigint REFERENCES testapp_city)", "DROP TABLE street"),
}


@pytest.mark.parametrize("condition", [*UNUSUAL, *USUAL])
def test_it_checks_by_set_only_what_is_usual(condition):
    change, undo = (UNUSUAL | USUAL)[condition]
    with altered(change, undo):
        with path_taken() as is_by_set:
            assert bulk_insert(City, cities("PE", "CL")).method == "copy"
        assert is_by_set() == (condition in USUAL)
    assert City.objects.count() == LEAST_ROWS


def test_it_leaves_out_a_key_that_is_not_enforced():
    if connection.pg_version < 180_000:
        pytest.skip("keys that are not enforced came with PostgreSQL 18")
    change = """
        CREATE TABLE anything (id int PRIMARY KEY);
        ALTER TABLE testapp_everything ADD CONSTRAINT loose FOREIGN KEY (whole) REFERENCES anything NOT ENFORCED
    """
    undo = "ALTER TABLE testapp_everything DROP CONSTRAINT loose; DROP TABLE anything"
    with altered(change, undo), path_taken() as is_by_set:
        bulk_insert(Everything, [{"whole": each, "country_id": "PE"} for each in range(LEAST_ROWS)])
    assert is_by_set()


def test_it_leaves_keys_to_the_end_of_your_own_transaction():
    with path_taken() as is_by_set, transaction.atomic():
        bulk_insert(City, cities("BO"))
        Country.objects.create(code="BO")
    assert not is_by_set()
    assert City.objects.count() == LEAST_ROWS


@pytest.fixture
def plain_role() -> Iterator[str]:
    """The session runs as a role that may read and fill the tables and nothing else."""
    role = f"{connection.settings_dict['NAME']}_plain"
    execute(f'CREATE ROLE "{role}"')
    execute(f'GRANT SELECT, INSERT ON testapp_city, testapp_country TO "{role}"')
    execute(f'GRANT USAGE ON SEQUENCE testapp_city_id_seq TO "{role}"')
    yield role
    execute("RESET ROLE")
    execute(f'DROP OWNED BY "{role}"; DROP ROLE "{role}"')


@pytest.mark.parametrize(
    ("grants", "expected"),
    [
        ([], False),
        (["UPDATE ON testapp_country"], False),
        (["SET ON PARAMETER session_replication_role"], False),
        (["SET ON PARAMETER session_replication_role", "UPDATE ON testapp_country"], True),
    ],
)
def test_it_needs_the_right_to_silence_triggers_and_to_lock_referenced_rows(plain_role, grants, expected):
    for grant in grants:
        execute(f'GRANT {grant} TO "{plain_role}"')
    execute(f'SET ROLE "{plain_role}"')
    with path_taken() as is_by_set:
        assert bulk_insert(City, cities("PE", "CL")).method == "copy"
    assert is_by_set() == expected
    with pytest.raises(RowIntegrityError):
        bulk_insert(City, cities("ZZ"))
