from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.db.models import Count, F, QuerySet
from django.db.models.functions import Lower

from perfkit.api import total_order
from project.flights.models import Airport, Flight, Weather
from tests.testapp.api import Badge


@pytest.mark.parametrize(
    ("queryset", "order"),
    [
        (Flight.objects.all(), ("pk",)),
        (Flight.objects.order_by("-distance"), ("-distance", "-pk")),
        (Flight.objects.order_by(F("dep_delay").desc(nulls_last=True)), ("…", "-pk")),
        (Flight.objects.order_by("airline", "number"), ("airline", "number", "pk")),
        (Flight.objects.order_by("airline__code"), ("airline__code", "pk")),
        (Flight.objects.order_by("?"), ("?", "pk")),
        (Group.objects.order_by(Lower("name")), ("…", "pk")),
        (Permission.objects.order_by("codename"), ("codename", "pk")),
    ],
)
def test_it_appends_the_primary_key_where_rows_can_tie(
    queryset: QuerySet[Any], order: tuple[str, ...]
) -> None:
    got = tuple(term if isinstance(term, str) else "…" for term in total_order(queryset).query.order_by)
    assert got == order


@pytest.mark.parametrize(
    "queryset",
    [
        Flight.objects.order_by("pk"),
        Flight.objects.order_by("-id"),
        Flight.objects.order_by("distance", "-pk"),
        Group.objects.order_by("-name"),
        Group.objects.order_by(F("name").asc()),
        Weather.objects.order_by("origin_id", "time_hour"),
        Airport.objects.all(),  # its Meta.ordering is the primary key
    ],
)
def test_it_leaves_a_total_order_alone(queryset: QuerySet[Any]) -> None:
    assert total_order(queryset) is queryset


def test_it_does_not_trust_a_unique_column_that_may_be_null() -> None:
    assert total_order(Badge.objects.order_by("number")).query.order_by == ("number", "pk")


def test_it_knows_that_a_relation_sorts_by_the_related_rows_own_order() -> None:
    assert total_order(Badge.objects.order_by("owner")).query.order_by == ("owner", "pk")
    assert total_order(Badge.objects.order_by("owner_id")).query.order_by == ("owner_id",)


@pytest.mark.django_db
class TestRows:
    @pytest.fixture(autouse=True)
    def rows(self) -> None:
        staff = [User(username=f"user{index}", first_name=f"name{index % 3}") for index in range(30)]
        User.objects.bulk_create(staff)
        for group in Group.objects.bulk_create(Group(name=f"group{index}") for index in range(4)):
            group.user_set.add(*User.objects.order_by("pk")[: group.pk % 5 + 1])

    @pytest.mark.parametrize(
        "make",
        [
            lambda: User.objects.order_by("first_name"),
            lambda: User.objects.order_by("first_name").reverse(),
            lambda: User.objects.order_by("first_name").values_list("first_name", "username"),
            lambda: User.objects.values_list("first_name").annotate(Count("pk")),
            lambda: User.objects.order_by("first_name").values_list("first_name").annotate(many=Count("pk")),
            lambda: User.objects.values_list("first_name", flat=True).distinct(),
            lambda: User.objects.order_by("first_name").values_list("first_name", "groups__name"),
            lambda: User.objects.filter(groups__isnull=False).order_by("first_name").distinct(),
            lambda: User.objects.annotate(many=Count("groups")).order_by("many"),
            lambda: User.objects.filter(pk__lt=0).union(User.objects.order_by()),
            lambda: User.objects.values_list("first_name").union(User.objects.values_list("last_name")),
            lambda: User.objects.extra(order_by=["first_name"]),
        ],
    )
    def test_its_slices_hold_exactly_the_rows_of_the_queryset(
        self, make: Callable[[], QuerySet[Any, Any]]
    ) -> None:
        queryset = make()
        ordered = total_order(queryset)
        rows = list(queryset)
        slices = [ordered[start : start + 7] for start in range(0, len(rows), 7)]
        assert sorted(map(repr, [row for part in slices for row in part])) == sorted(map(repr, rows))
        assert ordered.count() == queryset.count()

    def test_it_refuses_a_slice_whose_order_is_not_total(self) -> None:
        with pytest.raises(TypeError, match="slice"):
            total_order(User.objects.order_by("first_name")[:5])
        assert len(total_order(User.objects.order_by("pk")[:5])) == 5
