from __future__ import annotations

import pytest
from asgiref.sync import async_to_sync, sync_to_async

from perfkit.loading import watch_n_plus_one
from perfkit.loading.guard.watch import Watch
from tests.loading.guard.loops import LOOPS, Loop, make_library

every_kind = pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.name)


@pytest.fixture
def library(db: None) -> None:
    make_library()


@every_kind
def test_it_finds(loop: Loop, library: None) -> None:
    with watch_n_plus_one(mode="log") as watch:
        loop.naive(lambda queryset: queryset)
    assert watch is not None
    assert_found(watch, loop)


@every_kind
def test_it_finds_in_async_code(loop: Loop, library: None) -> None:
    async def run() -> None:
        await sync_to_async(loop.naive)(lambda queryset: queryset)

    with watch_n_plus_one(mode="log") as watch:
        async_to_sync(run)()
    assert watch is not None
    assert_found(watch, loop)


@every_kind
def test_it_finds_nothing_where_it_is_mended(loop: Loop, library: None) -> None:
    with watch_n_plus_one(mode="log") as watch:
        loop.fixed()
    assert watch is not None
    assert watch.findings == []


@every_kind
def test_what_mends_it_reads_the_same(loop: Loop, library: None) -> None:
    assert loop.fixed() == loop.naive(lambda queryset: queryset)


def assert_found(watch: Watch, loop: Loop) -> None:
    found = {(finding.kind, finding.name) for finding in watch.findings}
    assert (loop.kind, loop.subject) in found
    (finding,) = [each for each in watch.findings if (each.kind, each.name) == (loop.kind, loop.subject)][:1]
    assert finding.queries >= 3
    assert "tests/loading/guard/loops.py:" in finding.lines[0]
    assert finding.fix
