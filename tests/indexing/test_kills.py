from __future__ import annotations

import pytest
from django.db import connection

from tests.indexing.kills import CASES, WAYS, Kills
from tests.plugins.postgres import DisposablePostgres

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True)]


def url() -> str:
    server = connection.settings_dict
    return (
        f"postgres://{server['USER']}:{server['PASSWORD']}@{server['HOST']}:{server['PORT']}/{server['NAME']}"
    )


def test_it_leaves_nothing_invalid_however_it_is_ended() -> None:
    kills = Kills(url(), rows=60_000, seed=11)
    kills.longest_seconds = 0.1
    with kills.stage():
        for number in range(10):
            kills.once(WAYS[number % len(WAYS)], list(CASES)[number % len(CASES)])
    assert kills.problems == []
    assert kills.counts["invalid before the retry"] > 0


def test_it_leaves_nothing_invalid_where_the_server_is_killed(own_postgres: DisposablePostgres) -> None:
    kills = Kills(own_postgres.url, rows=60_000, seed=12, server=own_postgres)
    kills.longest_seconds = 0.1
    with kills.stage():
        for name in ("index", "partitions"):
            kills.once("server", name)
    assert kills.problems == []
