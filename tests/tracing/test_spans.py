"""Spans of what takes long, by OpenTelemetry's own SDK: their names, their nesting, and what is not in them."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.conf import LazySettings
from django.contrib.auth.models import Group
from django.db import transaction
from django.test import Client
from ninja import Schema
from opentelemetry import trace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from perfkit.api import acompiled_rows, compiled_rows
from perfkit.bulk import abulk_insert, bulk_copy_out, bulk_delete, bulk_insert, bulk_update, bulk_upsert
from perfkit.caching import cache, cached, token_scope
from perfkit.caching.store import current_store
from perfkit.errors import RowShapeError
from perfkit.inference import LocalDeterministicAdapter, ModelCache
from perfkit.jobs.running import run_job
from perfkit.models import Job
from perfkit.monitoring import timed
from perfkit.tracing import use_request_id
from perfkit.tracing.spans import current_traceparent
from project.flights.models import Airline
from tests.testapp import jobs

pytestmark = pytest.mark.django_db(transaction=True)

SECRET = "s3cr3t"
Spans = InMemorySpanExporter


@pytest.fixture(autouse=True)
def _quiet(settings: LazySettings, spans: Spans) -> None:
    """Nothing is kept from before, a busy machine does not look like an outage, and no job is sent anywhere."""
    backend = "tests.jobs.conftest.NoJobs"
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_TIMEOUT": 5.0, "JOB_BACKEND": backend}
    store = current_store()
    assert store is not None
    store.clear()


def named(spans: Spans, name: str) -> list[Any]:
    return [each for each in spans.get_finished_spans() if each.name == name]


def told(span: Any) -> dict[str, Any]:
    own = {key.removeprefix("perfkit."): value for key, value in span.attributes.items()}
    own.pop("name", None)
    return own


def is_child(child: Any, parent: Any) -> bool:
    return bool(
        child.parent is not None
        and child.parent.span_id == parent.context.span_id
        and child.context.trace_id == parent.context.trace_id
    )


class AirlineOut(Schema):
    code: str
    name: str


class GroupOut(Schema):
    id: int
    name: str


@cached(key="tests-spans:{code}", ttl=60)
def airline_name(code: str) -> str:
    return Airline.objects.get(code=code).name


@cached(key="tests-aspans:{code}", ttl=60)
async def aairline_name(code: str) -> str:
    return (await Airline.objects.filter(code=code).afirst()).name  # type: ignore[union-attr]


@pytest.mark.redis
class TestCachedReads:
    def test_a_miss_and_a_hit(self, spans: Spans) -> None:
        Airline.objects.create(code="AA", name=SECRET)
        spans.clear()
        for _ in range(2):
            assert [each.name for each in Airline.objects.filter(name=SECRET)] == [SECRET]
        found = [told(each) for each in named(spans, "cache.read flights.Airline")]
        assert [each["outcome"] for each in found] == ["miss", "hit"]
        assert SECRET not in str([span.to_json() for span in spans.get_finished_spans()])

    def test_what_the_process_knows_makes_none(self, spans: Spans) -> None:
        Airline.objects.create(code="AA", name="American")
        with token_scope():
            for _ in range(3):
                Airline.objects.get(pk="AA")
            spans.clear()
            Airline.objects.get(pk="AA")
            assert spans.get_finished_spans() == ()

    def test_why_the_cache_was_passed(self, spans: Spans, settings: LazySettings) -> None:
        settings.PERFKIT = {**settings.PERFKIT, "CACHE_ENABLED": False}
        list(Airline.objects.all())
        (span,) = named(spans, "cache.read flights.Airline")
        assert told(span) == {"outcome": "bypass", "reason": "disabled"}

    def test_a_read_within_a_function_is_its_child(self, spans: Spans) -> None:
        Airline.objects.create(code="AA", name="American")
        spans.clear()
        assert airline_name("AA") == "American"
        (outer,) = [each for each in spans.get_finished_spans() if each.name.endswith("airline_name")]
        (inner,) = named(spans, "cache.read flights.Airline")
        assert outer.name == f"cache.read {airline_name.name}"
        assert (told(outer)["outcome"], told(inner)["outcome"]) == ("miss", "miss")
        assert is_child(inner, outer)

    def test_a_coroutine_function_too(self, spans: Spans) -> None:
        Airline.objects.create(code="AA", name="American")
        spans.clear()

        async def together() -> list[str]:
            return await asyncio.gather(aairline_name("AA"), aairline_name("AA"))

        assert async_to_sync(together)() == ["American"] * 2
        outer = [each for each in spans.get_finished_spans() if each.name.endswith("aairline_name")]
        assert len(outer) == 2
        inner = named(spans, "cache.read flights.Airline")
        assert all(any(is_child(each, parent) for parent in outer) for each in inner)
        assert not trace.get_current_span().get_span_context().is_valid

    def test_values_kept_by_hand(self, spans: Spans) -> None:
        cache.set(f"tests:{SECRET}", SECRET)
        assert cache.get(f"tests:{SECRET}") == SECRET
        assert cache.get_many([f"tests:{SECRET}", "tests:other"]) == {f"tests:{SECRET}": SECRET}
        one, many = map(told, named(spans, "cache.read perfkit.cache"))
        assert one["outcome"] == "hit"
        assert (many["keys"], many["hits"]) == (2, 1)
        assert SECRET not in str([span.to_json() for span in spans.get_finished_spans()])


def _groups(number: int) -> list[dict[str, str]]:
    return [{"name": f"{SECRET}{each}"} for each in range(number)]


class TestBulk:
    def test_each_operation(self, spans: Spans) -> None:
        with trace.get_tracer("tests").start_as_current_span("all") as parent:
            bulk_insert(Group, _groups(3))
            bulk_update(Group, [(each.pk, {"name": f"n{each.pk}"}) for each in Group.objects.all()])
            bulk_upsert(Group, [{"name": "new"}], conflict_columns=["name"])
            bulk_copy_out(Group.objects.all(), io.BytesIO())
            bulk_delete(Group, Group.objects.all())
            async_to_sync(abulk_insert)(Group, _groups(2))
        found = [each for each in spans.get_finished_spans() if each.name.startswith("bulk")]
        assert [(each.name, told(each)["rows"]) for each in found] == [
            ("bulk.insert auth.Group", 3),
            ("bulk.update auth.Group", 3),
            ("bulk.upsert auth.Group", 1),
            ("bulk.copy_out auth.Group", 4),
            ("bulk.delete auth.Group", 4),
            ("bulk.insert auth.Group", 2),
        ]
        assert all(is_child(each, parent) for each in found)

    def test_rows_that_are_read_from_the_cache_meanwhile_are_its_children(self, spans: Spans) -> None:
        Airline.objects.create(code="AA", name="American")
        spans.clear()

        def rows() -> Iterator[dict[str, str]]:
            for airline in Airline.objects.all():
                yield {"name": airline.name}

        bulk_insert(Group, rows())
        (outer,) = named(spans, "bulk.insert auth.Group")
        inner = named(spans, "cache.read flights.Airline")
        assert inner
        assert all(is_child(each, outer) for each in inner)

    def test_of_an_error_its_class_alone(self, spans: Spans) -> None:
        with pytest.raises(RowShapeError):
            bulk_insert(Group, [{"name": "a", SECRET: SECRET}])
        (span,) = named(spans, "bulk.insert auth.Group")
        assert span.status.status_code is StatusCode.ERROR
        assert span.attributes["error.type"] == "RowShapeError"
        assert SECRET not in span.to_json()


class TestLists:
    def test_rows_without_instances(self, spans: Spans) -> None:
        Group.objects.create(name=SECRET)
        rows = compiled_rows(Group.objects.filter(name=SECRET), GroupOut)
        assert async_to_sync(acompiled_rows)(Group.objects.all(), GroupOut) == rows
        assert len(named(spans, "list auth.Group")) == 2
        assert SECRET not in str([span.to_json() for span in spans.get_finished_spans()])

    def test_a_page_of_the_demo(self, spans: Spans) -> None:
        assert Client().get("/api/airports?page_size=2").status_code == 200
        (span,) = named(spans, "list flights.Airport")
        assert span.attributes["perfkit.request_id"]


class TestJobs:
    def test_it_belongs_to_whoever_has_enqueued_it(self, spans: Spans) -> None:
        tracer = trace.get_tracer("tests")
        with use_request_id("mine"), tracer.start_as_current_span("request") as parent, transaction.atomic():
            status = jobs.leave_effect.enqueue(1, note=SECRET)
        row = Job.objects.get(pk=status.id)
        assert (row.request_id, row.traceparent[36:52]) == (
            "mine",
            f"{parent.get_span_context().span_id:016x}",
        )
        assert run_job(row.pk) == "done"
        (span,) = named(spans, f"job {jobs.leave_effect.name}")
        assert is_child(span, parent)
        assert told(span) == {"outcome": "done", "job_id": str(row.pk), "queue": "", "request_id": "mine"}
        assert SECRET not in span.to_json()

    def test_one_that_nobody_with_an_id_has_enqueued_has_its_own(self, spans: Spans) -> None:
        row = Job.objects.get(pk=jobs.leave_effect.enqueue(1).id)
        assert (row.request_id, row.traceparent) == ("", "")
        run_job(row.pk)
        (span,) = named(spans, f"job {jobs.leave_effect.name}")
        assert span.parent is None
        assert told(span)["request_id"] == str(row.pk)

    def test_one_of_many_too(self, spans: Spans) -> None:
        with use_request_id("mine"):
            jobs.leave_effect.using().enqueue_many([(1,), (2,)])
        assert set(Job.objects.values_list("request_id", flat=True)) == {"mine"}

    @pytest.mark.parametrize(("kind", "outcome"), [("again", "retried"), ("final", "failed")])
    def test_of_its_error_the_class_alone(self, spans: Spans, kind: str, outcome: str) -> None:
        row = Job.objects.get(pk=jobs.fail.enqueue(1, SECRET, kind=kind).id)
        if outcome == "failed":
            with pytest.raises(ValueError, match="no way"):
                run_job(row.pk)
        else:
            assert run_job(row.pk) == outcome
        (span,) = named(spans, f"job {jobs.fail.name}")
        assert told(span)["outcome"] == outcome
        assert (span.status.status_code is StatusCode.ERROR) == (outcome == "failed")
        assert SECRET not in span.to_json()


class TestModels:
    @pytest.mark.parametrize("way", ["complete", "acomplete", "stream", "astream"])
    def test_an_answer(self, spans: Spans, way: str) -> None:
        models = ModelCache(LocalDeterministicAdapter(), cache=True)
        ways: dict[str, Callable[[], Any]] = {
            "complete": lambda: models.complete(SECRET, model="m").text,
            "acomplete": lambda: async_to_sync(models.acomplete)(SECRET, model="m").text,
            "stream": lambda: "".join(models.stream(SECRET, model="m")),
            "astream": lambda: async_to_sync(_read)(models),
        }
        models.invalidate()
        spans.clear()
        assert ways[way]() == ways[way]()
        found = [told(each) for each in named(spans, "model m")]
        assert [each["is_cached"] for each in found] == [False, True]
        assert all(each["adapter"] == LocalDeterministicAdapter().name for each in found)
        assert SECRET not in str([span.to_json() for span in spans.get_finished_spans()])
        assert not trace.get_current_span().get_span_context().is_valid

    def test_one_that_nobody_reads_on_ends(self, spans: Spans) -> None:
        models = ModelCache(LocalDeterministicAdapter(), cache=False)
        stream = models.stream("Tell me more, and more, and more", model="m")
        next(stream)
        stream.close()
        (span,) = named(spans, "model m")
        assert told(span)["is_abandoned"] is True


async def _read(models: ModelCache) -> str:
    return "".join([piece async for piece in models.astream(SECRET, model="m")])


def test_it_belongs_to_the_span_that_a_request_names(spans: Spans, settings: LazySettings) -> None:
    sent_by = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    secrets = {"Authorization": SECRET, "Cookie": f"a={SECRET}", "X-Request-ID": f"{SECRET} of mine"}
    Client().get("/api/airports?page_size=2", headers={"traceparent": sent_by, **secrets})
    found: Any = spans.get_finished_spans()
    assert named(spans, "list flights.Airport")
    assert {f"{each.context.trace_id:032x}" for each in found} == {sent_by.split("-")[1]}
    ids = {each.context.span_id for each in found}
    outmost = {f"{each.parent.span_id:016x}" for each in found if each.parent.span_id not in ids}
    assert outmost == {sent_by.split("-")[2]}
    assert SECRET not in str([span.to_json() for span in spans.get_finished_spans()])


def test_the_current_span_is_told_before_the_requests(spans: Spans) -> None:
    assert current_traceparent() == ""
    with trace.get_tracer("tests").start_as_current_span("own") as own:
        assert f"{own.get_span_context().span_id:016x}" in current_traceparent()


def test_there_is_none_where_it_is_turned_off(spans: Spans, settings: LazySettings) -> None:
    settings.PERFKIT = {**settings.PERFKIT, "TRACING": False}
    list(Airline.objects.all())
    bulk_insert(Group, _groups(1))
    compiled_rows(Group.objects.all(), GroupOut)
    with trace.get_tracer("tests").start_as_current_span("own"):
        assert current_traceparent() == ""
    assert [each.name for each in spans.get_finished_spans()] == ["own"]


SET_UP = """
import sys
from importlib.machinery import PathFinder
class Hiding(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if {hidden} and name.startswith("opentelemetry") else super().find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(PathFinder)] = Hiding
from django.conf import settings
settings.configure(INSTALLED_APPS=["perfkit"], DATABASES={{"default": {{
    "ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}}}, PERFKIT={{"TRACING": {tracing}}})
import django; django.setup()
from django.db import connection
from perfkit.signals import NOBODYS, work
from perfkit.tracing.spans import current_traceparent
connection.cursor().execute("SELECT 1")
print("opentelemetry.trace" in sys.modules, work.listener is None)
print(work.begin("list", "x") is NOBODYS, current_traceparent() == "", "opentelemetry.trace" in sys.modules)
if not {hidden}:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    trace.set_tracer_provider(TracerProvider())
    print(work.begin("list", "x") is NOBODYS)
"""


@pytest.mark.parametrize(
    ("hidden", "tracing", "expected"),
    [
        (True, True, ["False True", "True True False"]),
        (False, False, ["False False", "True True False", "True"]),
        (False, True, ["False False", "True True False", "False"]),
    ],
)
def test_the_api_is_imported_by_nobody_and_spans_begin_where_somebody_records_them(
    hidden: bool, tracing: bool, expected: list[str]
) -> None:
    code = SET_UP.format(hidden=hidden, tracing=tracing)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == expected


def test_a_provider_that_the_environment_names_is_one() -> None:
    code = SET_UP.format(hidden=False, tracing=True)
    ended = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OTEL_PYTHON_TRACER_PROVIDER": "sdk_tracer_provider"},
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == ["True False", "False True True", "False"]


def test_nothing_of_this_is_logged(spans: Spans, caplog: pytest.LogCaptureFixture) -> None:
    """OpenTelemetry logs where a context ends in another place than it began."""
    with caplog.at_level(logging.DEBUG, "opentelemetry"):
        Client().get("/api/airports?page_size=2")
        async_to_sync(acompiled_rows)(Group.objects.all(), GroupOut)
    assert not [each for each in caplog.records if each.name.startswith("opentelemetry")]


class TestTimed:
    def test_a_block_is_a_span_around_what_is_done_in_it(self, spans: Spans) -> None:
        with timed("price.quote"), timed("price.inner"):
            pass
        (outer,), (inner,) = named(spans, "timed price.quote"), named(spans, "timed price.inner")
        assert is_child(inner, outer)
        assert outer.status.status_code is not StatusCode.ERROR

    def test_what_raises_is_an_error_without_its_text(self, spans: Spans) -> None:
        @timed("price.fails")
        async def failing() -> None:
            raise ValueError(SECRET)

        with pytest.raises(ValueError, match=SECRET):
            asyncio.run(failing())
        (span,) = named(spans, "timed price.fails")
        assert span.status.status_code is StatusCode.ERROR
        assert SECRET not in span.to_json()

    def test_a_generator_is_a_span_that_its_reader_is_not_in(self, spans: Spans) -> None:
        @timed("rows")
        def rows() -> Iterator[int]:
            yield from range(3)

        @timed("arows")
        async def arows() -> AsyncIterator[int]:
            for number in range(3):
                yield number

        async def read() -> None:
            async for _ in arows():
                with timed("reader"):
                    pass

        for number in rows():
            with timed("reader"):
                pass
            if number:
                break
        asyncio.run(read())
        assert [each.parent for each in named(spans, "timed reader")] == [None] * 5
        for name in ("rows", "arows"):
            (span,) = named(spans, f"timed {name}")
            assert span.status.status_code is not StatusCode.ERROR
