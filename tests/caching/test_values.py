from __future__ import annotations

import datetime
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection, connections
from hypothesis import example, given
from hypothesis import strategies as st
from psycopg.types.range import Int4Range, Range

from perfkit.caching import values
from perfkit.caching.entries import decoded, encoded
from perfkit.caching.values import MOST_COLUMNS, UnstorableError
from tests.caching.rows import COLUMNS, ROWS, TOKENS, VIENNA, kept
from tests.testapp.models import Item, Sample


class TestExactness:
    @given(ROWS)
    @example([])
    @example([()])
    @example([(), ()])
    @example([(None,), (None,)])
    @example([([],), (None,)])
    @example([([[]],)])
    @example([(1, "x"), (True, None)])
    def test_it_gives_back_the_same_values_of_the_same_types(self, rows: list[tuple[Any, ...]]) -> None:
        kept(rows)

    @pytest.mark.parametrize("name", COLUMNS)
    @given(data=st.data())
    def test_it_keeps_columns_of_every_type(self, name: str, data: st.DataObject) -> None:
        kept([(value,) for value in data.draw(st.lists(st.none() | COLUMNS[name], max_size=5))])

    @pytest.mark.parametrize(
        "value",
        [
            -0.0,
            float("nan"),
            float("-inf"),
            2**64 - 1,
            -(2**63),
            True,
            "",
            "\x00\U0010ffff",
            Decimal("1.500"),
            Decimal("-0E-10"),
            Decimal("1E+131071"),
            Decimal("NaN"),
            Decimal("sNaN123"),
            Decimal("-Infinity"),
            datetime.timedelta.max,
            datetime.timedelta.min,
            datetime.timedelta(days=-1, microseconds=1),
            datetime.datetime.max,  # noqa: DTZ901  # naive on purpose
            datetime.datetime.min,  # noqa: DTZ901  # naive on purpose
            datetime.datetime.max.replace(tzinfo=datetime.UTC),
            datetime.datetime.min.replace(tzinfo=datetime.UTC),
            datetime.datetime(2024, 10, 27, 2, 30, tzinfo=VIENNA),
            datetime.datetime(2024, 10, 27, 2, 30, tzinfo=VIENNA, fold=1),
            datetime.datetime(2024, 10, 27, 2, 30, tzinfo=datetime.UTC, fold=1),
            datetime.datetime(2024, 10, 27, 2, 30, fold=1),  # noqa: DTZ001  # naive on purpose
            datetime.time.max,
            datetime.time(1, tzinfo=datetime.UTC),
            datetime.time(1, fold=1),
            uuid.UUID(int=0),
            b"\x00\xff",
            Range(empty=True),
            Range(None, None, "()"),
            Range(Decimal("1.50"), None, "(]"),
            [],
            [None],
            [[1, None], [None, 2]],
            [Decimal("1.0"), None],
            [1, 1.0, True, "1", b"1", None],
            {"a": [{"b": None}], "": -0.0},
        ],
        ids=repr,
    )
    def test_it_keeps_what_is_hard_to_keep(self, value: Any) -> None:
        kept([(value,)])
        kept([(None, value, 1), (value, value, None)])

    def test_it_returns_rows_of_tuples_whatever_the_driver_made_of_them(self) -> None:
        entry = encoded(([1, "x"], [2, "y"]), TOKENS)
        assert decoded(entry, TOKENS) == [(1, "x"), (2, "y")]

    def test_it_makes_the_mutable_parts_anew(self) -> None:
        rows = [([1, 2], {"a": [1]}, [[1], [2]])]
        entry = kept(rows)
        rows[0][0].append(3)
        for _ in range(2):
            back = decoded(entry, TOKENS)
            assert back == [([1, 2], {"a": [1]}, [[1], [2]])]
            numbers, mapping, nested = back[0]
            numbers.append(3)
            mapping["a"].append(3)
            nested[0].clear()
            back.clear()


class TestRefusal:
    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            (2**64, "value of type int"),
            (-(2**63) - 1, "value of type int"),
            ("lone \ud800 surrogate", "value of type str"),
            (type("Text", (str,), {})("subclass"), "value of type Text"),
            (type("Number", (int,), {})(7), "value of type Number"),
            (memoryview(b"x"), "value of type memoryview"),
            (bytearray(b"x"), "value of type bytearray"),
            (1j, "value of type complex"),
            ((1, 2), "value of type tuple"),
            ({1}, "value of type set"),
            ({1: "x"}, "value of type dict"),
            (object(), "value of type object"),
            (int, "value of type type"),
            (Int4Range(1, 2), "value of type Int4Range"),
            (Range([1], [2]), "value of type list"),
            (
                datetime.time(
                    1,
                    tzinfo=type("Odd", (datetime.tzinfo,), {"utcoffset": lambda *_: datetime.timedelta()})(),
                ),
                "value of type time in a zone of type Odd",
            ),
            (
                datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone(datetime.timedelta(hours=1), "named")),
                "value of type datetime in a zone of type timezone",
            ),
            (
                datetime.datetime(2024, 1, 1, tzinfo=ZoneInfo.no_cache("Europe/Vienna")),
                "value of type datetime in a zone of type ZoneInfo",
            ),
        ],
        ids=lambda value: value if isinstance(value, str) and value.isascii() else type(value).__name__,
    )
    def test_it_says_which_type_would_come_back_changed(self, value: Any, reason: str) -> None:
        for cell in (value, [value], [[value]], {"key": value}):
            with pytest.raises(UnstorableError) as caught:
                encoded([(1, None), (2, cell)], TOKENS)
            assert caught.value.reason == str(caught.value) == reason

    def test_it_refuses_what_is_nested_too_deeply(self) -> None:
        deep: list[Any] = []
        for _ in range(100_000):
            deep = [deep]
        with pytest.raises(UnstorableError, match="nested too deeply"):
            encoded([(deep,)], TOKENS)

    def test_it_refuses_rows_of_different_widths(self) -> None:
        with pytest.raises(ValueError, match="shorter"):
            encoded([(1, 2), (1,)], TOKENS)

    def test_it_refuses_more_columns_than_a_result_has(self) -> None:
        kept([(1,) * MOST_COLUMNS])
        with pytest.raises(UnstorableError, match="size"):
            encoded([(1,) * (MOST_COLUMNS + 1)], TOKENS)


def test_it_does_without_psycopg(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = kept([(Range(1, 2),)])
    monkeypatch.setattr(values, "Range", None)
    kept([(1, "x", None, [[1]])])
    with pytest.raises(UnstorableError, match="value of type Range"):
        encoded([(Range(1, 2),)], TOKENS)
    assert decoded(entry, TOKENS) is None


def selected(sql: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


@pytest.mark.django_db
def test_it_keeps_the_rows_of_a_model() -> None:
    item = Item.plain.create(name="one")
    Sample.plain.create()
    Sample.plain.create(
        whole=-1,
        big=2**63 - 1,
        flag=True,
        real=-1.5e300,
        money=Decimal("1.500000"),
        short="é",
        text="",
        slug="slug",
        path="a/b",
        address="::1",
        key=uuid.UUID(int=7),
        day=datetime.date.max,
        moment=datetime.datetime(2024, 10, 27, 1, 30, 0, 1, tzinfo=datetime.UTC),
        clock=datetime.time.max,
        span=datetime.timedelta(days=-3, microseconds=1),
        blob=b"\x00\xff",
        item=item,
    )
    rows = selected("SELECT * FROM testapp_sample ORDER BY id")
    assert len(rows) == 2
    kept(rows)
    kept(selected("SELECT count(*), sum(whole), avg(real), max(money), min(text), NULL FROM testapp_sample"))
    kept(selected("SELECT id FROM testapp_sample WHERE id < 0"))


LITERALS = {
    "AutoField": "7",
    "BigAutoField": "9223372036854775807",
    "BigIntegerField": "'-9223372036854775808'",
    "BinaryField": r"'\x00ff'",
    "BooleanField": "true",
    "CharField": "'é'",
    "DateField": "'0001-01-01'",
    "DateTimeField": "'2024-10-27 01:30:00.000001+00'",
    "DecimalField": "'-1.500000'",
    "DurationField": "'-3 days 00:00:00.000001'",
    "FileField": "'a/b'",
    "FilePathField": "'a/b'",
    "FloatField": "'-0'",
    "GenericIPAddressField": "'::1'",
    "IPAddressField": "'10.0.0.1'",
    "IntegerField": "7",
    "JSONField": """'{"a": [1, null, 1.50]}'""",
    "PositiveBigIntegerField": "7",
    "PositiveIntegerField": "7",
    "PositiveSmallIntegerField": "7",
    "SlugField": "'slug'",
    "SmallAutoField": "7",
    "SmallIntegerField": "7",
    "TextField": "''",
    "TimeField": "'23:59:59.999999'",
    "UUIDField": "'5d41402a-bc4b-2a76-b971-9d911017c592'",
}
RANGES = ["int4range", "int8range", "numrange", "daterange", "tsrange", "tstzrange"]
SELECTIONS = [
    "'[1,5)'::int4range, 'empty'::int4range, '(,)'::int8range, '[1.5,5.50]'::numrange",
    "'[2024-01-01,2024-02-01)'::daterange, tsrange(now()::timestamp, null), tstzrange(now(), null)",
    "ARRAY['[1,5)'::int4range, NULL, 'empty']",
    *(f"'empty'::{name}, NULL::{name}, ARRAY['(,)'::{name}]" for name in RANGES),
    "'{1,2,NULL}'::int[], '{{1,2},{3,NULL}}'::int[], '{}'::int[], ARRAY[1.50, NULL]",
    """'{"a": [1, null, {"b": 1.5}]}'::json, '[]'::json, ARRAY['{"a": 1}'::json], '1'::jsonb""",
    "'10.0.0.1'::inet, '10.0.0.0/8'::cidr, '08:00:2b:01:02:03'::macaddr, ARRAY['10.0.0.1'::inet]",
    "'NaN'::float8, '-infinity'::float8, 'NaN'::numeric, 'Infinity'::numeric, 1e200::numeric",
    "'12:00+01'::timetz, '12:00+00'::timetz, now()::timestamp, ARRAY[now()]",
    "'1 year'::interval, '1000000 days'::interval, now() - now(), ARRAY['1 day'::interval]",
    "count(*), avg(1), sum(1), array_agg(1), jsonb_agg(1), json_agg(1), string_agg('a', ''), bool_or(true)",
    "'a b'::tsvector, B'101', '(1,2)'::point, 'x'::char(4), 'x'::name, 1::oid",
]


@pytest.mark.postgres
@pytest.mark.django_db
class TestPostgres:
    def test_it_is_tried_with_every_type_of_djangos(self) -> None:
        # A OneToOneField's is its target's; only Django 5.2 still names one.
        assert set(connection.data_types) - {"OneToOneField"} <= set(LITERALS)

    @pytest.mark.parametrize("name", LITERALS)
    def test_it_keeps_a_column_of(self, name: str) -> None:
        parameters = {"max_length": 50, "max_digits": 20, "decimal_places": 6}
        found = connection.data_types[name]
        kind = found(parameters) if callable(found) else found % parameters
        one = f"{LITERALS[name]}::{kind}"
        sql = f"SELECT {one}, NULL::{kind}, ARRAY[{one}, NULL], ARRAY[ARRAY[{one}]], '{{}}'::{kind}[]"
        kept(selected(f"{sql} UNION ALL SELECT NULL, {one}, NULL, NULL, NULL"))

    @pytest.mark.parametrize("selection", SELECTIONS)
    def test_it_keeps_what_else_a_query_returns(self, selection: str) -> None:
        kept(selected(f"SELECT {selection}"))

    def test_it_refuses_what_django_has_no_field_for(self) -> None:
        for selection, kind in [("'{[1,3)}'::int4multirange", "Multirange"), ("row(1, 'a')", "tuple")]:
            with pytest.raises(UnstorableError, match=f"^value of type {kind}$"):
                encoded(selected(f"SELECT {selection}"), TOKENS)

    @pytest.mark.usefixtures("_vienna")
    def test_it_keeps_the_zone_of_the_connection_and_the_fold(self) -> None:
        first, second = ("'2024-10-27 00:30:00+00'::timestamptz", "'2024-10-27 01:30:00+00'::timestamptz")
        rows = selected(f"SELECT {first}, {second}, tstzrange({first}, {second}), ARRAY[{second}], now()")
        assert [moment.fold for moment in rows[0][:2]] == [0, 1]
        assert rows[0][1].tzinfo is VIENNA
        kept(rows)

    @pytest.fixture
    def _vienna(self, db: None) -> Iterator[None]:
        """The connection's own time zone is another than UTC."""
        own = connections["default"]

        def change(zone: str | None) -> None:
            own.settings_dict["TIME_ZONE"] = zone
            for cached in ("timezone", "timezone_name"):
                own.__dict__.pop(cached, None)
            own.ensure_timezone()

        before = own.settings_dict["TIME_ZONE"]
        change("Europe/Vienna")
        yield
        change(before)
