"""Those of the six tests that make sense within one process: its threads share the store inside it.

A read that starts after a commit has returned to its writer never yields an older value.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import connection, transaction

from perfkit.caching.store import current_store
from perfkit.caching.store.local import LocalStore
from tests.caching.actors import Actor, execute
from tests.caching.conftest import Outcome
from tests.testapp.models import Booking, Bundle, Item, Sample

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres]

READS: dict[str, Callable[[int], str]] = {
    "get": lambda pk: Item.objects.get(pk=pk).name,
    "list": lambda pk: list(Item.objects.filter(id__in=[pk], count__gte=0)).pop().name,
    "joined list": lambda pk: list(Sample.objects.filter(item=pk).select_related("item")).pop().item.name,
    "many to many": lambda pk: list(Bundle(pk=pk).items.all()).pop().name,
    "declared list": lambda pk: list(Booking.objects.filter(zone="north")).pop().name,
}


@pytest.fixture(autouse=True)
def _in_process(settings: LazySettings) -> None:
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
    assert isinstance(current_store(), LocalStore)


@pytest.fixture
def reader() -> Iterator[Actor]:
    actor = Actor()
    yield actor
    actor.stop()


@pytest.fixture(params=READS)
def read(request: pytest.FixtureRequest) -> Callable[[], str]:
    item = Item.plain.create(pk=1, name="old")
    Booking.plain.create(pk=1, name="old", zone="north")
    Sample.plain.create(item=item)
    Bundle.plain.create(pk=item.pk).items.add(item)
    return lambda: READS[request.param](1)


def write(name: str) -> None:
    Item.plain.filter(pk=1).update(name=name)
    Booking.plain.filter(pk=1).update(name=name)


class Stop:
    """A point at which the next thread but this one stands still until it may go on."""

    def __init__(self) -> None:
        self._own = threading.get_ident()
        self._reached, self._go = threading.Event(), threading.Event()

    def pass_by(self) -> None:
        if threading.get_ident() != self._own and not self._reached.is_set():
            self._reached.set()
            assert self._go.wait(timeout=20)

    def wait(self) -> None:
        assert self._reached.wait(timeout=20)

    def go(self) -> None:
        self._go.set()


def later(actor: Actor, function: Callable[[], Any]) -> Callable[[], Any]:
    """Have `actor` begin, and return what waits for its answer."""
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(actor.do(function)))
    thread.start()

    def answer() -> Any:
        thread.join(timeout=20)
        return answers[0]

    return answer


@pytest.mark.parametrize("is_atomic", [False, True])
def test_1_a_reader_paused_between_its_select_and_its_fill(
    reader: Actor, read: Callable[[], str], is_atomic: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = Stop()
    store = current_store()
    fill = store.fill  # type: ignore[union-attr]

    def paused(*args: Any, **kwargs: Any) -> None:
        stop.pass_by()
        fill(*args, **kwargs)

    monkeypatch.setattr(store, "fill", paused)
    answer = later(reader, read)
    stop.wait()
    if is_atomic:
        with transaction.atomic():
            write("new")
    else:
        write("new")
    stop.go()
    assert answer() == "old", "it began before the write"
    assert [read(), reader.do(read)] == ["new", "new"]


def test_2_a_reader_beside_an_autocommit_update(reader: Actor, read: Callable[[], str]) -> None:
    assert [reader.do(read) for _ in range(2)] == ["old", "old"]
    seen: list[str] = []

    def around(run: Any, *args: Any) -> Any:
        seen.append(reader.do(read))
        answer = run(*args)
        seen.append(reader.do(read))
        return answer

    with connection.execute_wrapper(around):
        write("new")
    assert seen[0] == "old"
    assert [read(), reader.do(read)] == ["new", "new"]


def test_4_a_reader_that_would_fill_from_its_old_snapshot(
    reader: Actor, read: Callable[[], str], reads: list[Outcome]
) -> None:
    reader.begin()
    reader.do(lambda: execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
    assert reader.do(read) == "old"
    write("new")
    assert read() == "new"
    current_store().clear()  # type: ignore[union-attr]
    assert reader.do(read) == "old", "within one snapshot time stands still"
    assert read() == "new"
    reader.end(commit=True)
    assert [read(), reader.do(read)] == ["new", "new"]
    assert "snapshot" in {reason for *_, reason in reads}
