"""Capturing as on servers, apart from the thread: a test writes down itself, and reads what it has written."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from django.conf import LazySettings
from django.db import connection

from perfkit.models import WorkloadCount, WorkloadSample, WorkloadShape
from perfkit.workload import QueryShape, flush_workload
from perfkit.workload.capture import capture
from perfkit.workload.reading import read_capture

# Fixtures, which only some of the tests need.
from tests.workload.preloaded import plain, preloaded  # noqa: F401

TABLES = (WorkloadSample, WorkloadCount, WorkloadShape)


class Captured:
    """What was captured since the test began."""

    def __init__(self, settings: LazySettings) -> None:
        self._settings = settings

    def set(self, **options: object) -> None:
        self._settings.PERFKIT = {**self._settings.PERFKIT, **options}

    def shapes(self) -> list[QueryShape]:
        assert flush_workload()
        return list(read_capture().shapes)

    def only(self, part: str) -> QueryShape:
        """The one shape that has this in its text."""
        (shape,) = [shape for shape in self.shapes() if part in shape.fingerprint]
        return shape


@pytest.fixture
def captured(
    transactional_db: None, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Captured]:
    """Everything is counted, each statement is an example, and nothing was captured before."""
    monkeypatch.setattr(capture, "has_thread", False)
    capture.forked()
    found = Captured(settings)
    found.set(WORKLOAD_ENABLED=True, WORKLOAD_SAMPLE_RATE=1.0)
    connection.ensure_connection()
    yield found
    flush_workload()
    for model in TABLES:
        model.objects.all().delete()
    capture.forked()


@pytest.fixture
def table_text() -> Callable[[], str]:
    """A function that returns all that the tables of the workload hold, as text."""

    def text() -> str:
        return repr([list(model.objects.values_list()) for model in TABLES])

    return text
