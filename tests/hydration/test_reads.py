from __future__ import annotations

import asyncio
import gc
import pickle
import re
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.contenttypes.models import ContentType
from django.db import connection, connections, transaction
from django.db.models import Model, Prefetch, QuerySet, Value
from django.db.models.functions import TruncMonth
from django.db.models.query import ModelIterable
from django.db.models.signals import post_init, pre_init
from django.db.transaction import TransactionManagementError
from django.test.utils import CaptureQueriesContext

from perfkit.hydration import shapes
from perfkit.hydration.instances import FETCH_MODE
from perfkit.hydration.shapes import WORTH_ROWS
from perfkit.loading import FastQuerySet
from tests.hydration.comparison import fast, models_initialised, portrait
from tests.testapp.bulk import Everything
from tests.testapp.hydration import EVENTS, Diary, Entry
from tests.testapp.loading import Book, Person, Publisher, Review

pytestmark = pytest.mark.django_db

WAYS: dict[str, Callable[[QuerySet[Any]], list[Any]]] = {
    "list": list,
    "iterator": lambda queryset: list(queryset.iterator()),
    "iterator in chunks": lambda queryset: list(queryset.iterator(chunk_size=2)),
    "slice": lambda queryset: list(queryset[1:3]),
    "one": lambda queryset: [queryset[0]] if queryset.exists() else [],
    "first": lambda queryset: [queryset.first()],
    "twice": lambda queryset: [*queryset, *queryset],
}


@pytest.fixture(autouse=True)
def _no_shapes() -> None:
    shapes._shapes.clear()


def sent(action: Callable[[], Any]) -> tuple[Any, list[str]]:
    """Return what an action returns, and the statements that it sends."""
    with CaptureQueriesContext(connection) as captured:
        value = action()
    # A cursor in the server is numbered.
    return value, [re.sub(r"_django_curs_\w+", "cursor", query["sql"]) for query in captured]


@pytest.mark.parametrize("way", WAYS)
def test_it_yields_what_django_yields_at_the_first_use_and_later(queryset: QuerySet[Any], way: str) -> None:
    read = WAYS[way]
    expected, expected_statements = sent(lambda: portrait(read(queryset.all())))

    for _ in range(3):
        ours, statements = sent(lambda: portrait(read(fast(queryset))))
        assert ours == expected
        assert statements == expected_statements


def test_it_makes_instances_without_django_from_the_second_use_on(library: None) -> None:
    def read() -> list[Book]:
        return list(fast(Book.objects.select_related("publisher")))

    assert set(models_initialised(read)) == {Book, Publisher}
    assert models_initialised(read) == []
    assert models_initialised(lambda: list(fast(Book.objects.select_related("publisher")).iterator())) == []


def test_it_makes_many_instances_without_django_at_once() -> None:
    Publisher.objects.bulk_create([Publisher(name="house") for _ in range(WORTH_ROWS)])

    assert (
        len(models_initialised(lambda: list(fast(Publisher.objects.all()[: WORTH_ROWS - 1]))))
        == WORTH_ROWS - 1
    )
    shapes._shapes.clear()
    assert models_initialised(lambda: list(fast(Publisher.objects.all()))) == []
    shapes._shapes.clear()
    assert models_initialised(lambda: list(fast(Publisher.objects.all()).iterator())) == []


@pytest.mark.parametrize("empty", [lambda rows: rows.none(), lambda rows: rows.filter(pk__in=[])])
def test_it_asks_nothing_where_nothing_can_be(empty: Callable[[QuerySet[Any]], QuerySet[Any]]) -> None:
    for read in (list, lambda rows: list(rows.iterator()), lambda rows: list(rows.values())):
        assert sent(lambda read=read: read(fast(empty(Book.objects.all())))) == ([], [])


PREFETCHES: dict[str, Callable[[], QuerySet[Any]]] = {
    "to many": lambda: Publisher.objects.prefetch_related("books__authors"),
    "from many": lambda: Review.objects.prefetch_related("book__publisher", "critic"),
    "generic": lambda: Book.objects.prefetch_related("labels"),
    "fast below": lambda: Publisher.objects.prefetch_related(
        Prefetch("books", fast(Book.objects.select_related("editor")), to_attr="own")
    ),
    "fast many-to-many below": lambda: Book.objects.prefetch_related(
        Prefetch("authors", fast(Person.objects.all()))
    ),
    "fast on one below": lambda: Review.objects.prefetch_related(
        Prefetch("critic", fast(Person.objects.only("name")))
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PREFETCHES)
@pytest.mark.parametrize("way", ["list", "iterator in chunks"])
def test_it_prefetches_as_django_does(library: None, name: str, way: str) -> None:
    read = WAYS[way]
    ContentType.objects.get_for_model(Book)  # asked for once in a process
    expected, expected_statements = sent(lambda: portrait(read(PREFETCHES[name]().order_by("pk"))))
    for _ in range(3):
        ours, statements = sent(lambda: portrait(read(fast(PREFETCHES[name]().order_by("pk")))))
        assert ours == expected
        assert statements == expected_statements


def known_reads() -> Iterator[QuerySet[Any]]:
    pupil = Person.objects.get(name="pupil")
    book = Book.objects.order_by("pk").last()
    assert book is not None
    yield pupil.reviews.order_by("pk")
    yield pupil.reviews.order_by("pk").defer("critic")
    yield pupil.reviews.order_by("pk").only("stars")
    yield pupil.reviews.order_by("pk").select_related("critic", "book")
    yield pupil.reviews.order_by("pk") | Review.objects.filter(critic__name="mentor")
    yield pupil.books.order_by("pk")
    yield book.authors.order_by("pk").select_related("mentor")
    yield pupil.reviews.order_by("pk").values()


@pytest.mark.parametrize("way", WAYS)
def test_it_knows_what_a_related_manager_knows(library: None, way: str) -> None:
    read = WAYS[way]
    for djangos, ours in zip(known_reads(), known_reads(), strict=True):
        expected, expected_statements = sent(lambda djangos=djangos: portrait(read(djangos.all())))
        for _ in range(3):
            assert sent(lambda ours=ours: portrait(read(fast(ours)))) == (expected, expected_statements)


def test_a_manager_of_fast_reads_serves_relations(library: None) -> None:
    diary = Diary.objects.create(name="mine")
    Entry.objects.bulk_create([Entry(diary=diary, text=str(number)) for number in range(3)])

    entries = list(diary.entries.all())
    assert isinstance(diary.entries.all(), FastQuerySet)
    assert models_initialised(lambda: list(diary.entries.all())) == []
    assert all(entry.diary is diary for entry in diary.entries.all())
    [prefetched] = Diary.objects.prefetch_related("entries")
    assert list(prefetched.entries.all()) == entries


def test_it_locks_as_django_does(library: None) -> None:
    with transaction.atomic():
        ours = sent(lambda: portrait(list(fast(Book.objects.select_for_update().order_by("pk")))))
        assert ours == sent(lambda: portrait(list(Book.objects.select_for_update().order_by("pk"))))


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite locks no rows")
def test_it_refuses_to_lock_outside_a_transaction_as_django_does() -> None:
    for read in (list, lambda rows: list(rows.iterator())):
        with pytest.raises(TransactionManagementError):
            read(fast(Book.objects.select_for_update()))


class LoudIterable(ModelIterable):
    """A project's own."""

    def __iter__(self) -> Iterator[Any]:
        for each in super().__iter__():
            each.title = each.title.upper()
            yield each


LEFT: dict[str, Callable[[Callable[[QuerySet[Any]], Any]], Any]] = {
    "named": lambda of: of(Book.objects.order_by("pk")).values_list("pk", "title", named=True),
    "dates": lambda of: of(Everything.objects.all()).dates("moment", "month"),
    "datetimes": lambda of: of(Everything.objects.all()).datetimes("moment", "hour"),
    "truncated": lambda of: of(Everything.objects.order_by("pk")).annotate(month=TruncMonth("moment")),
    "truncated values": lambda of: of(Everything.objects.order_by("pk")).values(month=TruncMonth("moment")),
    "in_bulk": lambda of: sorted(of(Book.objects.all()).in_bulk().items()),
    "earliest": lambda of: [of(Book.objects.all()).earliest("pk")],
    "raw": lambda of: of(Book.objects.all()).raw("SELECT * FROM testapp_book ORDER BY id"),
    "difference": lambda of: of(Book.objects.all()).difference(Book.objects.filter(pk=0)).order_by("pk"),
    "values of a union": lambda of: of(Book.objects.values("title")).union(
        Person.objects.values("name")
    ).order_by("title"),
    "lists of a union": lambda of: of(Book.objects.values_list("pk", "title")).union(
        Person.objects.values_list("pk", "name")
    ).order_by("title"),
    "alias": lambda of: of(Book.objects.order_by("pk")).alias(one=Value(1)).annotate(two=Value(2)),
    "get": lambda of: [of(Book.objects.all()).get(title="book 1")],
    "get_or_create": lambda of: of(Book.objects.all()).get_or_create(title="book 1")[:1],
}  # fmt: skip


@pytest.mark.parametrize("name", LEFT)
def test_what_has_a_way_of_its_own_stays_the_same(library: None, oddities: None, name: str) -> None:
    def plain(queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.all()

    expected = sent(lambda: portrait(list(LEFT[name](plain))))
    assert expected[0]
    for _ in range(3):
        assert sent(lambda: portrait(list(LEFT[name](fast)))) == expected


def test_it_leaves_a_projects_own_iterable_to_itself(library: None) -> None:
    queryset = fast(Book.objects.order_by("pk"))
    queryset._iterable_class = LoudIterable

    for _ in range(3):
        assert next(book.title for book in queryset.all()) == "BOOK 0"
        assert next(book.title for book in queryset.iterator()) == "BOOK 0"


def test_it_leaves_djangos_iterable_to_who_has_patched_it(
    library: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(fast(Book.objects.order_by("pk")))
    monkeypatch.setattr(ModelIterable, "__iter__", lambda _: iter(["patched"]))

    assert list(fast(Book.objects.order_by("pk"))) == ["patched"]
    assert list(fast(Book.objects.order_by("pk")).iterator()) == ["patched"]


@pytest.fixture
def diary() -> Iterator[Diary]:
    diary = Diary.objects.create(name="mine")
    Entry.objects.bulk_create([Entry(diary=diary, text=str(number)) for number in range(7)])
    EVENTS.clear()
    yield diary
    EVENTS.clear()


def heard(signal: Any, model: type[Model]) -> Callable[..., None]:
    """Connect a receiver that notes what it gets, but for the instance itself."""
    name = "pre_init" if signal is pre_init else "post_init"

    def receive(**given: Any) -> None:
        instance = given.pop("instance", None)
        seen = None if instance is None else portrait(instance)
        EVENTS.append((name, given, seen))

    signal.connect(receive, sender=model)
    return receive


def consumed(objects: Iterable[Any]) -> list[tuple[Any, ...]]:
    """Note each object when it is given, beside what else happens."""
    EVENTS.clear()
    for each in objects:
        EVENTS.append(("given", portrait(each)))
    return EVENTS[:]


EVENTFUL: dict[str, Callable[[QuerySet[Any], Diary], QuerySet[Any]]] = {
    "plain": lambda entries, _: entries,
    "with its relation": lambda entries, _: entries.select_related("diary"),
    "deferred": lambda entries, _: entries.defer("text"),
    "values": lambda entries, _: entries.values(),
    "flat": lambda entries, _: entries.values_list("text", flat=True),
}


@pytest.mark.parametrize("senders", [(), (Entry,), (Diary,), (Entry, Diary)])
@pytest.mark.parametrize("name", EVENTFUL)
@pytest.mark.parametrize("is_related", [False, True])
def test_events_come_in_djangos_order(
    diary: Diary, senders: tuple[type[Model], ...], name: str, is_related: bool
) -> None:
    def of(cls: type[QuerySet[Any]]) -> QuerySet[Any]:
        queryset = diary.entries.all() if is_related else Entry.objects.all()
        copy: Any = cls(Entry)
        vars(copy).update(vars(queryset))
        return EVENTFUL[name](copy, diary)

    receivers = [
        (signal, model, heard(signal, model)) for model in senders for signal in (pre_init, post_init)
    ]
    try:
        for read in (
            lambda rows: rows,
            lambda rows: rows.iterator(),
            lambda rows: rows.iterator(chunk_size=3),
        ):
            expected = consumed(read(of(QuerySet)))
            assert expected
            for _ in range(3):
                assert consumed(read(of(FastQuerySet))) == expected
    finally:
        for signal, model, receive in receivers:
            signal.disconnect(receive, sender=model)


def interrupted(objects: Iterator[Any]) -> list[tuple[Any, ...]]:
    """Connect a receiver after two objects, and disconnect it after four."""
    EVENTS.clear()
    receive = None
    for number, each in enumerate(objects):
        EVENTS.append(("given", portrait(each)))
        if number == 1:
            receive = heard(post_init, Entry)
        elif number == 3:
            post_init.disconnect(receive, sender=Entry)
    return EVENTS[:]


def test_a_receiver_that_comes_while_it_iterates_hears_of_the_next_instance(diary: Diary) -> None:
    expected = interrupted(QuerySet(Entry).order_by("pk").iterator())
    assert [event[0] for event in expected].count("post_init") == 2
    for _ in range(3):
        assert interrupted(FastQuerySet(Entry).order_by("pk").iterator()) == expected


def test_a_receiver_switches_the_fast_way_off_and_on(diary: Diary) -> None:
    for _ in range(2):
        list(Entry.objects.all())
    assert models_initialised(lambda: list(Entry.objects.select_related("diary"))) != []
    assert models_initialised(lambda: list(Entry.objects.select_related("diary"))) == []
    receive = heard(post_init, Diary)
    try:
        assert set(models_initialised(lambda: list(Entry.objects.select_related("diary")))) == {Diary}
    finally:
        post_init.disconnect(receive, sender=Diary)
    assert models_initialised(lambda: list(Entry.objects.select_related("diary"))) == []


def test_a_patched_model_is_made_by_its_own_hook(diary: Diary, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        list(Entry.objects.all())

    def init(self: Entry, *args: Any, **kwargs: Any) -> None:
        Model.__init__(self, *args, **kwargs)
        self.text = f"patched {self.text}"

    monkeypatch.setattr(Entry, "__init__", init)
    assert next(entry.text for entry in Entry.objects.all()) == "patched 0"
    assert next(entry.text for entry in Entry.objects.iterator()) == "patched 0"


def test_an_iterator_makes_no_more_than_is_asked_for(diary: Diary) -> None:
    for _ in range(3):
        EVENTS.clear()
        entries = Entry.objects.iterator()
        next(entries), next(entries)
        assert EVENTS == [("converted", "0"), ("converted", "1")]
        entries.close()


def test_an_iterator_keeps_nothing(diary: Diary) -> None:
    Entry.objects.bulk_create([Entry(diary=diary, text="more") for _ in range(500)])
    list(Entry.objects.all()[:1])
    alive: weakref.WeakSet[Entry] = weakref.WeakSet()
    most = 0
    for entry in Entry.objects.select_related("diary").iterator(chunk_size=10):
        alive.add(entry)
        most = max(most, len(alive))
    del entry
    gc.collect()

    assert most <= 2
    assert len(alive) == 0


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has no cursors in the server")
def test_an_iterator_leaves_the_rows_in_the_server_and_closes_its_cursor(diary: Diary) -> None:
    def cursors() -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_cursors")
            return int(cursor.fetchone()[0])

    for _ in range(2):
        entries = Entry.objects.iterator(chunk_size=2)
        assert cursors() == 0
        next(entries)
        assert cursors() == 1
        entries.close()
        assert cursors() == 0


async def asynchronously(queryset: QuerySet[Any]) -> list[Any]:
    return [
        portrait([each async for each in queryset.all()]),
        portrait([each async for each in queryset.aiterator(chunk_size=2)]),
        portrait(await queryset.afirst()),
    ]


@pytest.mark.django_db(transaction=True)
def test_it_yields_what_django_yields_asynchronously() -> None:
    house = Publisher.objects.create(name="house")
    Book.objects.bulk_create([Book(title=str(number), publisher=house) for number in range(5)])

    async def compare() -> None:
        for queryset in (
            Book.objects.order_by("pk").select_related("publisher"),
            Publisher.objects.prefetch_related("books"),
            Book.objects.order_by("pk").values(),
        ):
            expected = await asynchronously(queryset)
            for _ in range(3):
                assert await asynchronously(fast(queryset)) == expected
        await sync_to_async(connections.close_all)()

    asyncio.run(compare())


@pytest.mark.skipif(FETCH_MODE is None, reason="Django has fetch modes from 6.1 on")
@pytest.mark.parametrize("name", ["FETCH_ONE", "FETCH_PEERS", "FETCH_RAISE"])
@pytest.mark.parametrize("way", ["list", "iterator", "iterator in chunks"])
def test_it_gives_instances_the_fetch_mode_and_their_peers(library: None, name: str, way: str) -> None:
    from django.db import models

    mode = getattr(models, name)

    def peers(objects: list[Any]) -> list[Any]:
        places = {id(each): place for place, each in enumerate(objects)}
        editors = {id(each.editor): place for place, each in enumerate(objects) if each.editor}
        return [
            (
                each._state.fetch_mode,
                [places.get(id(peer())) for peer in each._state.peers],
                each.editor and [editors.get(id(peer())) for peer in each.editor._state.peers],
            )
            for each in objects
        ]

    def read(of: Callable[[QuerySet[Any]], QuerySet[Any]]) -> Any:
        objects = WAYS[way](of(Book.objects.order_by("pk").select_related("editor").fetch_mode(mode)))
        return objects, peers(objects)

    _, expected = read(lambda queryset: queryset.all())
    for _ in range(3):
        objects, ours = read(fast)
        assert ours == expected
    if name == "FETCH_PEERS":
        _, statements = sent(lambda: [book.publisher for book in objects])
        assert len(statements) == 1


def test_it_fails_as_django_fails(library: None) -> None:
    def failure(queryset: QuerySet[Any]) -> tuple[type[BaseException], str]:
        with pytest.raises(Exception) as caught, transaction.atomic():  # noqa: PT011  # whatever it is
            list(queryset)
        return type(caught.value), str(caught.value)

    for queryset in (
        Book.objects.extra(select={"one": "no_such_column"}),
        Book.objects.select_related("heading"),
        Book.objects.only("title").select_related("publisher"),
    ):
        assert failure(fast(queryset)) == failure(queryset.all())


def test_its_querysets_survive_pickling(library: None) -> None:
    queryset = fast(Book.objects.order_by("pk").select_related("publisher"))
    copy = pickle.loads(pickle.dumps(queryset))  # noqa: S301  # made one line above
    djangos = pickle.loads(pickle.dumps(Book.objects.order_by("pk").select_related("publisher")))  # noqa: S301  # likewise

    assert type(copy) is FastQuerySet
    assert portrait(list(copy)) == portrait(list(djangos))
    remade: Any = FastQuerySet(Book)
    remade.query = pickle.loads(pickle.dumps(queryset.query))  # noqa: S301  # likewise
    assert portrait(list(remade)) == portrait(list(queryset))
