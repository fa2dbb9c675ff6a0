"""Querysets of every kind that the room makes objects of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import models
from django.db.models import Count, FilteredRelation, Max, OuterRef, Q, QuerySet, Subquery, Value
from django.db.models.fields.json import KeyTransform
from django.db.models.functions import Cast, Coalesce, Length, TruncDate, Upper

from tests.testapp.bulk import Car, Computed, Custom, Everything, Lonely, ProxyCity, Vehicle
from tests.testapp.caching import Building, Loud, Sample, Signpost, Tower
from tests.testapp.hydration import Speech, Square
from tests.testapp.loading import Book, Person, Profile, Review

Read = Callable[[], QuerySet[Any]]


def all_related(queryset: QuerySet[Any]) -> QuerySet[Any]:
    queryset.query.select_related = True  # select_related() without names warns from Django 6.1 on
    return queryset


READS: dict[str, Read] = {
    "plain": Book.objects.all,
    "one relation": lambda: Book.objects.select_related("publisher"),
    "relations that are NULL": lambda: Book.objects.select_related("editor__mentor", "publisher"),
    "all relations": lambda: all_related(Review.objects.all()),
    "four levels": lambda: Review.objects.select_related("book__editor__mentor__mentor", "critic__mentor"),
    "reverse one-to-one": lambda: Person.objects.select_related("its_profile"),
    "reverse below forward": lambda: Review.objects.select_related("critic__its_profile"),
    "forward one-to-one": lambda: Profile.objects.select_related("person__mentor"),
    "filtered relation": lambda: Person.objects.annotate(
        home=FilteredRelation("its_profile", condition=Q(its_profile__city="Rome"))
    ).select_related("home"),
    "only": lambda: Book.objects.only("title"),
    "only the key": lambda: Book.objects.only("pk"),
    "defer": lambda: Book.objects.defer("title", "editor"),
    "defer all relations": lambda: Review.objects.defer("book", "critic"),
    "only across relations": lambda: Review.objects.select_related("book__publisher").only(
        "stars", "book__publisher__name"
    ),
    "defer across relations": lambda: Review.objects.select_related("book", "critic").defer(
        "stars", "book__title", "critic__mentor"
    ),
    "annotations": lambda: Book.objects.annotate(
        loud=Upper("title"), length=Length("title"), known=Value(7), author_count=Count("authors")
    ),
    "annotations and relations": lambda: Book.objects.select_related("publisher", "editor").annotate(
        best=Max("review__stars"), none=Value(None, output_field=models.IntegerField())
    ),
    "annotation that a property takes": lambda: Speech.objects.annotate(length=Length("text")),
    "extra": lambda: Book.objects.extra(select={"one": "1"}).select_related("publisher"),
    "subquery": lambda: Person.objects.annotate(
        best=Subquery(Review.objects.filter(critic=OuterRef("pk")).order_by("-stars").values("stars")[:1])
    ),
    "distinct with another order": lambda: Book.objects.order_by("publisher__name").distinct(),
    "union": lambda: Book.objects.filter(pk__lt=2).union(Book.objects.filter(pk__gte=2)),
    "nothing": Book.objects.none,
    "child": Car.objects.all,
    "child with deferred parent column": lambda: Car.objects.defer("wheels"),
    "children of a parent": lambda: Vehicle.objects.select_related("car"),
    "children of a parent, deferred": lambda: Vehicle.objects.select_related("car").only("car__vehicle_ptr"),
    "parent of a child": lambda: Tower.objects.select_related("building_ptr"),
    "cached parent": lambda: Building.objects.select_related("tower"),
    "proxy": lambda: ProxyCity.objects.select_related("country"),
    "key that is a relation": lambda: Signpost.objects.select_related("shelf"),
    "every type": lambda: Everything.objects.select_related("country"),
    "files and NULLs": lambda: Sample.objects.select_related("item"),
    "converted by its field": Custom.objects.all,
    "generated": Computed.objects.all,
    "nothing but a key": Lonely.objects.all,
    "composite key": Square.objects.all,
    "composite key, deferred": lambda: Square.objects.only("pk"),
    "own from_db": lambda: Loud.objects.select_related("speech__speaker"),
    "own from_db below": lambda: Speech.objects.select_related("loud", "speaker"),
    "own from_db below, deferred": lambda: Speech.objects.select_related("loud").only("text", "loud__id"),
    "converted annotations": lambda: Everything.objects.annotate(
        inner=KeyTransform("a", "document"),
        total=Coalesce("money", Value(0), output_field=models.DecimalField()),
        as_real=Cast("whole", models.FloatField()),
        latest=Subquery(Everything.objects.order_by("-moment").values("moment")[:1]),
        which=Coalesce("key", "key"),
        date=TruncDate("moment"),
    ),
    "values": Everything.objects.values,
    "values of relations": lambda: Book.objects.values("title", "editor__mentor__name", "editor_id"),
    "values with expressions": lambda: Book.objects.values("pk", loud=Upper("title")).annotate(n=Count("authors")),
    "values with extra": lambda: Book.objects.extra(select={"one": "1"}).values("title", "one"),
    "values, all, with extra": lambda: Book.objects.extra(select={"one": "1"}).annotate(two=Value(2)).values(),
    "values of composite key": lambda: Square.objects.values("piece", "pk", "row"),
    "values_list": lambda: Everything.objects.values_list("document", "span", "key"),
    "values_list of all": Everything.objects.values_list,
    "values_list of composite key": lambda: Square.objects.values_list("pk", "piece"),
    "flat": lambda: Everything.objects.values_list("document", flat=True),
    "flat composite key": lambda: Square.objects.values_list("pk", flat=True),
    "grouped": lambda: Book.objects.values("publisher").annotate(n=Count("pk")).order_by("n", "publisher"),
}  # fmt: skip


def in_order(read: Read) -> QuerySet[Any]:
    queryset = read()
    return queryset if queryset.query.order_by else queryset.order_by("pk")
