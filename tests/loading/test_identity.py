from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perfkit.bulk import bulk_insert, bulk_update
from perfkit.errors import UsageError
from perfkit.loading import aget_or_load, get_or_load, identity_map, identity_mapped
from perfkit.loading.identity_scope import current_map
from tests.testapp.loading import Person, Publisher


class RolledBackError(Exception):
    """Ends a transaction."""


savepoint: Callable[[], str] = getattr(
    transaction, "savepoint_create", transaction.savepoint
)  # since Django 6.1


@pytest.fixture
def publisher(db: None) -> Publisher:
    return Publisher.objects.create(name="North")


def queries(read: Callable[[], Any]) -> int:
    with CaptureQueriesContext(connection) as captured:
        read()
    return len(captured)


def write_and_fail(publisher: Publisher) -> None:
    Publisher.objects.update(name="East")
    assert get_or_load(Publisher, publisher.pk).name == "East"
    raise RolledBackError


def test_it_is_one_instance_and_one_query(publisher: Publisher) -> None:
    with identity_map():
        first = get_or_load(Publisher, publisher.pk)
        assert first == publisher
        assert first is not publisher
        assert queries(lambda: get_or_load(Publisher, str(publisher.pk))) == 0
        assert get_or_load(Publisher, publisher.pk) is first
        with identity_map():
            assert get_or_load(Publisher, publisher.pk) is first


def test_outside_of_a_map_it_is_a_plain_query(publisher: Publisher) -> None:
    assert queries(lambda: [get_or_load(Publisher, publisher.pk) for _ in range(3)]) == 3
    with identity_map():
        first = get_or_load(Publisher, publisher.pk)
    assert get_or_load(Publisher, publisher.pk) is not first
    with identity_map():
        assert get_or_load(Publisher, publisher.pk) is not first


def test_a_key_that_no_row_has_is_asked_for_once(publisher: Publisher) -> None:
    def read() -> None:
        for _ in range(3):
            with pytest.raises(Publisher.DoesNotExist):
                get_or_load(Publisher, 0)

    with identity_map():
        assert queries(read) == 1
        new = Publisher.objects.create(pk=0, name="South")
        assert get_or_load(Publisher, 0) == new


def test_a_key_that_cannot_be_one_is_told_before_any_query(db: None) -> None:
    with pytest.raises(UsageError, match="no primary key"):
        get_or_load(Publisher, "north")


def write_by_sql(publisher: Publisher) -> None:
    with connection.cursor() as cursor:
        cursor.execute("update testapp_publisher set name = 'East' where id = %s", [publisher.pk])


@pytest.mark.parametrize(
    "write",
    [
        lambda publisher: Publisher.objects.filter(pk=publisher.pk).update(name="East"),
        lambda publisher: Publisher(pk=publisher.pk, name="East").save(),
        lambda publisher: bulk_update(Publisher, [(publisher.pk, {"name": "East"})]),
        write_by_sql,
    ],
)
def test_it_forgets_what_its_own_code_writes(write: Callable[[Publisher], Any], publisher: Publisher) -> None:
    with identity_map():
        assert get_or_load(Publisher, publisher.pk).name == "North"
        write(publisher)
        assert get_or_load(Publisher, publisher.pk).name == "East"


@pytest.mark.postgres
def test_it_forgets_what_is_copied(publisher: Publisher) -> None:
    with identity_map():
        with pytest.raises(Publisher.DoesNotExist):
            get_or_load(Publisher, publisher.pk + 1)
        bulk_insert(Publisher, [{"id": publisher.pk + 1, "name": "South"}] * 1)
        assert get_or_load(Publisher, publisher.pk + 1).name == "South"


def test_other_tables_are_kept(publisher: Publisher) -> None:
    with identity_map():
        first = get_or_load(Publisher, publisher.pk)
        Person.objects.create(name="Ann")
        assert get_or_load(Publisher, publisher.pk) is first


def test_what_was_rolled_back_is_not_shown(publisher: Publisher) -> None:
    with identity_map():
        with pytest.raises(RolledBackError), transaction.atomic():
            write_and_fail(publisher)
        assert get_or_load(Publisher, publisher.pk).name == "North"


@pytest.mark.django_db(transaction=True)
def test_what_a_whole_transaction_rolled_back_is_not_shown() -> None:
    publisher = Publisher.objects.create(name="North")

    with identity_map():
        with pytest.raises(RolledBackError), transaction.atomic():
            write_and_fail(publisher)
        assert get_or_load(Publisher, publisher.pk).name == "North"


@pytest.mark.django_db(transaction=True)
def test_what_was_rolled_back_in_a_block_that_is_entered_again_is_not_shown() -> None:
    publisher = Publisher.objects.create(name="North")

    @transaction.atomic
    def attempt(*, fails: bool) -> str:
        if fails:
            Publisher.objects.update(name="East")
        name = get_or_load(Publisher, publisher.pk).name
        if fails:
            raise RolledBackError
        return name

    with identity_map():
        with pytest.raises(RolledBackError):
            attempt(fails=True)
        assert attempt(fails=False) == "North"


@pytest.mark.django_db(transaction=True)
def test_what_was_rolled_back_by_hand_is_not_shown() -> None:
    publisher = Publisher.objects.create(name="North")
    with identity_map():
        transaction.set_autocommit(False)
        try:
            Publisher.objects.update(name="East")
            assert get_or_load(Publisher, publisher.pk).name == "East"
            transaction.rollback()
            assert get_or_load(Publisher, publisher.pk).name == "North"
        finally:
            transaction.rollback()
            transaction.set_autocommit(True)


@pytest.mark.postgres  # a database in memory is not closed
@pytest.mark.django_db(transaction=True)
def test_what_a_closed_connection_lost_is_not_shown() -> None:
    publisher = Publisher.objects.create(name="North")
    with identity_map():
        with transaction.atomic():
            Publisher.objects.update(name="East")
            assert get_or_load(Publisher, publisher.pk).name == "East"
            connection.close()
        assert get_or_load(Publisher, publisher.pk).name == "North"


@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["get", "get", "update", "delete", "create", "savepoint", "rollback"]),
            st.integers(1, 3),
            st.text("ab", min_size=1, max_size=3),
        ),
        max_size=30,
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_it_shows_what_a_query_would(steps: list[tuple[str, int, str]], db: None) -> None:
    savepoints: list[str] = []
    with transaction.atomic(), identity_map():
        for step, key, name in steps:
            if step == "get":
                expected = Publisher.objects.filter(pk=key).first()
                try:
                    found: Publisher | None = get_or_load(Publisher, key)
                except Publisher.DoesNotExist:
                    found = None
                assert (found and found.name) == (expected and expected.name)
            elif step == "update":
                Publisher.objects.filter(pk=key).update(name=name)
            elif step == "delete":
                Publisher.objects.filter(pk=key).delete()
            elif step == "create":
                Publisher(pk=key, name=name).save()
            elif step == "savepoint":
                savepoints.append(savepoint())
            elif savepoints:
                transaction.savepoint_rollback(savepoints.pop())
        transaction.set_rollback(True)


@pytest.mark.django_db(transaction=True)
def test_threads_of_one_request_get_one_instance() -> None:
    publisher = Publisher.objects.create(name="North")
    found: list[Publisher] = []

    async def read() -> None:
        with identity_map():
            found.extend(await asyncio.gather(*(aget_or_load(Publisher, publisher.pk) for _ in range(5))))

    async_to_sync(read)()
    assert {id(each) for each in found} == {id(found[0])}


@pytest.mark.django_db(transaction=True)
def test_other_threads_have_maps_of_their_own() -> None:
    publisher = Publisher.objects.create(name="North")
    found: list[Publisher] = []

    def read() -> None:
        with identity_map():
            found.append(get_or_load(Publisher, publisher.pk))
        connection.close()

    with identity_map():
        first = get_or_load(Publisher, publisher.pk)
        thread = threading.Thread(target=read)
        thread.start()
        thread.join()
    assert found == [first]
    assert found[0] is not first


def test_each_request_is_a_map(publisher: Publisher) -> None:
    seen: list[Publisher] = []

    def view(request: HttpRequest) -> HttpResponse:
        seen.extend(get_or_load(Publisher, publisher.pk) for _ in range(2))
        return HttpResponse()

    async def async_view(request: HttpRequest) -> HttpResponse:
        seen.extend([await aget_or_load(Publisher, publisher.pk) for _ in range(2)])
        return HttpResponse()

    request = RequestFactory().get("/")
    handle: Any = identity_mapped(view)
    handle_async: Any = identity_mapped(async_view)
    for _ in range(2):
        handle(request)
    async_to_sync(handle_async)(request)
    assert seen[0] is seen[1]
    assert seen[2] is seen[3]
    assert seen[4] is seen[5]
    assert len({id(each) for each in seen}) == 3
    assert current_map() is None


def test_what_a_block_has_left_running_is_in_no_map(publisher: Publisher) -> None:
    async def late() -> bool:
        await asyncio.sleep(0.05)
        return current_map() is None

    async def run() -> bool:
        with identity_map():
            task = asyncio.create_task(late())
        return await task

    assert async_to_sync(run)()
