"""Filters find what the same comparison in Python finds, and refuse what a database would stumble over."""

from __future__ import annotations

import datetime as dt
import logging
import uuid
from decimal import Decimal
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Exists, F, OuterRef, Q
from django.test import Client, override_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ninja import Field, FilterLookup
from pydantic import ValidationError

from perfkit.api import Filters, FromDay, In, Search, ToDay
from perfkit.errors import ListDeclarationError
from project.flights.models import Airport, Flight
from tests.flights.factories import make_flights, make_reference_rows
from tests.testapp.models import Badge, Country, Everything, Indexed, Label, Member

BERLIN = ZoneInfo("Europe/Berlin")
MOMENT = dt.datetime(2013, 3, 31, 0, 30, tzinfo=dt.UTC)  # the night in which clocks go forward
HOURS = [MOMENT + dt.timedelta(hours=hours) for hours in range(-50, 50, 7)]


class EverythingFilters(Filters, model=Everything, unindexed="allow"):
    whole: int | None = None
    wholes: Annotated[list[int] | None, In("whole")] = None
    min_small: Annotated[int | None, FilterLookup("small__gte")] = None
    max_small: Annotated[int | None, FilterLookup("small__lte")] = None
    short: Annotated[str | None, Field(min_length=1)] = None
    shorts: Annotated[list[str] | None, FilterLookup("short__in")] = None
    begins: Annotated[str | None, FilterLookup("text__startswith")] = None
    search: Annotated[str | None, Search("text", "short", least=1)] = None
    has_short: Annotated[bool | None, FilterLookup("short__isnull")] = None
    flag: bool | None = None
    rank: Everything.Rank | None = None
    min_money: Annotated[Decimal | None, FilterLookup("money__gt")] = None
    before: Annotated[dt.datetime | None, FilterLookup("moment__lt")] = None
    day_from: Annotated[dt.date | None, FromDay("moment", BERLIN)] = None
    day_to: Annotated[dt.date | None, ToDay("moment", BERLIN)] = None
    country: Annotated[str | None, FilterLookup("country_id")] = None
    country_name: Annotated[str | None, FilterLookup("country__name__contains")] = None


def contains(value: str | None, part: str) -> bool:
    return value is not None and part.lower() in value.lower()


def cased(value: str) -> str:
    """Return a text as it is compared: to SQLite's LIKE, capital and small letters are the same."""
    return value.lower() if connection.vendor == "sqlite" else value


MEANINGS: dict[str, Any] = {
    "whole": lambda row, value: row.whole == value,
    "wholes": lambda row, value: row.whole in value,
    "min_small": lambda row, value: row.small is not None and row.small >= value,
    "max_small": lambda row, value: row.small is not None and row.small <= value,
    "short": lambda row, value: row.short == value,
    "shorts": lambda row, value: row.short in value,
    "begins": lambda row, value: row.text is not None and cased(row.text).startswith(cased(value)),
    "search": lambda row, value: contains(row.text, value) or contains(row.short, value),
    "has_short": lambda row, value: (row.short is None) is value,
    "flag": lambda row, value: row.flag is value,
    "rank": lambda row, value: row.rank == value,
    "min_money": lambda row, value: row.money is not None and row.money > value,
    "before": lambda row, value: row.moment is not None and row.moment < value,
    "day_from": lambda row, value: row.moment is not None and row.moment.astimezone(BERLIN).date() >= value,
    "day_to": lambda row, value: row.moment is not None and row.moment.astimezone(BERLIN).date() <= value,
    "country": lambda row, value: row.country_id == value,
    "country_name": lambda row, value: row.country is not None and cased(value) in cased(row.country.name),
}
TEXTS = ["a", "b%", "_c", "A\\b", "a'%", '"', "b_"]
texts = st.sampled_from(TEXTS)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "whole": st.integers(-2, 3),
    "wholes": st.lists(st.integers(-2, 3), min_size=1, max_size=4),
    "min_small": st.integers(-2, 0),
    "max_small": st.integers(0, 2),
    "short": texts,
    "shorts": st.lists(texts, min_size=1, max_size=3),
    "begins": texts,
    "search": texts.filter(lambda text: any(map(str.isalnum, text))),
    "has_short": st.booleans(),
    "flag": st.booleans(),
    "rank": st.sampled_from([Everything.Rank.LOW, Everything.Rank.HIGH]),
    "min_money": st.sampled_from([Decimal("1.5"), Decimal("-2.00"), Decimal(3)]),
    "before": st.sampled_from(HOURS),
    "day_from": st.dates(dt.date(2013, 3, 28), dt.date(2013, 3, 31)),
    "day_to": st.dates(dt.date(2013, 3, 31), dt.date(2013, 4, 3)),
    "country": st.sampled_from(["DE", "FR"]),
    "country_name": st.sampled_from(["er", "_", "n"]),
}
given_values = st.sets(st.sampled_from(sorted(VALUES)), max_size=3).flatmap(
    lambda names: st.fixed_dictionaries({name: VALUES[name] for name in sorted(names)})
)


def as_query(value: Any) -> Any:
    """Return a value as a request gives it, and pydantic is given it by ninja."""
    if isinstance(value, list):
        return [",".join(map(str, value))]
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, Everything.Rank):
        return str(value.value)
    return str(value)


@pytest.fixture
def rows(db: None) -> list[Everything]:
    Country.objects.bulk_create([Country(code="DE", name="Germany"), Country(code="FR", name="France")])
    columns: dict[str, list[Any]] = {
        "whole": [None, -2, 0, 1, 3],
        "small": [None, -1, 0, 2],
        "short": [None, *TEXTS, "aB%c"],
        "text": [None, "", *TEXTS, "xb%y", "x_c", "xA\\by", "xxc"],
        "flag": [None, True, False],
        "rank": [None, 1, 2],
        "money": [None, Decimal("1.50"), Decimal("-2.00"), Decimal("1.51")],
        "moment": [None, *HOURS, dt.datetime(2013, 3, 30, 23, tzinfo=dt.UTC)],
        "country_id": [None, "DE", "FR"],
    }
    return Everything.objects.bulk_create(
        Everything(
            **{
                name: values[(number * (place + 3) // (place + 1)) % len(values)]
                for place, (name, values) in enumerate(columns.items())
            }
        )
        for number in range(120)
    )


class TestMeaning:
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
    @given(given_values, st.booleans())
    def test_it_finds_what_python_finds(
        self, rows: list[Everything], values: dict[str, Any], over_http: bool
    ) -> None:
        sent = {name: as_query(value) for name, value in values.items()} if over_http else values
        found = EverythingFilters(**sent).filter(Everything.objects.all())
        countries = Country.objects.in_bulk()
        for row in rows:
            row.country = countries.get(row.country_id)
        expected = {
            row.pk for row in rows if all(MEANINGS[name](row, value) for name, value in values.items())
        }
        assert {row.pk for row in found} == expected

    @given(st.sets(st.sampled_from(sorted(VALUES))), st.data())
    def test_its_form_depends_on_what_is_given_and_never_on_the_values(
        self, names: set[str], data: st.DataObject
    ) -> None:
        def form() -> Any:
            values = {name: data.draw(VALUES[name]) for name in sorted(names)}
            return shape(EverythingFilters(**values).condition())

        assert form() == form()

    def test_nothing_given_is_no_condition(self) -> None:
        assert EverythingFilters().condition() == Q()

    def test_its_condition_is_all_that_is_given(self) -> None:
        filters = EverythingFilters(max_small=5, wholes=[3, 1, 3], search="b%")
        assert filters.condition() == Q(
            ("whole__in", [3, 1]),
            ("small__lte", 5),
            Q(("text__ilike_contains", "b%"), ("short__ilike_contains", "b%"), _connector="OR"),
        )
        assert filters.get_filter_expression() == filters.condition()

    def test_a_day_is_from_midnight_to_before_the_next(self) -> None:
        day = dt.date(2013, 3, 31)  # has 23 hours
        condition = EverythingFilters(day_from=day, day_to=day).condition()
        (_, first), (_, after) = condition.children
        assert [lookup for lookup, _ in condition.children] == ["moment__gte", "moment__lt"]
        assert after.astimezone(dt.UTC) - first.astimezone(dt.UTC) == dt.timedelta(hours=23)

    def test_a_day_without_a_zone_is_one_of_the_current_zone(self) -> None:
        filters = Filters.for_model(Everything, {"since": FromDay("moment")}, unindexed="allow")
        with override_settings(TIME_ZONE="Asia/Tokyo"):
            ((_, since),) = filters(since="2013-07-04").condition().children
            assert since.isoformat() == "2013-07-04T00:00:00+09:00"
        with override_settings(USE_TZ=False):
            ((_, since),) = filters(since="2013-07-04").condition().children
            assert since.isoformat() == "2013-07-04T00:00:00"

    def test_it_keeps_what_ninja_offers(self, rows: list[Everything]) -> None:
        class Own(Filters, model=Everything, unindexed="allow"):
            model_config = {"expression_connector": "OR"}  # pydantic's own
            whole: int | None = None
            positive: Annotated[int | None, FilterLookup("__lte", ignore_none=False)] = None
            either: Annotated[int | None, FilterLookup(["whole", "small"], expression_connector="AND")] = None
            loud: bool | None = None

            def filter_loud(self, value: bool | None) -> Q:
                return Q(short__isnull=value)

        assert Own(whole=1, either=0, loud=True).condition() == (
            Q(whole=1) | Q(positive__lte=None) | (Q(whole=0) & Q(small=0)) | Q(short__isnull=True)
        )

        class Custom(Filters, model=Everything):
            whole: int | None = None
            anything: list[str] | None = None

            def custom_expression(self) -> Q:
                return Q(whole__gt=self.whole)

        assert Custom(whole=1).condition() == Q(whole__gt=1)

    def test_a_method_may_ask_other_tables(self) -> None:
        class Own(Filters, model=Member):
            has_badge: bool | None = None

            def filter_has_badge(self, value: bool | None) -> Q:
                return Q(Exists(Badge.objects.filter(owner=OuterRef("pk")))) if value else Q()

        assert "EXISTS" in str(Own(has_badge=True).filter(Member.objects.all()).query)

    @pytest.mark.postgres
    def test_search_is_ilike_on_postgresql(self) -> None:
        sql = str(EverythingFilters(search="a").filter(Everything.objects.all()).query)
        assert '"text" ILIKE %a%' in sql
        assert "UPPER" not in sql

    def test_search_compares_columns_too(self, rows: list[Everything]) -> None:
        found = Everything.objects.filter(text__ilike_contains=F("short"))
        assert {row.pk for row in found} == {row.pk for row in rows if contains(row.text, row.short or "\0")}


def shape(condition: Any) -> Any:
    if isinstance(condition, Q):
        return (condition.connector, condition.negated, [shape(child) for child in condition.children])
    return condition[0]


LONG = "x" * 10_000
BAD: list[tuple[str, Any, str]] = [
    ("whole", 2**31, "less than or equal to 2147483647"),
    ("whole", "-2147483649", "greater than or equal to -2147483648"),
    ("whole", 10**4000, "less than or equal"),
    ("whole", "one", "valid integer"),
    ("wholes", ["1,2147483648"], "2147483647"),
    ("wholes", ["1,,2"], "'': Input should be a valid integer"),
    ("wholes", ["1", "x"], "'x': Input should be a valid integer"),
    ("wholes", [",".join("1" * 101)], "At most 100 values"),
    ("min_small", 32768, "32767"),
    ("short", "a\x00b", "NUL"),
    ("short", "123456", "at most 5 characters"),
    ("shorts", ["a,123456"], "at most 5 characters"),
    ("shorts", ["a\x00"], "NUL"),
    ("begins", "\x00", "NUL"),
    ("search", "%%%", "at least 1 letters or digits"),
    ("search", "   ", "at least 1 letters or digits"),
    ("search", LONG, "at most 100 characters"),
    ("search", "a\x00b", "NUL"),
    ("has_short", "perhaps", "boolean"),
    ("rank", "3", "1 or 2"),
    ("min_money", "1.555", "decimal places"),
    ("min_money", "12345678901", "digits"),
    ("min_money", "NaN", "finite"),
    ("before", "1372896000", "like 2013-07-04T12:00:00Z"),
    ("before", "0001-01-01T00:00:00Z", "years 1 and 9999"),
    ("before", "9999-12-31T23:59:59-14:00", "years 1 and 9999"),
    ("before", "yesterday", "datetime"),
    ("day_from", "20130704", "like 2013-07-04"),
    ("day_from", "0001-01-01", "years 2 and 9998"),
    ("day_to", "9999-12-31", "years 2 and 9998"),
    ("day_to", "2013-02-30", "date"),
    ("country", "GERMANY", "at most 2 characters"),
]


class TestRefusals:
    @pytest.mark.parametrize(("name", "value", "problem"), BAD)
    def test_it_refuses_what_the_column_cannot_have(self, name: str, value: Any, problem: str) -> None:
        with pytest.raises(ValidationError) as refused:
            EverythingFilters(**{name: value})
        (error,) = refused.value.errors()
        assert error["loc"] == (name,)
        assert problem in error["msg"]

    def test_it_says_each_bad_value_of_a_list(self) -> None:
        with pytest.raises(ValidationError) as refused:
            EverythingFilters(wholes=["1,a", "b"])
        assert [(each["loc"], each["msg"][:4]) for each in refused.value.errors()] == [
            (("wholes",), "'a':"),
            (("wholes",), "'b':"),
        ]

    @pytest.mark.parametrize(
        ("lower", "least", "upper", "most", "problem"),
        [
            ("min_small", 2, "max_small", 1, "min_small is more than max_small"),
            ("day_from", "2013-07-05", "day_to", "2013-07-04", "day_from is after day_to"),
        ],
    )
    def test_it_refuses_a_range_that_ends_before_it_begins(
        self, lower: str, least: Any, upper: str, most: Any, problem: str
    ) -> None:
        with pytest.raises(ValidationError) as refused:
            EverythingFilters(**{lower: least, upper: most})
        (error,) = refused.value.errors()
        assert (error["loc"], error["msg"]) == ((upper,), problem)
        EverythingFilters(**{lower: most, upper: most})
        EverythingFilters(**{lower: most, upper: least})

    def test_ranges_of_several_kinds(self) -> None:
        lookups = {
            "after": "day__gt",
            "until": "day__lte",
            "low": "real__gte",
            "high": "real__lt",
            "early": "clock__gte",
            "late": "clock__lte",
            "short": "span__gte",
            "long": "span__lte",
        }
        filters = Filters.for_model(Everything, lookups, unindexed="allow")
        for lower, upper, least, most in [
            ("after", "until", "2013-07-05", "2013-07-04"),
            ("low", "high", "1.5", "1.25"),
            ("early", "late", "12:00", "11:59"),
            ("short", "long", "PT2H", "PT1H"),
        ]:
            with pytest.raises(ValidationError) as refused:
                filters(**{lower: least, upper: most})
            assert [each["loc"] for each in refused.value.errors()] == [(upper,)]

    def test_without_a_model_it_refuses_what_no_database_takes(self) -> None:
        class Plain(Filters):
            name: str | None = None
            number: int | None = None
            real: float | None = None
            numbers: Annotated[list[int] | None, In("number")] = None

        for name, value in [
            ("name", "\0"),
            ("number", 2**63),
            ("number", -(2**63) - 1),
            ("real", "nan"),
            ("real", "-inf"),
            ("numbers", ["1,9223372036854775808"]),
        ]:
            with pytest.raises(ValidationError) as refused:
                Plain(**{name: value})
            assert [each["loc"] for each in refused.value.errors()] == [(name,)]
        made = Plain(number=2**63 - 1, numbers="1,2")
        assert made.condition() == Q(("number", 2**63 - 1), ("number__in", [1, 2]))

    @pytest.mark.django_db
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
    @given(st.data())
    def test_what_it_takes_the_database_takes(self, db: None, data: st.DataObject) -> None:
        """Whatever text a request has for whatever column: a refusal or rows, and never an error."""
        names = [
            *("small", "whole", "big", "positive", "rank", "size", "short", "slug", "text", "flag", "real"),
            *("money", "day", "clock", "moment", "span", "key", "country"),
        ]
        name = data.draw(st.sampled_from(names))
        endings = {"flag": ["", "__isnull"], "size": ["", "__in"], "rank": ["", "__in"]}
        ending = data.draw(st.sampled_from(endings.get(name, ["", "__in", "__gte", "__lt", "__isnull"])))
        if name in {"moment", "day"}:
            ending = data.draw(st.sampled_from([ending, "__year", "__year__gte", "__month", *DATES[name]]))
        filters = Filters.for_model(Everything, {"q": f"{name}{ending}"}, unindexed="allow")
        value = data.draw(odd_values)
        problems = []
        try:
            list(filters(q=[value] if ending == "__in" else value).filter(Everything.objects.all()))
        except ValidationError as error:
            problems = error.errors()
        assert {each["loc"] for each in problems} <= {("q",)}

    @pytest.mark.parametrize("address", ["1.2.3", "::x", "999.1.1.1", ""])
    def test_what_only_django_knows_it_asks_django(self, address: str) -> None:
        filters = Filters.for_model(Everything, {"address": "address"}, unindexed="allow")
        with pytest.raises(ValidationError):
            filters(address=address)
        assert filters(address=" ::0001").condition() == Q(address="::1")

    def test_a_moment_without_a_zone_is_in_the_current_one(self) -> None:
        with override_settings(TIME_ZONE="Asia/Tokyo"):
            before = EverythingFilters(before="2013-07-04T12:00").before
        assert before.isoformat() == "2013-07-04T12:00:00+09:00"
        with override_settings(USE_TZ=False, TIME_ZONE="Asia/Tokyo"):
            assert EverythingFilters(before="2013-07-04T12:00").before.isoformat() == "2013-07-04T12:00:00"
            assert EverythingFilters(before="2013-07-04T12:00Z").before.isoformat() == "2013-07-04T21:00:00"


DATES = {"moment": ["__date", "__date__gte", "__time__lt"], "day": []}
numbers = st.one_of(
    st.integers(), st.integers(-(2**70), 2**70), st.sampled_from([2**15, 2**31, 2**63, -(2**63), 10**30])
).map(str)
odd_values = st.one_of(
    numbers,
    st.text(),
    st.floats().map(str),
    st.decimals().map(str),
    st.datetimes(timezones=st.timezones()).map(lambda moment: moment.isoformat()),
    st.dates().map(str),
    st.times().map(str),
    st.sampled_from(["00:00Z", "PT1S", "-P999999999D", "P99999999D", "1e400", "0001-01-01T00:00:00+14:00"]),
    st.sampled_from(["9999-12-31T23:59:59.999999-12:00", "true", "0", str(uuid.UUID(int=1)), "s", "DE"]),
)


class TestDeclaration:
    @pytest.mark.parametrize(
        ("annotation", "problem"),
        [
            (Annotated[int | None, FilterLookup("hole")], "no column at 'hole'"),
            (Annotated[int | None, FilterLookup("whole__gtt")], "'gtt' in 'whole__gtt' is neither"),
            (Annotated[str | None, FilterLookup("country__nmae")], "'nmae' in 'country__nmae' is neither"),
            (Annotated[str | None, FilterLookup("whole")], "are str, those of 'whole' are int"),
            (Annotated[str | None, FilterLookup("moment__year")], "are str, those of 'moment__year' are int"),
            (Annotated[str | None, FilterLookup("moment__date__gte")], "those of 'moment__date' are date"),
            (Annotated[str | None, FilterLookup("key")], "are str, those of 'key' are UUID"),
            (
                Annotated[dt.date | None, FilterLookup("moment__gte")],
                "are date, those of 'moment' are datetime",
            ),
            (Annotated[list[int] | None, FilterLookup("whole")], "only a lookup __in takes"),
            (Annotated[int | None, In("whole")], "takes a list"),
            (Annotated[int | None, FilterLookup("whole__isnull")], "takes a bool"),
            (Annotated[list[int] | None, FilterLookup("whole__range")], "__gte and one with __lte"),
            (Annotated[str | None, FilterLookup("short__regex")], "takes the database's time"),
            (Annotated[str | None, Search("whole")], "no column of text"),
            (Annotated[dt.date | None, FromDay("day")], "a column of moments"),
            (Annotated[str | None, FilterLookup("short"), FilterLookup("text")], "two lookups"),
        ],
    )
    def test_it_says_what_cannot_be(self, annotation: Any, problem: str) -> None:
        with pytest.raises(ListDeclarationError) as refused:
            type("Wrong", (Filters,), {"__annotations__": {"it": annotation}, "it": None}, model=Everything)
        assert str(refused.value).startswith("Wrong.it: ")
        assert problem in str(refused.value)

    def test_it_refuses_rows_that_would_come_several_times(self) -> None:
        with pytest.raises(ListDeclarationError, match="over many rows by 'status_reports'"):
            Filters.for_model(User, {"kind": "status_reports__kind"})

    def test_it_refuses_to_refuse_without_a_model(self) -> None:
        with pytest.raises(ListDeclarationError, match="needs model"):

            class Wrong(Filters, unindexed="refuse"):
                whole: int | None = None

    def test_it_takes_the_types_of_the_model(self) -> None:
        lookups = {
            "whole": "whole",
            "sizes": "size__in",
            "rank": "rank",
            "money": "money__gte",
            "key": "key",
            "has_key": "key__isnull",
            "year": "moment__year",
            "on": "moment__date",
            "countries": In("country", most=2),
            "search": Search("text"),
            "since": FromDay("moment"),
        }
        made = Filters.for_model(Everything, lookups, name="Found", unindexed="allow")
        found = {name: info.annotation for name, info in made.model_fields.items()}
        assert found == {
            "whole": int | None,
            "sizes": list[Literal["s", "l"]] | None,
            "rank": Literal[1, 2] | None,
            "money": Decimal | None,
            "key": uuid.UUID | None,
            "has_key": bool | None,
            "year": int | None,
            "on": dt.date | None,
            "countries": list[str] | None,
            "search": str | None,
            "since": dt.date | None,
        }
        assert made.__name__ == "Found"
        with pytest.raises(ListDeclarationError, match=r"Found\.it: .* no column at 'hole'"):
            Filters.for_model(Everything, {"it": "hole"}, name="Found")
        with pytest.raises(ListDeclarationError, match="not known here"):
            Filters.for_model(Everything, {"it": "document"})

    def test_a_subclass_has_its_parents_parameters_and_model(self) -> None:
        class More(EverythingFilters):
            slug: str | None = None

        assert More(slug="a", whole=1).condition() == Q(("whole", 1), ("slug", "a"))
        with pytest.raises(ValidationError):
            More(slug="x" * 51)
        with pytest.raises(ValidationError):
            More(whole=2**40)

    @pytest.mark.django_db
    def test_it_goes_over_relations_to_one_row(self) -> None:
        badges = [
            Badge.objects.create(number=number, owner=Member.objects.create(surname=surname))
            for number, surname in [(1, "Ann"), (2, "Bob"), (None, "Cid")]
        ]
        lone = Member.objects.create(surname="Dora")
        made = Filters.for_model(
            Member,
            {"number": "badge__number", "badge": "badge", "has_badge": "badge__isnull"},
            unindexed="refuse",
        )
        for values, found in [
            ({"number": 2}, ["Bob"]),
            ({"badge": badges[0].pk}, ["Ann"]),
            ({"has_badge": False}, ["Ann", "Bob", "Cid"]),
            ({"has_badge": True}, [lone.surname]),
        ]:
            assert [each.surname for each in made(**values).filter(Member.objects.all())] == found
        with pytest.raises(ValidationError, match="2147483647"):
            made(number=2**31)

    def test_what_is_no_column_is_refused(self) -> None:
        with pytest.raises(ListDeclarationError, match="no column at 'target'"):
            Filters.for_model(Label, {"it": "target"})

    def test_what_is_compared_with_a_whole_list_is_no_value_of_it(self) -> None:
        class Listed(Filters, model=Everything, unindexed="allow"):
            document: Annotated[list[str] | None, FilterLookup("document")] = None

        assert Listed(document="a,{").condition() == Q(document=["a", "{"])

    def test_it_goes_by_aliases(self) -> None:
        class Aliased(Filters, model=Flight, unindexed="refuse"):
            from_: Annotated[int | None, Field(alias="from"), FilterLookup("distance__gte")] = None
            to: Annotated[int | None, FilterLookup("distance__lte")] = None
            airlines: Annotated[set[str] | None, Field(alias="airline"), In("airline_id")] = None

        assert Aliased.model_validate({"airline": ["UA,AA"], "from": "5"}).airlines == {"UA", "AA"}
        for sent, parameter in [
            ({"from": 2**15}, "from"),
            ({"from": 5}, "from"),
            ({"from": 5, "to": 4}, "to"),
        ]:
            with pytest.raises(ValidationError) as refused:
                Aliased.model_validate(sent)
            assert [each["loc"] for each in refused.value.errors()] == [(parameter,)]
        properties = Aliased.json_schema()["properties"]
        assert properties["from"]["maximum"] == 32767
        assert properties["airline"]["items"]["maxLength"] == 2
        assert [each.name for each in Aliased.unserved()] == ["from", "to"]

    def test_values_may_have_the_separator(self) -> None:
        made = Filters.for_model(Everything, {"short": In("short", separator=None)}, unindexed="allow")
        assert made(short=["a,b", "c"]).short == ["a,b", "c"]  # type: ignore[attr-defined]  # made here


BARE_INDEX = 'Declare models.Index(fields=["bare"], name=…).'


class TestUnindexed:
    def test_it_refuses_what_no_index_finds_and_lists_the_others(self) -> None:
        filters = Filters.for_model(
            Indexed, {"bare": "bare", "made": "made__gte", "gone": "gone__isnull"}, unindexed="refuse"
        )
        with pytest.raises(ValidationError) as refused:
            filters(bare=1)
        (error,) = refused.value.errors()
        assert error["loc"] == ("bare",)
        assert error["msg"].endswith("at least one of these too: made, gone")
        assert filters(bare=1, made="2013-07-04T00:00Z").condition()
        assert filters(gone=True).condition()
        with pytest.raises(ValidationError):  # the index has those that are not gone
            filters(gone=False)
        assert filters().condition() == Q()

    @override_settings(DEBUG=True)
    def test_it_tells_once_in_development(self, caplog: pytest.LogCaptureFixture) -> None:
        class Told(Filters, model=Indexed):
            bare: int | None = None
            made: Annotated[dt.datetime | None, FilterLookup("made__gte")] = None

        with caplog.at_level(logging.WARNING, "perfkit.api"):
            Told(made="2013-07-04T00:00Z").filter(Indexed.objects.all())
            Told().filter(Indexed.objects.all())
            assert caplog.messages == []
            for _ in range(2):
                Told(bare=1).filter(Indexed.objects.all())
        assert caplog.messages == [
            "Told: no index of testapp.Indexed finds rows by bare alone. " + BARE_INDEX
        ]

    def test_it_tells_nothing_in_production(self, caplog: pytest.LogCaptureFixture) -> None:
        class Silent(Filters, model=Indexed):
            bare: int | None = None

        Silent(bare=1).filter(Indexed.objects.all())
        assert caplog.messages == []


@pytest.mark.urls("tests.api.views")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", ["/api/found-flights", "/api/async-found-flights"])
class TestOverHttp:
    @pytest.fixture(autouse=True)
    def flights(self) -> None:
        make_flights(3)
        make_flights(1, number=9, airline_id="AA", dep_time=None, dep_delay=None)

    def numbers(self, client: Client, url: str) -> list[int]:
        response = client.get(url)
        assert response.status_code == 200, response.content
        return sorted(item["number"] for item in response.json()["items"])

    def test_it_finds(self, client: Client, path: str) -> None:
        assert self.numbers(client, path) == [1, 2, 3, 9]
        assert self.numbers(client, f"{path}?airline=AA") == [9]
        assert self.numbers(client, f"{path}?airline=AA,UA&number=3,9") == [3, 9]
        assert self.numbers(client, f"{path}?airline=AA&airline=UA&number=1") == [1]
        assert self.numbers(client, f"{path}?cancelled=true") == [9]
        assert self.numbers(client, f"{path}?cancelled=false&number=9") == []
        assert self.numbers(client, f"{path}?to=houst") == [1, 2, 3, 9]
        assert self.numbers(client, f"{path}?to=%25oust%25") == []

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ("number=32768", "number"),
            ("number=1,2,x", "number"),
            ("airline=UA,%00", "airline"),
            ("airline=ABC", "airline"),
            ("to=ho", "to"),
            ("to=%00%00abc", "to"),
            ("min_delay=5&max_delay=4", "max_delay"),
            ("airlin=UA", "airlin"),
        ],
    )
    def test_it_refuses_and_names_the_parameter(
        self, client: Client, path: str, query: str, field: str
    ) -> None:
        response = client.get(f"{path}?{query}")
        assert response.status_code == 422, response.content
        assert [problem["loc"] for problem in response.json()["detail"]] == [["query", field]]


@pytest.mark.urls("tests.api.views")
def test_openapi_shows_what_values_are_held_to() -> None:
    from tests.api.views import api

    parameters = api.get_openapi_schema()["paths"]["/api/found-flights"]["get"]["parameters"]
    shown = {each["name"]: (each["required"], each["schema"]) for each in parameters}
    assert not any(required for required, _ in shown.values())
    schemas = {name: schema for name, (_, schema) in shown.items()}
    assert schemas["number"] == {
        "title": "Number",
        "type": "array",
        "maxItems": 5,
        "items": {"type": "integer", "minimum": -32768, "maximum": 32767},
    }
    assert schemas["airline"]["items"] == {"type": "string", "maxLength": 2, "pattern": r"^[^\x00]*$"}
    assert schemas["min_delay"] == {
        "title": "Min Delay",
        "type": "integer",
        "minimum": 0,
        "maximum": 32767,
        "description": "Minutes.",
    }
    assert schemas["cancelled"]["type"] == "boolean"
    assert schemas["date_from"] == {"title": "Date From", "type": "string", "format": "date"}
    assert (schemas["to"]["minLength"], schemas["to"]["maxLength"]) == (3, 100)
    assert schemas["kind"]["allOf"][0]["enum"] == ["delay", "gate", "cancellation"]
    assert "anyOf" not in str(shown)


@pytest.mark.django_db
def test_a_cached_list_is_told_apart_by_what_is_searched() -> None:
    make_reference_rows()
    filters = Filters.for_model(Airport, {"search": Search("name")})
    for _ in range(2):
        for search, codes in [("ken", ["JFK"]), ("NEW", ["EWR"]), ("usto", ["IAH"]), ("%ken%", [])]:
            found = filters(search=search).filter(Airport.objects.cached())
            assert [airport.code for airport in found] == codes, connection.vendor


def test_the_demo_offers_nothing_without_an_index() -> None:
    from project.flights.api import AirportFilters, FlightFilters, FlightSorting
    from project.flights.reports_api import ReportFilters

    assert Flight in {FlightFilters._model, FlightSorting._model}
    for offered in (AirportFilters, FlightFilters, FlightSorting, ReportFilters):
        assert list(offered.unserved()) == []
