"""Rows of every make: dicts, instances, tuples, objects with named fields."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
import pydantic
import pytest

from perfkit.bulk import bulk_insert, bulk_upsert
from perfkit.errors import RowShapeError, UsageError
from tests.testapp.bulk import City, Computed, Country, Custom

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("countries")]


@dataclass
class DataCity:
    name: str
    country_id: str


@dataclass(slots=True, frozen=True)
class SlottedCity:
    name: str
    country: Country


class StructCity(msgspec.Struct):
    name: str
    country_id: str
    population: int = 3


class PydanticCity(pydantic.BaseModel):
    name: str
    country_id: str


class NamedCity(NamedTuple):
    name: str
    country_id: str


OldNamedCity = namedtuple("OldNamedCity", ["name", "country_id"])  # noqa: PYI024  # the other way to make one

MAKES: dict[str, Any] = {
    "dict": lambda name: {"name": name, "country_id": "PE"},
    "mapping": lambda name: MappingProxyType({"name": name, "country_id": "PE"}),
    "instance": lambda name: City(name=name, country_id="PE"),
    "dataclass": lambda name: DataCity(name, "PE"),
    "dataclass with slots": lambda name: SlottedCity(name, Country.objects.get(code="PE")),
    "msgspec": lambda name: StructCity(name, "PE"),
    "pydantic": lambda name: PydanticCity(name=name, country_id="PE"),
    "NamedTuple": lambda name: NamedCity(name, "PE"),
    "namedtuple": lambda name: OldNamedCity(name, "PE"),
}


def stored() -> list[tuple[Any, ...]]:
    return sorted(City.objects.values_list("name", "country_id"))


@pytest.mark.parametrize("make", MAKES)
def test_it_takes_rows_of_any_make(make: str) -> None:
    rows = [MAKES[make](name) for name in "abc"]
    assert bulk_insert(City, iter(rows), chunk_rows=2).rows == 3
    assert stored() == [("a", "PE"), ("b", "PE"), ("c", "PE")]
    assert bulk_upsert(City, iter(rows), conflict_columns=["name", "country"]).created == 0


def test_it_takes_them_mixed() -> None:
    rows = [make(str(number)) for number, make in enumerate(MAKES.values())]
    bulk_insert(City, rows)
    assert stored() == sorted((str(number), "PE") for number in range(len(MAKES)))
    assert City.objects.get(name="5").population == 3


def test_it_takes_tuples_whose_fields_are_named_once() -> None:
    rows = [("a", "PE"), ("b", "CL")]
    bulk_insert(City, rows, fields=["name", "country_id"])
    assert stored() == [("a", "PE"), ("b", "CL")]
    result = bulk_upsert(
        City,
        [("a", "PE", 5)],
        fields=["name", "country_id", "population"],
        conflict_columns=["name", "country"],
    )
    assert (result.updated, City.objects.get(name="a").population) == (1, 5)


def test_objects_of_one_field() -> None:
    @dataclass
    class Code:
        code: str

    bulk_insert(Country, [Code("AR"), Code("BR")])
    assert Country.objects.filter(code__in=["AR", "BR"]).count() == 2


def test_objects_for_a_model_that_saves_itself() -> None:
    @dataclass
    class Priced:
        name: str
        price: float

    bulk_insert(Custom, [Priced("a", 1.5), Priced("b", 2)])
    assert list(Custom.objects.order_by("pk").values_list("name", "price")) == [("A", 1.5), ("B", 2)]


def test_what_the_database_computes_is_not_written() -> None:
    @dataclass
    class Read:
        name: str
        loud: str

    bulk_insert(Computed, [Read("a", "anything")])
    assert Computed.objects.get().loud == "A"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (("a", "PE"), r"is a tuple: say with fields=\[…\]"),
        (object(), "an object with named fields, not an object"),
        (3, "not an int of 2 bits"),
        (["a", "PE"], "not a list of length 2"),
        (DataCity, "not a type"),
    ],
)
def test_it_refuses_others(row: Any, said: str) -> None:
    with pytest.raises(RowShapeError, match=said) as caught:
        bulk_insert(City, [{"name": "a", "country_id": "PE"}, row])
    assert caught.value.row_number == 1
    assert not City.objects.exists()


def test_it_refuses_a_field_that_the_model_has_not() -> None:
    @dataclass
    class Wrong:
        name: str
        nation: str

    with pytest.raises(RowShapeError, match="unknown key 'nation'"):
        bulk_insert(City, [Wrong("a", "PE")])


@pytest.mark.parametrize("length", [1, 3])
def test_it_refuses_a_tuple_of_another_length(length: int) -> None:
    rows: list[Any] = [("a", "PE"), ("b",) * length]
    with pytest.raises(RowShapeError, match=f"has {length} values for 2 fields") as caught:
        bulk_insert(City, rows, fields=["name", "country_id"])
    assert caught.value.row_number == 1


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (["name", "nation"], "unknown key 'nation'"),
        (["name", "name"], "twice"),
        ([], "list of names"),
        ("name", "list"),
    ],
)
def test_it_refuses_wrong_fields(fields: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        bulk_insert(City, [("a", "b")], fields=fields)


def test_a_mapping_of_ones_own() -> None:
    class Lazy(Mapping[str, Any]):
        def __getitem__(self, key: str) -> Any:
            return {"name": "lazy", "country_id": "PE"}[key]

        def __iter__(self) -> Any:
            return iter(["name", "country_id"])

        def __len__(self) -> int:
            return 2

    bulk_insert(City, [Lazy()])
    assert stored() == [("lazy", "PE")]
