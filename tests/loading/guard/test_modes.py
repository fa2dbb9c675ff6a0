from __future__ import annotations

import json
import logging
import pickle
from collections.abc import AsyncIterator, Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import async_to_sync, iscoroutinefunction, sync_to_async
from django.core.management import CommandError, call_command
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.test import RequestFactory, override_settings

from perfkit.conf import configured
from perfkit.errors import NPlusOneError
from perfkit.loading import (
    Finding,
    Kind,
    allow_n_plus_one,
    n_plus_one_guard,
    no_n_plus_one,
    watch_n_plus_one,
)
from perfkit.loading.guard.scope import watching
from perfkit.loading.guard.watch import Watch
from perfkit.signals import n_plus_one_found
from tests.loading.guard.loops import make_library
from tests.testapp.loading import Book, Person


@pytest.fixture(autouse=True)
def library(db: None) -> None:
    make_library()


def settings(**values: Any) -> override_settings:
    return override_settings(PERFKIT={**configured(), **values})


def loop() -> list[str]:
    return [book.publisher.name for book in Book.objects.order_by("pk")]


def view(request: HttpRequest) -> HttpResponse:
    return HttpResponse(",".join(loop()))


def answer(mode: str, respond: Callable[[HttpRequest], HttpResponseBase] = view) -> HttpResponseBase:
    with settings(N_PLUS_ONE_MODE=mode):
        handle: Any = n_plus_one_guard(respond)
        request = RequestFactory().get("/")
        if iscoroutinefunction(handle):
            response: HttpResponseBase = async_to_sync(handle)(request)
            return response
        return handle(request)  # type: ignore[no-any-return]


def test_off_does_nothing(caplog: pytest.LogCaptureFixture) -> None:
    response = answer("off")
    assert response.status_code == 200
    assert "X-N-Plus-One" not in response
    assert caplog.records == []


def test_log_tells_each_loop_once_with_the_line_and_the_fix(caplog: pytest.LogCaptureFixture) -> None:
    response = answer("log")
    assert "X-N-Plus-One" not in response
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("perfkit.n_plus_one", logging.WARNING)
    first, fix, statement = record.getMessage().splitlines()
    line = loop.__code__.co_firstlineno + 1
    assert first.startswith(
        f"N+1: 4 queries for testapp.Book.publisher, foreign key at tests/loading/guard/test_modes.py:{line} "
        "(called from tests/loading/guard/test_modes.py:"
    )
    assert 'Book.objects.select_related("publisher")' in fix
    assert statement.strip().startswith('SELECT "testapp_publisher"."id"')


def test_it_tells_no_values(caplog: pytest.LogCaptureFixture) -> None:
    with watch_n_plus_one(mode="log"):
        for title in ("secret-1", "secret-2"):
            Book.objects.filter(title=title).exists()
    (record,) = caplog.records
    assert "secret" not in record.getMessage()


def test_header_tells_it_in_the_answer() -> None:
    response = answer("header")
    line = loop.__code__.co_firstlineno + 1
    assert response["X-N-Plus-One"] == (
        f"1; testapp.Book.publisher x4 at tests/loading/guard/test_modes.py:{line}"
    )


def test_raise_refuses_the_query_that_makes_a_loop(django_assert_num_queries: Any) -> None:
    with (
        pytest.raises(NPlusOneError, match=r"testapp\.Book\.publisher") as caught,
        django_assert_num_queries(2),
    ):
        answer("raise")
    assert "select_related" in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301  # of this test


def test_async_views_are_watched(caplog: pytest.LogCaptureFixture) -> None:
    async def asynchronous(request: HttpRequest) -> HttpResponse:
        names = [await sync_to_async(lambda: book.publisher.name)() async for book in Book.objects.all()]  # noqa: B023
        return HttpResponse(",".join(names))

    response = answer("header", asynchronous)  # type: ignore[arg-type]
    assert response["X-N-Plus-One"].startswith("1; testapp.Book.publisher x4 at ")


def test_what_streams_is_watched(caplog: pytest.LogCaptureFixture) -> None:
    def parts() -> Iterator[str]:
        for book in Book.objects.order_by("pk"):
            yield book.publisher.name

    response: Any = answer("log", lambda request: StreamingHttpResponse(parts()))
    with settings(N_PLUS_ONE_MODE="log"):
        assert len(b"".join(response.streaming_content)) == 20
    assert "4 queries for testapp.Book.publisher" in caplog.text


def test_what_streams_asynchronously_is_watched(caplog: pytest.LogCaptureFixture) -> None:
    async def parts() -> AsyncIterator[str]:
        async for book in Book.objects.order_by("pk"):
            yield await sync_to_async(lambda: book.publisher.name)()  # noqa: B023

    async def asynchronous(request: HttpRequest) -> HttpResponseBase:
        return StreamingHttpResponse(parts())

    async def read() -> bytes:
        handle: Any = n_plus_one_guard(asynchronous)
        response = await handle(RequestFactory().get("/"))
        return b"".join([part async for part in response.streaming_content])

    with settings(N_PLUS_ONE_MODE="log"):
        assert len(async_to_sync(read)()) == 20
    assert "4 queries for testapp.Book.publisher" in caplog.text


def test_the_threshold_is_how_many_make_a_loop() -> None:
    for threshold, found in ((4, 1), (5, 0)):
        with settings(N_PLUS_ONE_MIN_QUERIES=threshold), watch_n_plus_one(mode="log") as watch:
            loop()
        assert watch is not None
        assert len(watch.findings) == found


def test_a_sample_is_watched() -> None:
    drawn = 0
    with settings(N_PLUS_ONE_SAMPLE_RATE=0.5):
        for _ in range(200):
            with watch_n_plus_one(mode="log") as watch:
                drawn += watch is not None
    assert 50 < drawn < 150
    with settings(N_PLUS_ONE_SAMPLE_RATE=0.0), watch_n_plus_one(mode="log") as watch:
        assert watch is None


def test_a_watch_within_another_leaves_it_to_that() -> None:
    with watch_n_plus_one(mode="log") as outer:
        with watch_n_plus_one(mode="log") as inner:
            loop()
        assert inner is None
    assert outer is not None
    assert len(outer.findings) == 1


def test_it_is_told_as_a_signal() -> None:
    told: list[tuple[Any, Finding]] = []

    def receive(sender: Any, finding: Finding, **_: Any) -> None:
        told.append((sender, finding))

    n_plus_one_found.connect(receive)
    try:
        answer("log")
    finally:
        n_plus_one_found.disconnect(receive)
    ((sender, finding),) = told
    assert sender is Book
    assert (finding.kind, finding.queries) == (Kind.FORWARD, 4)
    assert finding.functions[0] == f"{__name__}.loop"


def test_a_receiver_that_fails_changes_no_answer(caplog: pytest.LogCaptureFixture) -> None:
    def receive(**_: Any) -> None:
        raise ZeroDivisionError

    n_plus_one_found.connect(receive)
    try:
        assert answer("log").status_code == 200
    finally:
        n_plus_one_found.disconnect(receive)
    assert "could not take a finding: ZeroDivisionError()" in caplog.text


def test_a_file_is_left_to_the_server(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    response: Any = answer("log", lambda request: FileResponse((tmp_path / "file").open("rb")))
    assert response.file_to_stream is not None
    assert response.getvalue() == b"content"
    response.close()


def test_a_function_that_calls_itself_is_a_loop() -> None:
    def depth(person: Person) -> int:
        return 1 + depth(person.mentor) if person.mentor else 0

    last: Person | None = None
    for name in "abcde":
        last = Person.objects.create(name=name, mentor=last)
    assert last is not None
    last.refresh_from_db()
    with watch_n_plus_one(mode="log") as watch:
        assert depth(last) == 4
    assert watch is not None
    assert [finding.name for finding in watch.findings] == ["testapp.Person.mentor"]


def test_no_n_plus_one_fails_at_the_end_with_everything() -> None:
    with pytest.raises(NPlusOneError) as caught, no_n_plus_one():
        loop()
        for book in Book.objects.all():
            book.review_set.count()
    assert len(caught.value.findings) == 2
    with no_n_plus_one(threshold=5):
        loop()
    with no_n_plus_one(), allow_n_plus_one():
        loop()


def test_the_exception_of_the_block_goes_first() -> None:
    with pytest.raises(ZeroDivisionError), no_n_plus_one():
        loop()
        raise ZeroDivisionError


def test_once_is_no_loop() -> None:
    with pytest.raises(ValueError, match="at least 2"), no_n_plus_one(threshold=1):
        pass


def test_an_error_of_the_query_is_the_querys_own() -> None:
    with watch_n_plus_one(mode="log") as watch, pytest.raises(Book.DoesNotExist):
        Book.objects.get(pk=0)
    assert watch is not None
    assert watch.findings == []


class TestRecord:
    def test_what_was_found_is_summed_up(self, tmp_path: Path) -> None:
        file = tmp_path / "loops.jsonl"
        with settings(N_PLUS_ONE_RECORD=str(file)):
            answer("log")
            answer("log")
            with watch_n_plus_one(mode="log"):
                for book in Book.objects.all():
                    book.review_set.count()
            out = StringIO()
            call_command("perfkit_n_plus_one", stdout=out)
        assert len(file.read_text().splitlines()) == 3
        text = out.getvalue()
        assert text.index("testapp.Book.publisher, foreign key") < text.index(
            "testapp.Book.review_set, count of"
        )
        assert "  8 queries in 2 runs, at most 4 in one; " in text
        assert 'Fix: `Book.objects.select_related("publisher")`' in text
        assert text.endswith("2 loops of queries, seen 3 times.\n")

    def test_it_can_fail_a_build(self, tmp_path: Path) -> None:
        file = tmp_path / "loops.jsonl"
        file.touch()
        out = StringIO()
        call_command("perfkit_n_plus_one", str(file), "--fail", stdout=out)
        assert out.getvalue() == "No loop of queries was recorded.\n"
        with settings(N_PLUS_ONE_RECORD=str(file)):
            answer("log")
        with pytest.raises(CommandError, match="were recorded"):
            call_command("perfkit_n_plus_one", str(file), "--fail", stdout=out)

    def test_a_file_that_is_no_record_is_told(self, tmp_path: Path) -> None:
        file = tmp_path / "other.jsonl"
        file.write_text(json.dumps({"kind": "foreign key"}) + "\n")
        with pytest.raises(CommandError, match="line 1: not a recorded finding"):
            call_command("perfkit_n_plus_one", str(file))
        file.write_text("{}\n" + json.dumps({"kind": "foreign key"})[:9])
        with pytest.raises(CommandError, match="line 1"):
            call_command("perfkit_n_plus_one", str(file))
        file.write_text(json.dumps({"kind": "foreign key"})[:9])
        err = StringIO()
        call_command("perfkit_n_plus_one", str(file), stdout=StringIO(), stderr=err)
        assert "line 1 is cut off, and left out" in err.getvalue()
        with pytest.raises(CommandError, match="cannot be read"):
            call_command("perfkit_n_plus_one", str(tmp_path / "missing"))
        with pytest.raises(CommandError, match="Name a file"):
            call_command("perfkit_n_plus_one")

    def test_a_file_that_cannot_be_written_changes_no_answer(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        with settings(N_PLUS_ONE_RECORD=str(tmp_path / "missing" / "loops")):
            assert answer("log").status_code == 200
        assert "could not be recorded" in caplog.text


def test_a_watch_that_gives_way_is_replaced_and_others_are_not() -> None:
    for gives_way, found in ((True, 1), (False, None)):
        outer = Watch(threshold=2, gives_way=gives_way)
        with watching(outer), watch_n_plus_one(mode="log") as inner:
            loop()

        assert (None if inner is None else len(inner.findings)) == found
        assert len(outer.findings) == (0 if gives_way else 1)
