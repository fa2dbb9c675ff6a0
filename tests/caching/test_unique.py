"""Gets by a unique field depend on one row, wherever the value goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, models, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfkit.caching import unique
from perfkit.caching.registry import TrackedModel, track
from tests.caching.conftest import Outcome
from tests.testapp.models import Airfield, Booking, Brand

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def tea() -> Brand:
    return Brand.objects.create(name="tea", count=1)


def found(name: str) -> tuple[int, int] | None:
    try:
        brand = Brand.objects.get(name=name)
    except Brand.DoesNotExist:
        return None
    return brand.pk, brand.count


class TestCost:
    def test_it_asks_the_database_once_for_each_way(
        self, tea: Brand, django_assert_num_queries: Callable[..., Any]
    ) -> None:
        with django_assert_num_queries(2):  # the query by its value, and the row by its key
            for _ in range(4):
                assert Brand.objects.get(name="tea") == tea

    def test_it_stays_cached_while_other_rows_are_written(self, tea: Brand, reads: list[Outcome]) -> None:
        for _ in range(2):
            Brand.objects.get(name="tea")
        Brand.objects.create(name="coffee")
        Brand.objects.filter(pk=Brand.objects.get(name="coffee").pk).update(count=5)
        reads.clear()
        assert Brand.objects.get(name="tea").count == 1
        assert [outcome for _, outcome, _ in reads] == ["hit"]

    def test_it_keeps_that_there_is_none(self, reads: list[Outcome]) -> None:
        assert [found("nobody"), found("nobody")] == [None, None]
        assert [outcome for _, outcome, _ in reads] == ["miss", "hit"]
        Brand.objects.create(name="nobody", count=3)
        assert found("nobody") is not None

    def test_it_bounds_what_it_remembers(self, tea: Brand, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(unique, "MOST_KEYS", 10)
        for number in range(20):
            Brand.objects.create(name=f"brand {number}")
            Brand.objects.get(name=f"brand {number}")
        assert len(unique._keys) == 10
        assert [key[2] for key in unique._keys][-1] == "brand 19"


class TestPromise:
    def test_it_follows_a_value_from_row_to_row(self, tea: Brand) -> None:
        coffee = Brand.objects.create(name="coffee", count=2)
        assert [found("tea"), found("coffee"), found("cocoa")] == [(tea.pk, 1), (coffee.pk, 2), None]
        Brand.objects.filter(pk=tea.pk).update(name="cocoa")
        assert [found("tea"), found("coffee"), found("cocoa")] == [None, (coffee.pk, 2), (tea.pk, 1)]
        Brand.objects.filter(pk=coffee.pk).update(name="tea")
        assert [found("tea"), found("coffee"), found("cocoa")] == [(coffee.pk, 2), None, (tea.pk, 1)]
        coffee.delete()
        assert [found("tea"), found("cocoa")] == [None, (tea.pk, 1)]

    def test_it_reads_what_the_transaction_wrote_and_not_what_it_took_back(self, tea: Brand) -> None:
        assert found("tea") == found("tea") == (tea.pk, 1)
        with transaction.atomic():
            Brand.objects.filter(pk=tea.pk).update(name="cocoa")
            assert [found("tea"), found("cocoa")] == [None, (tea.pk, 1)]
            transaction.set_rollback(True)
        assert [found("tea"), found("cocoa")] == [(tea.pk, 1), None]

    def test_it_believes_no_key_that_it_was_told(self, tea: Brand) -> None:
        """Whatever is remembered, the row itself decides."""
        other = Brand.objects.create(name="coffee", count=2)
        tracked = track(Brand)
        assert isinstance(tracked, TrackedModel)
        for wrong in (other.pk, 0, 123456):
            unique.remember_key(tracked, tracked.unique["name"], "tea", alias="default", pk=wrong)
            assert found("tea") == (tea.pk, 1)

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.tuples(st.integers(1, 4), st.sampled_from(["a", "b", "c", "A", ""])), max_size=12))
    def test_it_is_what_a_plain_manager_finds(self, moves: list[tuple[int, str]]) -> None:
        Booking.plain.all().delete()
        for pk in range(1, 5):
            Booking.plain.create(pk=pk, name="x", code=f"code {pk}")
        for pk, code in moves:
            if not Booking.plain.filter(code=code).exists():
                Booking.plain.filter(pk=pk).update(code=code)
            for name in ["a", "b", "c", "A", "", *(f"code {each}" for each in range(1, 5))]:
                expected = list(Booking.plain.filter(code=name).values_list("pk", flat=True))
                try:
                    got = [Booking.objects.get(code=name).pk]
                except Booking.DoesNotExist:
                    got = []
                assert got == expected


class Ways(models.Model):
    one = models.CharField(max_length=8, unique=True)
    two = models.IntegerField()
    three = models.IntegerField()
    four = models.IntegerField()
    five = models.FloatField(unique=True)
    six = models.OneToOneField(Airfield, models.CASCADE)

    class Meta:
        app_label = "ways"
        constraints = [
            models.UniqueConstraint(fields=["two"], name="two"),
            models.UniqueConstraint(fields=["three"], condition=models.Q(four=1), name="three"),
            models.UniqueConstraint(fields=["four"], deferrable=models.Deferrable.DEFERRED, name="four"),
            models.UniqueConstraint(fields=["three", "four"], name="both"),
        ]


def test_it_knows_what_the_database_keeps_unique() -> None:
    from perfkit.caching.registry import _unique_columns

    assert set(_unique_columns(Ways)) == {"one", "two", "six", "six_id"}


def test_it_takes_a_value_of_another_type_as_django_does(tea: Brand) -> None:
    number = Brand.objects.create(name="5", count=9)
    for _ in range(3):
        assert Brand.objects.get(name=5) == Brand.objects.get(name="5") == number
        with pytest.raises(Brand.DoesNotExist):
            Brand.objects.get(name=None)
    assert connection.vendor in {"postgresql", "sqlite"}
