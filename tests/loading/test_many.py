from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfkit.errors import RelationPathError, UsageError
from perfkit.loading import DataLoader, load_many
from tests.testapp.imported import Bin, Token
from tests.testapp.loading import Book, Person, Publisher, Review

pytestmark = pytest.mark.django_db


@pytest.fixture
def people() -> list[int]:
    Person.objects.bulk_create([Person(name=f"p{number}") for number in range(50)])
    return list(Person.objects.order_by("pk").values_list("pk", flat=True))


def test_it_keeps_the_order_and_tells_what_is_missing(people: list[int]) -> None:
    first, _, third, *_ = people
    loaded = load_many(Person, iter([third, -1, first, third, -2, -1]))
    assert [row and row.pk for row in loaded.rows] == [third, None, first, third, None, None]
    assert loaded.rows[0] is loaded.rows[3]
    assert loaded.missing == [-1, -2]


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_it_finds_what_one_query_each_would(people: list[int], data: st.DataObject) -> None:
    keys = data.draw(st.lists(st.sampled_from([*people, 0, -1]), max_size=80))
    alone = [Person.objects.filter(pk=key).first() for key in keys]
    loaded = load_many(Person, keys)
    assert loaded.rows == alone
    assert loaded.missing == list(dict.fromkeys(key for key, row in zip(keys, alone, strict=True) if not row))


@pytest.mark.parametrize("many", [1, 50, 900])
def test_it_asks_once_and_once_more_for_each_level(many: int) -> None:
    house = Publisher.objects.create(name="house")
    critic = Person.objects.create(name="critic")
    books = Book.objects.bulk_create([Book(title=str(number), publisher=house) for number in range(many)])
    Review.objects.bulk_create([Review(book=book, critic=critic, stars=1) for book in books])
    with CaptureQueriesContext(connection) as captured:
        loaded = load_many(Book, [book.pk for book in books], relations=["publisher", "review_set__critic"])
        for book in loaded.rows:
            assert book is not None
            assert book.publisher.name == "house"
            assert [review.critic.name for review in book.review_set.all()] == ["critic"]
    assert len(captured) == 2


def test_it_asks_nothing_for_no_keys(django_assert_num_queries: Callable[[int], Any]) -> None:
    with django_assert_num_queries(0):
        assert load_many(Person, []).rows == []


def test_it_takes_what_the_field_makes_a_key_of(people: list[int]) -> None:
    assert load_many(Person, [str(people[0])]).missing == []
    token = Token.objects.create(title="x")
    assert load_many(Token, [str(token.pk), token.pk]).rows == [token, token]


@pytest.mark.parametrize(
    ("model", "key"), [(Person, "x"), (Person, []), (Token, "x"), (Token, {}), (Bin, "a\0")]
)
def test_it_refuses_what_is_no_key(
    model: Any, key: Any, django_assert_num_queries: Callable[[int], Any]
) -> None:
    with (
        django_assert_num_queries(0),
        pytest.raises(UsageError, match=f"no primary key of {model._meta.label}"),
    ):
        load_many(model, [key])


def test_it_refuses_what_is_no_relation(django_assert_num_queries: Callable[[int], Any]) -> None:
    with django_assert_num_queries(0), pytest.raises(RelationPathError):
        load_many(Book, [1], relations=["publishr"])


def test_it_finds_only_the_rows_of_a_queryset(people: list[int]) -> None:
    assert load_many(Person.objects.filter(name="p1"), people[:3]).missing == [people[0], people[2]]


class TestDataLoader:
    pytestmark = pytest.mark.django_db(transaction=True)

    def test_it_loads_what_is_asked_for_at_once_by_one_query(self, people: list[int]) -> None:
        async def ask() -> list[Any]:
            loader = DataLoader(Person)
            single = [loader.load(pk) for pk in (people[2], people[0], people[2], -1)]
            return await asyncio.gather(*single, loader.load_many([people[1], -2, people[0]]))

        with CaptureQueriesContext(connection) as captured:
            *single, many = async_to_sync(ask)()
        assert len(captured) == 1
        assert [row and row.pk for row in single] == [people[2], people[0], people[2], None]
        assert [row and row.pk for row in many] == [people[1], None, people[0]]

    def test_it_reads_anew_what_is_asked_for_later(self, people: list[int]) -> None:
        async def ask() -> list[str]:
            loader = DataLoader(Person, relations=["mentor"])
            names = []
            for name in ("a", "b"):
                await Person.objects.filter(pk=people[0]).aupdate(name=name)
                row = await loader.load(people[0])
                assert row is not None
                names.append(row.name)
            return names

        assert async_to_sync(ask)() == ["a", "b"]

    def test_it_goes_on_for_others_where_one_is_cancelled(self, people: list[int]) -> None:
        async def ask() -> tuple[bool, Any]:
            loader = DataLoader(Person)
            first, second = (asyncio.ensure_future(loader.load(people[0])) for _ in range(2))
            await asyncio.sleep(0)
            first.cancel()
            done = await asyncio.gather(first, second, return_exceptions=True)
            return isinstance(done[0], asyncio.CancelledError), done[1]

        was_cancelled, row = async_to_sync(ask)()
        assert was_cancelled
        assert row == Person.objects.get(pk=people[0])

    def test_it_tells_everybody_of_an_error(self, people: list[int]) -> None:
        def fail(*_: Any) -> None:
            raise OperationalError("gone")

        async def ask() -> list[Any]:
            loader = DataLoader(Person)
            return await asyncio.gather(
                *(loader.load(pk) for pk in people[:2]), loader.load("x"), return_exceptions=True
            )

        with connection.execute_wrapper(fail):
            first, second, other = async_to_sync(ask)()
        assert isinstance(first, OperationalError)
        assert isinstance(second, OperationalError)
        assert isinstance(other, UsageError)

    def test_it_belongs_to_one_event_loop(self) -> None:
        loader = DataLoader(Token)
        assert async_to_sync(loader.load)(uuid.uuid4()) is None
        with pytest.raises(UsageError, match="another event loop"):
            async_to_sync(loader.load)(uuid.uuid4())
