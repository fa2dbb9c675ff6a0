"""The loops that the guard finds, written as they are, over rows that load their relations for each other."""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil
from typing import Any

import pytest
from django.db import connection
from django.db.models import QuerySet
from django.test.utils import CaptureQueriesContext

from perfkit.loading import autoload, no_n_plus_one
from perfkit.loading.autoloading.peers import block_size
from tests.loading.guard.loops import LOOPS, Loop, make_library

LEVELS = {"chained": 2, "generic foreign key": 1}
"""Queries beside that of the list, where they are not one."""

relations = pytest.mark.parametrize(
    "loop", [loop for loop in LOOPS if loop.fills_itself], ids=lambda loop: loop.name
)
others = pytest.mark.parametrize(
    "loop", [loop for loop in LOOPS if not loop.fills_itself], ids=lambda loop: loop.name
)


def plain(queryset: QuerySet[Any]) -> Iterable[Any]:
    return queryset


@relations
@pytest.mark.parametrize("size", [1, 50, 1000])
def test_it_takes_one_query_for_each_level(loop: Loop, size: int, db: None) -> None:
    make_library(size)
    loop.naive(plain)  # fills the cache of content types
    with CaptureQueriesContext(connection) as captured:
        loop.naive(autoload)
    together = 100 if "iterator" in loop.name else block_size("default")
    most_rows = 3 * size  # each book has so many reviews
    levels = LEVELS.get(loop.name, 1) * ceil(most_rows / together)
    assert len(captured) <= 1 + levels, "\n".join(query["sql"] for query in captured)


@relations
def test_it_reads_what_is_read_without(loop: Loop, db: None) -> None:
    make_library(7)
    assert loop.naive(autoload) == loop.naive(plain)


@relations
def test_the_guard_finds_nothing(loop: Loop, db: None) -> None:
    make_library(5)
    with no_n_plus_one():
        loop.naive(autoload)


@others
def test_it_changes_nothing_else(loop: Loop, db: None) -> None:
    make_library(4)
    first = loop.naive(plain)
    assert loop.naive(autoload) == first
