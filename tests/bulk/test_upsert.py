"""`bulk_upsert`: it is as if row came after row, whatever the chunks, the database and the way."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from unittest import mock

import pytest
from django.db import DataError, IntegrityError, connection
from django.db.models import F, Q, Value
from django.db.models.functions import Lower, Upper
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfkit.bulk import Excluded, RowDataError, RowIntegrityError, UpsertedRow, bulk_upsert, staging
from perfkit.errors import RowShapeError, UsageError
from tests.bulk.everything import IS_POSTGRESQL
from tests.bulk.everything import VALUES as EVERYTHING
from tests.bulk.everything import stored as everything_stored
from tests.testapp.bulk import (
    City,
    Computed,
    Country,
    Custom,
    Everything,
    Keyed,
    Late,
    Node,
    Odd,
    Priced,
    ProxyCity,
    Slot,
    Stamped,
    Stock,
    Subscriber,
)

pytestmark = pytest.mark.django_db

FAST = {"unnest", "staged", "staged+unnest", ""} if IS_POSTGRESQL else {"upsert", ""}
KEY = ["shop", "sku"]
FIELDS = ("amount", "note", "price", "tags", "state")
DEFAULTS = {"amount": 7, "note": None, "price": None, "tags": None, "state": "new"}

VALUES = {
    "amount": st.integers(0, 3),
    "note": st.none() | st.sampled_from(["", "a", "\\N", "é"]) | st.just("expression"),
    "price": st.none() | st.sampled_from([Decimal("1.00"), Decimal("2.50")]),
    "tags": st.none() | st.sampled_from([[], {"a": 1}]),
    "state": st.sampled_from(["new", "old"]),
}
ROWS = st.lists(
    st.fixed_dictionaries(
        {"shop": st.none() | st.sampled_from(["A", "B"]), "sku": st.integers(0, 2)}, optional=VALUES
    ),
    max_size=10,
)
UPDATES: list[Any] = [
    None,
    [],
    ["amount"],
    ["note", "tags"],
    {"amount": F("amount") + Excluded("amount"), "note": Excluded("note")},
    {"state": "seen"},
]
WHERES = [None, Q(amount__lt=Excluded("amount")), Q(state="new") | Q(note__isnull=True)]


class Table:
    """What the table should hold, by the plainest means."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def upsert(self, row: dict[str, Any], updates: Any, where: Q | None, skip_unchanged: bool) -> str:
        there = next((each for each in self.rows if self.is_same(each, row)), None)
        if there is None:
            self.rows.append(DEFAULTS | row)
            return "created"
        new = DEFAULTS | row
        if isinstance(updates, Mapping):
            changes = {
                "amount": there["amount"] + new["amount"] if "amount" in updates else there["amount"],
                "note": new["note"] if "note" in updates else there["note"],
                "state": "seen" if "state" in updates else there["state"],
            }
        else:
            names = [name for name in row if name not in KEY] if updates is None else updates
            changes = {name: new[name] for name in names}
        may_change = (
            where is None
            or (where == WHERES[1] and there["amount"] < new["amount"])
            or (where == WHERES[2] and (there["state"] == "new" or there["note"] is None))
        )
        is_unchanged = all(there[name] == value for name, value in changes.items())
        if not changes or not may_change or (skip_unchanged and is_unchanged):
            return "untouched"
        there.update(changes)
        return "updated"

    @staticmethod
    def is_same(one: dict[str, Any], other: dict[str, Any]) -> bool:
        return one["shop"] is not None and (one["shop"], one["sku"]) == (other["shop"], other["sku"])

    def sorted(self) -> list[tuple[str, ...]]:
        return sorted(tuple(map(repr, (row[name] for name in (*KEY, *FIELDS)))) for row in self.rows)


def stored() -> list[tuple[str, ...]]:
    return sorted(tuple(map(repr, row)) for row in Stock.objects.values_list(*KEY, *FIELDS))


def as_sent(row: dict[str, Any], *, as_instance: bool) -> Any:
    sent = {
        name: Lower(Value("EXPRESSION")) if value == "expression" else value for name, value in row.items()
    }
    return Stock(**sent) if as_instance else sent


@settings(
    max_examples=200,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
)
@given(
    before=ROWS,
    rows=ROWS,
    updates=st.sampled_from(UPDATES),
    where=st.sampled_from(WHERES),
    skip_unchanged=st.booleans(),
    chunk_rows=st.integers(1, 11),
    return_rows=st.booleans(),
    as_instances=st.booleans(),
    fewest_staged=st.sampled_from([1, 3, 300]),
)
def test_it_is_as_if_row_came_after_row(
    before: list[dict[str, Any]],
    rows: list[dict[str, Any]],
    updates: Any,
    where: Q | None,
    skip_unchanged: bool,
    chunk_rows: int,
    return_rows: bool,
    as_instances: bool,
    fewest_staged: int,
) -> None:
    Stock.objects.all().delete()
    table = Table()
    for row in before:
        if table.upsert(row, [], None, skip_unchanged=False) == "created":
            Stock.objects.create(**row)
    if as_instances:
        rows = [DEFAULTS | row for row in rows]
    outcomes = [table.upsert(row, updates, where, skip_unchanged) for row in rows]
    sent = [as_sent(row, as_instance=as_instances) for row in rows]
    with mock.patch.object(staging, "FEWEST_STAGED", fewest_staged):
        result = bulk_upsert(
            Stock,
            iter(sent),
            conflict_columns=KEY,
            update_columns=updates,
            where=where,
            skip_unchanged=skip_unchanged,
            chunk_rows=chunk_rows,
            return_rows=return_rows,
        )
    assert stored() == table.sorted()
    counts = (result.created, result.updated, result.untouched)
    assert counts == tuple(map(outcomes.count, ("created", "updated", "untouched")))
    assert result.rows == len(rows)
    if not any(row.get("note") == "expression" for row in rows):
        assert result.method in FAST
    if return_rows:
        assert result.returned is not None
        assert [each.outcome for each in result.returned] == outcomes
        for row, each in zip(rows, result.returned, strict=True):
            there = Stock.objects.get(pk=each.pk)
            assert (there.shop, there.sku) == (row["shop"], row["sku"])
    if return_rows and as_instances:
        assert [each.pk for each in sent] == [each.pk for each in result.returned or []]


@pytest.fixture
def stocks() -> list[Stock]:
    return [Stock.objects.create(shop="A", sku=number) for number in range(3)]


def upsert(*rows: Any, **options: Any) -> Any:
    return bulk_upsert(Stock, iter(rows), **{"conflict_columns": KEY} | options)


@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    deadline=None,
)
@given(
    rows=st.lists(
        st.tuples(
            st.integers(1, 3),
            st.fixed_dictionaries({}, optional={name: st.none() | each for name, each in EVERYTHING.items()}),
        ),
        max_size=5,
    ),
    as_instances=st.booleans(),
    fewest_staged=st.sampled_from([1, 300]),
)
@pytest.mark.usefixtures("countries")
def test_it_writes_every_field_as_django_does(
    rows: list[tuple[int, dict[str, Any]]], as_instances: bool, fewest_staged: int
) -> None:
    def begin() -> None:
        Everything.objects.all().delete()
        Everything.objects.create(pk=2, text="there")

    begin()
    for pk, values in rows:
        row = (
            {field.attname: None for field in Everything._meta.concrete_fields} | values
            if as_instances
            else values
        )
        row.pop("id", None)
        if Everything.objects.filter(pk=pk).exists():
            if row:
                Everything.objects.filter(pk=pk).update(**row)
        else:
            Everything.objects.bulk_create([Everything(pk=pk, **row)])
    expected = everything_stored()
    begin()
    sent = [Everything(pk=pk, **values) if as_instances else {"pk": pk, **values} for pk, values in rows]
    with mock.patch.object(staging, "FEWEST_STAGED", fewest_staged):
        result = bulk_upsert(Everything, sent, conflict_columns=["id"])
    assert everything_stored() == expected
    assert result.method in FAST


def test_it_refreshes_auto_now_and_keeps_auto_now_add() -> None:
    before = timezone.now() - dt.timedelta(days=9)
    Stamped.objects.create(name="a")
    Stamped.objects.update(created=before, changed=before, day=before.date())
    token = Stamped.objects.get().token
    result = bulk_upsert(Stamped, [{"name": "a", "token": token}, {"name": "b"}], conflict_columns=["name"])
    assert (result.created, result.updated) == (1, 1)
    old, new = Stamped.objects.order_by("name")
    assert (old.created, old.day, old.token) == (before, before.date(), token)
    assert old.changed > before + dt.timedelta(days=8)
    assert new.created > before + dt.timedelta(days=8)


def test_instances_keep_auto_now_add_too() -> None:
    before = timezone.now() - dt.timedelta(days=9)
    old = Stamped.objects.create(name="a")
    Stamped.objects.update(created=before)
    bulk_upsert(Stamped, [Stamped(name="a", token=old.token)], conflict_columns=["name"])
    assert Stamped.objects.get().created == before


def test_what_is_unchanged_is_left_alone_with_its_auto_now(stocks: list[Stock]) -> None:
    Stock.objects.update(changed=(before := timezone.now() - dt.timedelta(days=9)))
    rows = [{"shop": "A", "sku": 0, "amount": 7}, {"shop": "A", "sku": 1, "amount": 8}]
    result = upsert(*rows, skip_unchanged=True)
    assert (result.created, result.updated, result.untouched) == (0, 1, 1)
    same, other = Stock.objects.filter(sku__in=[0, 1]).order_by("sku")
    assert same.changed == before
    assert other.changed > before


def test_a_custom_pre_save_is_honoured() -> None:
    there = Custom.objects.create(name="old", price=1)
    bulk_upsert(Custom, [Custom(pk=there.pk, name="new", price=2.5)], conflict_columns=["pk"])
    row = Custom.objects.get()
    assert (row.name, row.price) == ("NEW", 2.5)


def test_the_database_computes_what_it_computes() -> None:
    there = Computed.objects.create(name="a", state="old")
    rows = [{"id": there.pk, "name": "b"}, {"id": there.pk + 1, "name": "c"}]
    assert bulk_upsert(Computed, rows, conflict_columns=["id"]).method in FAST
    assert list(Computed.objects.order_by("pk").values_list("name", "state", "loud")) == [
        ("b", "old", "B"),
        ("c", "new", "C"),
    ]


def test_a_row_without_a_key_is_new() -> None:
    assert bulk_upsert(Keyed, [{"name": "a"}, Keyed(name="b")], conflict_columns=["id"]).created == 2
    result = bulk_upsert(
        City, [City(name="a", country_id=_country())], conflict_columns=["id"], return_rows=True
    )
    assert result.returned == [UpsertedRow(City.objects.get().pk, "created")]


def test_keys_may_be_foreign_keys_given_as_instances() -> None:
    country = Country.objects.create(code="PE")
    there = City.objects.create(name="Lima", country=country)
    rows = [
        {"name": "Lima", "country": country, "population": 10},
        {"name": "Cusco", "country_id": "PE", "population": 5},
    ]
    result = bulk_upsert(ProxyCity, rows, conflict_columns=["country", "name"], return_rows=True)
    assert (result.created, result.updated) == (1, 1)
    assert result.returned is not None
    assert result.returned[0] == UpsertedRow(there.pk, "updated")
    assert City.objects.get(name="Lima").population == 10


def test_returned_keys_are_as_instances_have_them() -> None:
    there = Keyed.objects.create(name="a")
    rows = [Keyed(id=there.pk, name="b"), Keyed(name="c")]
    result = bulk_upsert(Keyed, rows, conflict_columns=["id"], return_rows=True)
    assert [each.pk for each in result.returned] == [there.pk, rows[1].pk]
    assert not rows[1]._state.adding


def test_more_fields_than_rows_are_found_by_their_own_columns(stocks: list[Stock]) -> None:
    """Each row changes what it gives, and nothing else."""
    upsert(
        {"shop": "A", "sku": 0, "amount": 1},
        {"shop": "A", "sku": 1, "note": "n"},
        {"sku": 2, "shop": "A", "amount": 2, "note": "m"},
        {"shop": "A", "sku": 3},
    )
    assert list(Stock.objects.order_by("sku").values_list("amount", "note")) == [
        (1, None),
        (7, "n"),
        (2, "m"),
        (7, None),
    ]


@pytest.mark.skipif(not IS_POSTGRESQL, reason="SQLite stores decimals as they come")
@pytest.mark.parametrize("count", [2, 400])
def test_keys_that_only_the_database_finds_equal_follow_each_other(count: int) -> None:
    rows = [{"rate": Decimal("1.00")}, {"rate": Decimal("1.04"), "name": "later"}]
    rows += [{"rate": Decimal(number)} for number in range(3, count)]
    result = bulk_upsert(Priced, rows, conflict_columns=["rate"])
    assert (result.created, result.updated) == (len(rows) - 1, 1)
    assert Priced.objects.get(rate=1).name == "later"


@pytest.mark.skipif(not IS_POSTGRESQL, reason="a constraint of PostgreSQL 15")
def test_null_equals_null_where_the_constraint_says_so() -> None:
    rows = [{"day": None, "name": "a"}, {"day": None, "name": "b"}]
    result = bulk_upsert(Slot, rows, conflict_columns=["day"], return_rows=True)
    assert (result.created, result.updated) == (1, 1)
    assert Slot.objects.get().name == "b"
    assert result.returned == [
        UpsertedRow(Slot.objects.get().pk, "created"),
        UpsertedRow(Slot.objects.get().pk, "updated"),
    ]


@pytest.mark.parametrize(
    ("model", "key", "said"),
    [
        (Stock, ["sku"], r"Allowed: \['id'\] or \['shop', 'sku'\]"),
        (Stock, [], "must be a list of names"),
        (Stock, "sku", "must be a list of names"),
        (Stock, ["shop", "skew"], "names 'skew'"),
        (Late, ["name"], r"not those of a unique constraint .* Allowed: \['id'\]"),
    ],
)
def test_it_refuses_what_is_not_unique(model: Any, key: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        bulk_upsert(model, iter(lambda: pytest.fail("a row was read"), 1), conflict_columns=key)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"update_columns": ["amuont"]}, "names 'amuont'.* Did you mean 'amount'"),
        ({"update_columns": ["sku"]}, "names 'sku'"),
        ({"update_columns": ["id"]}, "names 'id'"),
        ({"update_columns": "amount"}, "must be a list of names"),
        ({"update_columns": {"amount": F("amuont")}}, "amuont"),
        ({"update_columns": {"amount": Excluded("amuont")}}, "amuont"),
        ({"where": Q(amuont=1)}, "amuont"),
        ({"chunk_rows": 0}, "chunk_rows"),
    ],
)
def test_it_refuses_wrong_names_before_a_row_is_read(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        bulk_upsert(
            Stock, iter(lambda: pytest.fail("a row was read"), 1), **{"conflict_columns": KEY} | options
        )


def test_it_refuses_where_of_other_tables() -> None:
    with pytest.raises(UsageError, match="Joined"):
        bulk_upsert(City, [], conflict_columns=["id"], where=Q(country__name="Peru"))


@pytest.mark.parametrize("count", [3, 400])
@pytest.mark.parametrize(
    ("bad", "error", "field"),
    [
        ({"amount": "many"}, RowDataError, "amount"),
        ({"amount": 2**31}, RowDataError, "amount"),
        ({"sku": None}, RowIntegrityError, "sku"),
    ],
)
def test_a_bad_row_is_named_and_nothing_is_written(
    stocks: list[Stock], bad: dict[str, Any], error: type[Exception], field: str, count: int
) -> None:
    rows = [{"shop": "A", "sku": number, "amount": 1} for number in range(count)]
    rows[2] |= bad
    if not IS_POSTGRESQL and bad.get("amount") == 2**31:
        pytest.skip("SQLite stores 64 bits in any integer")
    with pytest.raises(error) as caught:
        upsert(*rows)
    assert (caught.value.row_number, caught.value.field) == (2, field)
    assert set(Stock.objects.values_list("amount")) == {(7,)}
    assert upsert({"shop": "A", "sku": 0, "amount": 2}).updated == 1


def test_another_constraint_names_the_row(stocks: list[Stock]) -> None:
    taken = stocks[0].pk
    rows = [{"shop": "B", "sku": 1}, {"id": taken, "shop": "B", "sku": 2}]
    with pytest.raises(IntegrityError) as caught:
        upsert(*rows)
    assert (caught.value.row_number, caught.value.field) == (1, "id")
    assert not Stock.objects.filter(shop="B").exists()


def test_it_names_the_row_whose_shape_is_wrong() -> None:
    with pytest.raises(RowShapeError) as caught:
        upsert({"shop": "A", "sku": 1}, {"shop": "A", "skew": 1})
    assert caught.value.row_number == 1
    assert not Stock.objects.exists()


def test_text_with_a_nul_is_refused() -> None:
    if not IS_POSTGRESQL:
        pytest.skip("SQLite takes it")
    with pytest.raises(DataError) as caught:
        upsert({"shop": "A", "sku": 1, "note": "a"}, {"shop": "A", "sku": 2, "note": "a\0"})
    assert caught.value.row_number == 1


def test_progress_is_told_and_rows_are_read_once() -> None:
    told: list[int] = []
    rows = ({"shop": "A", "sku": number} for number in range(5))
    assert bulk_upsert(Stock, rows, conflict_columns=KEY, chunk_rows=2, progress=told.append).rows == 5
    assert told == [2, 4, 5]


@pytest.mark.skipif(not IS_POSTGRESQL, reason="SQLite asks for each row, inside the process")
@pytest.mark.parametrize(("rows", "most"), [(1, 7), (50, 7), (400, 12)])
def test_queries_do_not_grow_with_rows(rows: int, most: int) -> None:
    with CaptureQueriesContext(connection) as queries:
        upsert(*({"shop": "A", "sku": number} for number in range(rows)))
    assert len(queries) <= most, [each["sql"][:90] for each in queries]


@pytest.mark.skipif(not IS_POSTGRESQL, reason="SQLite has one writer")
def test_only_calls_of_several_statements_take_turns() -> None:
    def waits(**options: Any) -> bool:
        with CaptureQueriesContext(connection) as queries:
            upsert({"shop": "A", "sku": 1}, {"shop": "A", "sku": 2}, **options)
        return any("advisory" in each["sql"] for each in queries)

    assert not waits()
    assert waits(chunk_rows=1)
    assert not waits(chunk_rows=1, take_turns=False)


@pytest.mark.skipif(not IS_POSTGRESQL, reason="PostgreSQL's temporary tables")
def test_it_leaves_no_temporary_table() -> None:
    upsert(*({"shop": "A", "sku": number} for number in range(400)))
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_class WHERE relname LIKE 'perfkit_stage%'")
        assert cursor.fetchone() == (0,)


@pytest.mark.skipif(not IS_POSTGRESQL, reason="PostgreSQL's rights")
def test_it_does_without_the_right_to_temporary_tables(stocks: list[Stock]) -> None:
    with mock.patch.object(staging, "MAY_STAGE_SQL", "SELECT false"):
        result = upsert(*({"shop": "A", "sku": number, "amount": 1} for number in range(400)))
    assert (result.method, result.created, result.updated) == ("unnest", 397, 3)


def test_a_call_within_a_call_shares_the_connection() -> None:
    def rows() -> Any:
        for number in range(800):
            if number % 350 == 0:
                upsert(*({"shop": "B", "sku": each, "amount": number} for each in range(400)))
            yield {"shop": "A", "sku": number, "amount": 1}

    assert bulk_upsert(Stock, rows(), conflict_columns=KEY, chunk_rows=400).created == 800
    assert Stock.objects.filter(shop="A", amount=1).count() == 800
    assert Stock.objects.filter(shop="B", amount=700).count() == 400


def test_a_table_that_refers_to_itself() -> None:
    top = Node.objects.create()
    assert bulk_upsert(Node, [{"id": top.pk, "parent_id": top.pk}], conflict_columns=["id"]).updated == 1
    assert Node.objects.get().parent_id == top.pk


def test_expressions_of_a_row_are_computed(stocks: list[Stock]) -> None:
    rows = [
        {"shop": "A", "sku": 0, "note": Upper(Value("loud")), "amount": 3},
        {"shop": None, "sku": 9, "note": Lower(Value("LOW"))},
    ]
    result = upsert(
        *rows, update_columns={"note": Excluded("note"), "amount": F("amount") * Excluded("amount")}
    )
    assert (result.created, result.updated, result.method) == (1, 1, "update")
    assert set(Stock.objects.filter(note__isnull=False).values_list("note", "amount")) == {
        ("LOUD", 21),
        ("low", 7),
    }


def _country() -> str:
    return Country.objects.get_or_create(code="PE")[0].pk


def test_a_null_that_takes_the_place_of_a_value_is_a_change() -> None:
    """Also where an expression elsewhere in the chunk makes Django write it."""
    rows = [
        {"shop": "A", "sku": 0, "note": Lower(Value("LOW")), "tags": {"a": 1}},
        {"shop": "A", "sku": 0, "note": None, "tags": None},
    ]
    result = upsert(
        *rows, update_columns={"note": Excluded("note"), "tags": Excluded("tags")}, skip_unchanged=True
    )
    assert (result.created, result.updated) == (1, 1)
    assert Stock.objects.filter(note=None, tags__isnull=True).exists()


@pytest.mark.parametrize("return_rows", [False, True])
def test_keys_may_be_bytes_and_floats(return_rows: bool) -> None:
    Odd.objects.create(data=b"\xff", number=1.5)
    rows = [{"data": b"\xff", "number": 1.5, "name": "b"}, {"data": b"\xfe", "number": -0.0, "name": "c"}]
    result = bulk_upsert(Odd, rows, conflict_columns=["data", "number"], return_rows=return_rows)
    assert (result.created, result.updated) == (1, 1)
    assert sorted(Odd.objects.values_list("name", flat=True)) == ["b", "c"]
    if return_rows:
        assert [row.outcome for row in result.returned or [] if row] == ["updated", "created"]


@pytest.mark.parametrize("chunk_rows", [1, 10])
def test_rows_that_meet_in_another_constraint_go_in_their_order(chunk_rows: int) -> None:
    Subscriber.objects.bulk_create([Subscriber(code="A", email="x"), Subscriber(code="B", email="y")])
    with pytest.raises(IntegrityError) as caught:
        bulk_upsert(
            Subscriber,
            [{"code": "B", "email": "x"}, {"code": "A", "email": "z"}],
            conflict_columns=["code"],
            chunk_rows=chunk_rows,
        )
    assert caught.value.row_number == 0
    rows = [{"code": "B", "email": "z"}, {"code": "A", "email": "y"}]
    assert bulk_upsert(Subscriber, rows, conflict_columns=["code"], chunk_rows=chunk_rows).updated == 2
    assert set(Subscriber.objects.values_list("code", "email")) == {("A", "y"), ("B", "z")}


@pytest.mark.parametrize("return_rows", [False, True])
def test_a_key_that_the_database_makes_is_compared_too(return_rows: bool) -> None:
    there = Subscriber.objects.create(code="x")
    rows = [{"amount": 1}, {"code": "x", "amount": 2}, {"amount": 3}, {"code": "new"}]
    result = bulk_upsert(Subscriber, rows, conflict_columns=["code"], return_rows=return_rows)
    assert (result.created, result.updated) == (1, 3)
    assert Subscriber.objects.get(code="x").amount == 3
    if return_rows:
        assert [row.pk for row in result.returned[:3]] == [there.pk] * 3


@pytest.mark.parametrize(
    ("where", "updated"), [(Q(pk__in=[]), 0), (~Q(pk__in=[]), 1), (Q(), 1), (Q(amount=7) & ~Q(pk__in=[]), 1)]
)
@pytest.mark.parametrize("note", ["plain", Upper(Value("a"))])
def test_conditions_that_are_always_or_never_true(where: Q, updated: int, note: Any) -> None:
    Stock.objects.create(shop="A", sku=1)
    assert upsert({"shop": "A", "sku": 1, "note": note}, where=where).updated == updated


@pytest.mark.parametrize("note", ["plain", Upper(Value("a"))])
def test_none_for_a_json_field_is_null(note: Any) -> None:
    Stock.objects.create(shop="A", sku=1, tags=[1])
    upsert({"shop": "A", "sku": 1, "note": note}, update_columns={"tags": None})
    assert Stock.objects.filter(tags__isnull=True).count() == 1


def test_a_relation_may_be_set_to_an_instance() -> None:
    chile = Country.objects.create(code="CL")
    city = City.objects.create(name="a", country_id=_country())
    rows = [{"id": city.pk, "name": "a", "country_id": "PE"}]
    bulk_upsert(City, rows, conflict_columns=["id"], update_columns={"country": chile})
    assert City.objects.get().country_id == "CL"
    with pytest.raises(UsageError, match="not saved"):
        bulk_upsert(City, rows, conflict_columns=["id"], update_columns={"country": Country(code=None)})


@pytest.mark.parametrize("fewest_staged", [1, 300])
def test_repeated_keys_keep_their_place_among_others(fewest_staged: int) -> None:
    rows = [
        {"code": "A", "email": "x"},
        {"code": "A", "email": "y"},
        {"code": "B", "email": "x"},
        {"code": "A", "email": "z", "amount": 1},
        {"code": "B", "email": "y"},
    ]
    with mock.patch.object(staging, "FEWEST_STAGED", fewest_staged):
        result = bulk_upsert(Subscriber, rows, conflict_columns=["code"])
    assert (result.created, result.updated) == (2, 3)
    assert set(Subscriber.objects.values_list("code", "email", "amount")) == {("A", "z", 1), ("B", "y", 0)}
