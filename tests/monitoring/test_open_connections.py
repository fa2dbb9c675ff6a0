"""Connections are counted in whatever thread they are."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connection, connections, transaction

from perfkit.api.summary import SummaryOut
from perfkit.management.stats_text import summary_lines
from perfkit.monitoring.boards import boards
from perfkit.monitoring.figures import connected
from perfkit.monitoring.open_connections import Connected, OpenConnections, install, open_connections
from perfkit.monitoring.plain import as_dict
from tests.monitoring.conftest import Measured

pytestmark = pytest.mark.django_db(transaction=True)

WAIT_SECONDS = 30


def of_default() -> Connected:
    found = {each.alias: each for each in open_connections.figures()}
    return found.get("default", Connected("default"))


@pytest.fixture(autouse=True)
def _installed(db: None) -> None:
    connection.ensure_connection()
    install()


@contextmanager
def holding(number: int, *, in_transaction: bool = False) -> Iterator[None]:
    """Have threads hold connections of their own."""
    are_open, may_end = threading.Barrier(number + 1), threading.Event()

    def hold() -> None:
        try:
            connections["default"].ensure_connection()
            if in_transaction:
                with transaction.atomic(), connections["default"].cursor() as cursor:
                    cursor.execute("SELECT 1")
                    are_open.wait(WAIT_SECONDS)
                    may_end.wait(WAIT_SECONDS)
            else:
                are_open.wait(WAIT_SECONDS)
                may_end.wait(WAIT_SECONDS)
        finally:
            connections["default"].close()

    threads = [threading.Thread(target=hold) for _ in range(number)]
    for thread in threads:
        thread.start()
    are_open.wait(WAIT_SECONDS)
    try:
        yield
    finally:
        may_end.set()
        for thread in threads:
            thread.join(WAIT_SECONDS)


@pytest.mark.postgres  # a database in memory is written by one at a time, and never closed
def test_those_of_all_threads_are_counted_by_what_they_do() -> None:
    before = of_default()
    with holding(3), holding(2, in_transaction=True):
        now = of_default()
        assert (now.idle - before.idle, now.in_transaction - before.in_transaction) == (3, 2)
        assert now.open == before.open + 5
    assert of_default() == before


@pytest.mark.postgres
def test_one_that_is_closed_is_not_counted_until_it_is_opened_again() -> None:
    before = of_default().open
    connection.close()
    assert of_default().open == before - 1
    connection.ensure_connection()
    assert of_default().open == before


@pytest.mark.postgres
def test_one_with_a_statement_under_way_is_active() -> None:
    is_open, may_end = threading.Event(), threading.Event()

    def wait() -> None:
        try:
            with connections["default"].cursor() as cursor:
                cursor.execute("SELECT pg_advisory_lock(4711)")
                is_open.set()
                may_end.wait(WAIT_SECONDS)
        finally:
            connections["default"].close()

    def ask() -> None:
        try:
            with connections["default"].cursor() as cursor:
                cursor.execute("SELECT pg_advisory_lock(4711)")
        finally:
            connections["default"].close()

    holder, asker = threading.Thread(target=wait), threading.Thread(target=ask)
    holder.start()
    assert is_open.wait(WAIT_SECONDS)
    asker.start()
    try:
        deadline = threading.Event()
        for _ in range(WAIT_SECONDS * 100):
            if of_default().active:
                break
            deadline.wait(0.01)
        assert of_default().active == 1
    finally:
        may_end.set()
        for thread in (holder, asker):
            thread.join(WAIT_SECONDS)


def test_a_child_knows_of_none() -> None:
    known = OpenConnections()
    known.note(connections["default"])
    assert known.figures()
    known.begin_anew()
    assert known.figures() == []


def test_all_pages_tell_them(measured: Measured) -> None:
    with holding(2):
        boards.renew()
        summary = measured.summary()
    found = connected(summary.processes)["default"]
    assert found.open >= 3
    told = [each for each in as_dict(summary)["connections"] if each["alias"] == "default"]
    assert told == [
        {
            "alias": "default",
            "active": found.active,
            "in_transaction": found.in_transaction,
            "idle": found.idle,
        }
    ]
    assert SummaryOut.model_validate(as_dict(summary)).connections[0].alias == "default"
    (line,) = [
        each for each in summary_lines(summary, sections=["connections"], most=10) if "default" in each
    ]
    assert f" {found.open} " in f"{line} "


def test_connections_of_all_processes_are_added_up() -> None:
    process = boards.process()
    others = [
        type(process)(1.0, "h", 1, "web", 1.0, 0, 0, (), 0, (Connected("a", 1, 2, 3), Connected("b", 1)))
        for _ in range(2)
    ]
    assert connected(others) == {"a": Connected("a", 2, 4, 6), "b": Connected("b", 2)}
