"""Loops of Django's async methods: their queries are sent by a thread that does not know the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async

from perfkit.loading import Kind, allow_n_plus_one, watch_n_plus_one
from perfkit.loading.guard.findings import Finding
from tests.loading.guard.loops import make_library
from tests.testapp.loading import Book, Person, Publisher, Review


@pytest.fixture
def library(db: None) -> None:
    make_library()


def findings(run: Callable[[], Awaitable[Any]]) -> list[Finding]:
    with watch_n_plus_one(mode="log") as watch:
        async_to_sync(run)()
    assert watch is not None
    return watch.findings


async def keys() -> list[Any]:
    return [key async for key in Book.objects.order_by("pk").values_list("pk", flat=True)]


async def gets() -> None:
    for key in await keys():
        await Book.objects.aget(pk=key)


async def counts() -> None:
    async for book in Book.objects.all():
        await book.review_set.acount()


async def exists() -> None:
    async for book in Book.objects.all():
        await book.review_set.aexists()


async def firsts() -> None:
    async for book in Book.objects.all():
        await book.review_set.order_by("stars").afirst()


async def lists() -> None:
    async for book in Book.objects.all():
        assert [author async for author in book.authors.all()]


async def parts() -> None:
    async for book in Book.objects.all():
        assert [review async for review in book.review_set.filter(stars__gte=3)]


async def creates() -> None:
    for name in "abc":
        await Publisher.objects.acreate(name=name)


async def get_or_creates() -> None:
    for name in "abc":
        await Publisher.objects.aget_or_create(name=name)


async def saves() -> None:
    async for book in Book.objects.all():
        await book.asave()


async def refreshes() -> None:
    for book in [book async for book in Book.objects.all()]:
        await book.arefresh_from_db()


async def deletes() -> None:
    for review in [review async for review in Review.objects.all()]:
        await review.adelete()


async def in_threads() -> None:
    def name(book: Book) -> str:
        return book.publisher.name

    async for book in Book.objects.all():
        await sync_to_async(name)(book)


async def side_by_side() -> None:
    async def titled(key: Any) -> str:
        return (await Book.objects.aget(pk=key)).title

    await asyncio.gather(*(titled(key) for key in await keys()))


@pytest.mark.parametrize(
    ("run", "kind", "subject"),
    [
        (gets, Kind.GET, "testapp.Book"),
        (counts, Kind.RELATED_COUNT, "testapp.Book.review_set"),
        (exists, Kind.RELATED_EXISTS, "testapp.Book.review_set"),
        (firsts, Kind.RELATED_FIRST, "testapp.Book.review_set"),
        (lists, Kind.RELATED_ROWS, "testapp.Book.authors"),
        (parts, Kind.RELATED_PART, "testapp.Book.review_set"),
        (creates, Kind.INSERT, "testapp.Publisher"),
        (get_or_creates, Kind.GET_OR_CREATE, "testapp.Publisher"),
        (saves, Kind.SAVE, "testapp.Book"),
        (refreshes, Kind.REFRESH, "testapp.Book"),
        (deletes, Kind.DELETE, "testapp.Review"),
        (in_threads, Kind.FORWARD, "testapp.Book.publisher"),
        (side_by_side, Kind.GET, "testapp.Book"),
    ],
)
def test_it_finds_it_and_names_the_line(
    run: Callable[[], Awaitable[Any]], kind: Kind, subject: str, library: None
) -> None:
    found = [finding for finding in findings(run) if (finding.kind, finding.name) == (kind, subject)]
    assert found
    code: Any = run.__code__  # type: ignore[attr-defined]
    for finding in found:
        name, _, line = finding.lines[0].rpartition(":")
        assert name == "tests/loading/guard/test_async_loops.py"
        assert code.co_firstlineno < int(line) <= code.co_firstlineno + 7


async def two_gets() -> None:
    first, second, *_ = await keys()
    await Book.objects.aget(pk=first)
    await Book.objects.aget(pk=second)


async def one_helper_twice() -> None:
    async def titled(key: Any) -> str:
        return (await Book.objects.aget(pk=key)).title

    first, second, *_ = await keys()
    await titled(first)
    await titled(second)


async def two_kinds_side_by_side() -> None:
    await asyncio.gather(Book.objects.acount(), Person.objects.acount())


async def allowed() -> None:
    with allow_n_plus_one():
        await gets()


@pytest.mark.parametrize("run", [two_gets, one_helper_twice, two_kinds_side_by_side, allowed])
def test_it_raises_no_false_alarm(run: Callable[[], Awaitable[Any]], library: None) -> None:
    assert findings(run) == []
