"""Behind PgBouncer in transaction mode: processes that read and write share few sessions, and nothing is stale."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from django.db import connection

from perfkit.caching.writes import tracker_of
from project.services.state import LOOPBACK
from tests.caching.conftest import Outcome
from tests.caching.processes import Process
from tests.plugins.valkey import DisposableValkey
from tests.soak.report import Plan
from tests.soak.run import Soak
from tests.testapp.models import Item

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.postgres,
    pytest.mark.redis,
    pytest.mark.pgbouncer,
]

FEW, SOME = 2, 10
"""Sessions of PostgreSQL: fewer than processes, and as many as need one at the same time."""

PLAN = Plan(
    seconds=3,
    seed="test",
    readers=2,
    writers=2,
    policy="wait",
    disturbances=("killed",),
    kills=("reader anywhere",),
    kill_every_seconds=(1.0, 2.0),
    least_hits=100,
    least_each=0,  # a busy machine may not come to each way within so short a time
)


@pytest.mark.parametrize("pgbouncer", [SOME], indirect=True)
def test_every_read_of_a_soak_keeps_the_promise(
    pgbouncer: int, valkey_server: Callable[[], DisposableValkey]
) -> None:
    report = Soak(PLAN, server=valkey_server(), tell=print).run()
    assert report.shortcomings() == []
    assert {recovery.kind for recovery in report.recoveries} == {"start", *PLAN.disturbances}


@pytest.mark.parametrize("pgbouncer", [FEW], indirect=True)
def test_five_processes_on_two_sessions_are_never_stale(
    pgbouncer: int, start: Callable[..., Process]
) -> None:
    pk = Item.plain.create(name="old").pk
    writer, *readers = (start() for _ in range(5))
    for reader in readers:
        reader.start("watch", pk, 3.0)
    writer.start("increment", pk, 3.0)
    told = [reader.answer() for reader in readers]
    assert writer.answer() > 10
    assert [each["stale"] for each in told] == [0] * len(readers)
    assert all(each["hit"] > 10 for each in told), told


def test_what_another_client_sets_in_a_session_is_not_taken_for_our_own(
    pgbouncer: int, reads: list[Outcome]
) -> None:
    """They change hands with it; where its own connection has set one, perfkit trusts the cache no more."""
    pk = Item.plain.create(name="old").pk
    for _ in range(2):
        Item.objects.get(pk=pk)
    assert reads[-1] == ("Item", "hit", "")
    with connection.cursor() as cursor:
        cursor.execute("SET search_path TO public, pg_temp")
    Item.objects.get(pk=pk)
    assert reads[-1] == ("Item", "bypass", "session setting")


def test_the_pooler_is_what_stands_between(pgbouncer: int) -> None:
    """Else the tests here would say nothing."""
    server = connection.settings_dict
    assert server["PORT"] == pgbouncer
    connection.ensure_connection()
    assert tracker_of(connection) is not None
    with psycopg.connect(
        host=LOOPBACK, port=pgbouncer, user=server["USER"], dbname="pgbouncer", autocommit=True
    ) as console:
        pools = console.execute("SHOW POOLS").fetchall()
        [pool] = [pool for pool in pools if pool[0] == server["NAME"]]
        names = [column.name for column in console.execute("SHOW POOLS").description or ()]
        assert pool[names.index("pool_mode")] == "transaction"
