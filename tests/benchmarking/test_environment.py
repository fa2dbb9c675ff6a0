from __future__ import annotations

from dataclasses import replace

import pytest
from django.db import connection

from perfkit.benchmarking.environment import Environment, doubts, environment

QUIET = Environment(
    at="2026-01-01 00:00:00+00:00",
    perfkit="1",
    django="5.2",
    python="3.11",
    database="PostgreSQL 18.1",
    cache="django_redis.cache.RedisCache",
    cpu="a processor",
    cores=4,
    load=0.5,
    is_debug=False,
    is_cached=True,
)


class TestDoubts:
    def test_it_has_none_about_a_quiet_machine(self) -> None:
        assert doubts(QUIET) == []
        assert doubts(replace(QUIET, load=None)) == []

    @pytest.mark.parametrize(
        ("change", "said"),
        [({"load": 2.1}, "busy"), ({"is_debug": True}, "DEBUG"), ({"is_cached": False}, "CACHE_ENABLED")],
    )
    def test_it_says_what_is_wrong(self, change: dict[str, object], said: str) -> None:
        [doubt] = doubts(replace(QUIET, **change))
        assert said in doubt


@pytest.mark.django_db
def test_it_knows_the_versions() -> None:
    found = environment("default")
    assert found.database.startswith(f"{connection.display_name} ")
    assert found.cores >= 1
    assert dict(found.lines())["Software"].startswith("perfkit ")
    assert dict(replace(found, is_cached=False).lines())["Cache"].endswith("CACHE_ENABLED is off")
