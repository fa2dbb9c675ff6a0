"""Random response schemas, of three libraries, and rows of every kind of relation to make them of."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
import ninja
import pydantic
from django.contrib.auth.models import User
from django.db import models
from hypothesis import strategies as st

from project.flights.models import Airline, Airport, Flight, Plane, StatusReport, Weather
from tests.testapp.loading import Book, Guest, Inn, Label, Person, Place, Profile, Publisher, Review

TO_ONE: Final[dict[type[models.Model], dict[str, type[models.Model]]]] = {
    Book: {"publisher": Publisher, "editor": Person},
    Person: {"mentor": Person, "profile": Profile},
    Profile: {"person": Person},
    Review: {"book": Book, "critic": Person},
    Flight: {"airline": Airline, "plane": Plane, "origin": Airport, "destination": Airport},
    StatusReport: {"flight": Flight, "author": User},
    Weather: {"origin": Airport},
    Place: {"above": Place, "inn": Inn},
    Inn: {"above": Place, "place_ptr": Place},
    Guest: {"inn": Inn, "home": Place},
}
TO_MANY: Final[dict[type[models.Model], dict[str, type[models.Model]]]] = {
    Book: {"authors": Person, "review_set": Review, "labels": Label},
    Publisher: {"books": Book},
    Person: {"pupils": Person, "books": Book, "reviews": Review},
    Flight: {"reports": StatusReport},
    Airline: {"flights": Flight},
    Airport: {"departures": Flight, "arrivals": Flight, "weather": Weather},
    Plane: {"flights": Flight},
    User: {"status_reports": StatusReport},
    Place: {"parts": Place, "dwellers": Guest},
    Inn: {"parts": Place, "guests": Guest},
}
COMPUTED: Final[dict[type[models.Model], list[str]]] = {Book: ["blurb"], Person: ["signature", "shout"]}
CALLED: Final[dict[type[models.Model], list[str]]] = {Book: ["tags"], StatusReport: ["get_kind_display"]}
ROOTS: Final = (Book, Publisher, Person, Review, Flight, Airline, Airport, StatusReport, Place, Inn, Guest)


@st.composite
def schemas(draw: Any, model: type[models.Model], library: str, depth: int = 3) -> type:
    """Draw a schema of some of a model's fields, with schemas of related rows in it, `depth` of them at most."""
    columns = {"pk", *(field.attname for field in model._meta.concrete_fields)} - {"password"}
    names = draw(st.lists(st.sampled_from(sorted(columns)), unique=True, max_size=4))
    fields: dict[str, tuple[Any, Any]] = dict.fromkeys(names, (Any, ...))
    for name in draw(_some(COMPUTED.get(model, []))):
        fields[name] = (Any, ...)
    related = draw(_some(TO_ONE.get(model, {}))) if depth > 1 else []
    for name in related:
        below = draw(schemas(TO_ONE[model][name], library, depth - 1))
        fields[name] = (below | None, None)
    if library == "ninja":
        _add_of_ninja(draw, model, fields, depth)
    if library == "msgspec":
        return msgspec.defstruct(
            f"{model.__name__}{depth}", [(name, *kind) for name, kind in _in_order(fields)]
        )
    base = ninja.Schema if library == "ninja" else FromAttributes
    return pydantic.create_model(f"{model.__name__}{depth}", __base__=base, **fields)


def _add_of_ninja(draw: Any, model: type[models.Model], fields: dict[str, Any], depth: int) -> None:
    for name in draw(_some(CALLED.get(model, []))):
        fields[name] = (Any, ...)
    for name in draw(_some(TO_MANY.get(model, {}))) if depth > 1 else []:
        form = draw(st.sampled_from(["schemas", "count"]))
        if form == "count":
            fields[f"{name}_count"] = (int, ninja.Field(alias=f"{name}.count"))
        else:
            fields[name] = (list[draw(schemas(TO_MANY[model][name], "ninja", depth - 1))], ...)
    for name in draw(_some(TO_ONE.get(model, {}))):
        there = TO_ONE[model][name]
        column = draw(st.sampled_from([field.attname for field in there._meta.concrete_fields]))
        fields[f"{name}_{column}_dotted"] = (Any, ninja.Field(None, alias=f"{name}.{column}"))


def _some(names: Any) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(sorted(names)), unique=True, max_size=2) if names else st.just([])


def _in_order(fields: dict[str, tuple[Any, Any]]) -> list[tuple[str, tuple[Any, ...]]]:
    """Those without a default first, as a Struct wants them."""
    told = [
        (name, (kind,) if default is ... else (kind, default)) for name, (kind, default) in fields.items()
    ]
    return sorted(told, key=lambda each: len(each[1]))


class FromAttributes(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(from_attributes=True)


def as_json(rows: models.QuerySet[Any], schema: type) -> Any:
    """Serialise rows as a view would; lists in an order of their own, as the database promises none."""
    if issubclass(schema, msgspec.Struct):
        made = [msgspec.convert(row, schema, from_attributes=True) for row in rows]
        return _sorted(json.loads(msgspec.json.encode(made)))
    adapter = pydantic.TypeAdapter(list[schema])  # type: ignore[valid-type]
    return _sorted(json.loads(adapter.dump_json([schema.model_validate(row) for row in rows])))


def _sorted(value: Any) -> Any:
    if isinstance(value, list):
        return sorted((_sorted(each) for each in value), key=json.dumps)
    if isinstance(value, dict):
        return {name: _sorted(each) for name, each in value.items()}
    return value


def make_rows() -> None:
    """Make 50 books and 50 flights, the first of each with rows at the end of every relation."""
    _make_books()
    _make_flights()
    _make_inns()


def _make_books() -> None:
    people = [Person.objects.create(name=f"person {number}") for number in range(51)]
    for number, person in enumerate(people):
        person.mentor = people[number - number % 3 + (number + 1) % 3]  # each has a mentor and a pupil
        person.save()
        if number < 40:
            Profile.objects.create(person=person, city=f"city {number}")
    houses = [Publisher.objects.create(name=f"house {number}") for number in range(10)]
    for number in range(51):
        trio = people[number % 17 * 3 : number % 17 * 3 + 3]
        editor = trio[0] if number % 4 != 3 else None
        book = Book.objects.create(title=f"book {number}", publisher=houses[number % 10], editor=editor)
        book.authors.set(trio if number % 5 != 4 else trio[:1])
        for critic in trio:
            Review.objects.create(book=book, critic=critic, stars=number % 6)
        Label.objects.create(target=book, text=f"label {number}")


def _make_flights() -> None:
    users = [User.objects.create(username=f"user {number}") for number in range(5)]
    airlines = [Airline.objects.create(code=f"A{number}", name=f"airline {number}") for number in range(10)]
    airports = [
        Airport.objects.create(
            code=f"P{number}",
            name=f"port {number}",
            latitude=1,
            longitude=2,
            altitude=3,
            utc_offset=-5,
            dst="A",
        )
        for number in range(10)
    ]
    planes = [
        Plane.objects.create(
            tailnum=f"N{number}", type="t", manufacturer="m", model="m", engines=2, seats=number, engine="e"
        )
        for number in range(10)
    ]
    start = datetime(2013, 1, 1, tzinfo=UTC)
    for number in range(51):
        hour = start + timedelta(hours=number)
        date = {"year": 2013, "month": hour.month, "day": hour.day, "hour": hour.hour, "time_hour": hour}
        Weather.objects.create(origin=airports[number % 10], precip=0, visib=number, **date)
        flight = Flight.objects.create(
            airline=airlines[number % 10],
            origin=airports[number % 10],
            destination=airports[0] if number == 0 else airports[(number + 3) % 10] if number % 4 else None,
            plane=planes[number % 10] if number % 5 != 4 else None,
            number=number,
            dest_code="XXX",
            distance=100,
            minute=0,
            sched_dep_time=1,
            sched_arr_time=2,
            **date,
        )
        for kind in StatusReport.Kind.values[: 1 + number % 3]:
            StatusReport.objects.create(flight=flight, author=users[number % 5], kind=kind)


def _make_inns() -> None:
    inns = [
        Inn.objects.create(code=f"c{number}", name=f"inn {number}", stars=number % 6) for number in range(51)
    ]
    for number, inn in enumerate(inns):
        inn.above = inns[number - number % 3 + (number + 1) % 3]  # each is above one and below one
        inn.save()
        Guest.objects.create(inn=inn, home=inn, name=f"guest {number}")
        Place.objects.create(code=f"p{number}", name=f"place {number}", above=inn)
