"""Lines of logs: Python's, as JSON, and those of structlog and django-structlog."""

from __future__ import annotations

import io
import json
import logging
import logging.config
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from django.conf import LazySettings
from django.test import Client

from perfkit.tracing import add_request_id, logging_settings, use_request_id

FIRST = "perfkit.tracing.request_id_middleware"


@pytest.fixture
def written() -> Iterator[Any]:
    """A function that sets up logging as a project does, and returns what is written."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level

    def set_up(**options: Any) -> io.StringIO:
        stream = io.StringIO()
        settings = logging_settings(**options)
        settings["handlers"]["console"]["stream"] = stream
        logging.config.dictConfig(settings)
        return stream

    yield set_up
    root.handlers[:] = before
    root.setLevel(level)


def test_each_line_has_the_id(written: Any) -> None:
    stream = written()
    with use_request_id("known"):
        logging.getLogger("any.logger").info("within")
    logging.getLogger("any.logger").info("outside")
    within, outside = stream.getvalue().splitlines()
    assert within.endswith("INFO any.logger [known] within")
    assert outside.endswith("INFO any.logger [-] outside")


def test_what_a_line_says_itself_stays(written: Any) -> None:
    stream = written()
    with use_request_id("known"):
        logging.getLogger("any.logger").info("theirs", extra={"request_id": "other", "view": "own"})
    assert "[other] theirs" in stream.getvalue()


def test_a_line_of_json_says_what_is_beside_it_too(written: Any) -> None:
    stream = written(json=True)
    with use_request_id("known"):
        logging.getLogger("any.logger").warning("it's %s", "done", extra={"rows": 5})
    line = json.loads(stream.getvalue())
    assert line.pop("time")
    assert line == {
        "level": "WARNING",
        "logger": "any.logger",
        "message": "it's done",
        "request_id": "known",
        "view": "-",
        "rows": 5,
    }


def test_json_has_no_query_of_a_request_and_no_argument_of_a_task(
    written: Any, settings: LazySettings
) -> None:
    settings.ROOT_URLCONF, settings.MIDDLEWARE = "tests.tracing.pages", [FIRST]
    stream = written(json=True, level="DEBUG")
    Client().get("/nowhere/?token=s3cr3t", headers={"Authorization": "s3cr3t"})
    # As Celery logs that it has received a task.
    logging.getLogger("celery.worker.strategy").info("Task received", extra={"data": {"args": "('s3cr3t',)"}})
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert {"django.request", "celery.worker.strategy"} <= {line["logger"] for line in lines}
    assert "s3cr3t" not in stream.getvalue()


def test_events_of_structlog_have_it() -> None:
    events: list[Any] = []

    def keep(_: Any, __: str, event: Any) -> Any:
        events.append(dict(event))
        raise structlog.DropEvent

    logger = structlog.wrap_logger(
        None, processors=[structlog.contextvars.merge_contextvars, add_request_id, keep]
    )
    with use_request_id("known"):
        logger.info("within")
        logger.info("theirs", request_id="own")
    logger.info("outside")
    assert events == [
        {"event": "within", "request_id": "known"},
        {"event": "theirs", "request_id": "own"},
        {"event": "outside"},
    ]


def test_django_structlog_has_the_same(settings: LazySettings) -> None:
    settings.ROOT_URLCONF = "tests.tracing.pages"
    settings.MIDDLEWARE = [FIRST, "django_structlog.middlewares.RequestMiddleware"]
    settings.DJANGO_STRUCTLOG_TRUST_UPSTREAM_REQUEST_ID = True
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as events:
        given = Client().get("/plain/", headers={"X-Request-ID": "theirs"})
        made = Client().get("/plain/")
    finished = [each["request_id"] for each in events if each["event"] == "request_finished"]
    assert finished == [given["X-Request-ID"], made["X-Request-ID"]] == ["theirs", finished[1]]
