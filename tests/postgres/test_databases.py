from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from perfkit.errors import UsageError
from perfkit.postgres import database_settings, pool_options
from perfkit.postgres.prepared import PREPARE_WHEN_ASKED

URL = "postgres://ann:secret@db:5433/shop"


class TestUrl:
    def test_it_names_the_database(self) -> None:
        entry = database_settings(URL)
        named = {key: entry[key] for key in ("ENGINE", "NAME", "USER", "PASSWORD", "HOST", "PORT")}
        assert named == {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": "shop",
            "USER": "ann",
            "PASSWORD": "secret",
            "HOST": "db",
            "PORT": "5433",
        }

    def test_its_parts_may_be_quoted_and_its_query_are_options(self) -> None:
        entry = database_settings(
            "postgresql://a%40b:p%2Fw@/shop%20one?sslmode=require&host=%2Fvar%2Frun", mode="development"
        )
        assert (entry["USER"], entry["PASSWORD"], entry["NAME"]) == ("a@b", "p/w", "shop one")
        assert (entry["HOST"], entry["PORT"]) == ("", "")
        assert entry["OPTIONS"]["sslmode"] == "require"
        assert entry["OPTIONS"]["host"] == "/var/run"

    @pytest.mark.parametrize("url", ["mysql://ann:secret@db/shop", "shop", ""])
    def test_another_one_is_refused_without_telling_the_password(self, url: str) -> None:
        with pytest.raises(UsageError) as caught:
            database_settings(url)
        assert "secret" not in str(caught.value)


class TestModes:
    @pytest.mark.parametrize(("mode", "most"), [("development", 10), ("production", 50), ("pgbouncer", 50)])
    def test_the_pool_is_checked_and_recycled(self, mode: Any, most: int) -> None:
        entry = database_settings(URL, mode=mode)
        assert (entry["CONN_MAX_AGE"], entry["CONN_HEALTH_CHECKS"]) == (0, True)
        assert entry["OPTIONS"]["pool"] == {
            "min_size": 1,
            "max_size": most,
            "max_lifetime": 3600.0,
            "timeout": 10.0,
            "reconnect_timeout": 10.0,
        }

    @pytest.mark.parametrize("mode", ["development", "production"])
    def test_straight_to_the_server_what_asks_is_prepared(self, mode: Any) -> None:
        entry = database_settings(URL, mode=mode)
        assert entry["OPTIONS"]["prepare_threshold"] == PREPARE_WHEN_ASKED
        assert entry["DISABLE_SERVER_SIDE_CURSORS"] is False

    def test_behind_pgbouncer_nothing_is(self) -> None:
        entry = database_settings(URL, mode="pgbouncer")
        assert entry["OPTIONS"]["prepare_threshold"] is None
        assert entry["DISABLE_SERVER_SIDE_CURSORS"] is True

    def test_numbers_and_a_name_can_be_given(self) -> None:
        entry = database_settings(
            URL, pool_size=3, pool_overflow=0, recycle_seconds=60, application_name="shop"
        )
        assert entry["OPTIONS"]["pool"]["max_size"] == 3
        assert entry["OPTIONS"]["pool"]["max_lifetime"] == 60.0
        assert entry["OPTIONS"]["application_name"] == "shop"

    def test_no_size_is_no_pool(self) -> None:
        assert "pool" not in database_settings(URL, pool_size=0)["OPTIONS"]

    def test_what_an_entry_says_itself_wins(self) -> None:
        given = {"NAME": "shop", "ATOMIC_REQUESTS": True, "OPTIONS": {"connect_timeout": 2}}
        entry = database_settings(given, mode="pgbouncer")
        assert entry["ATOMIC_REQUESTS"] is True
        assert entry["OPTIONS"]["connect_timeout"] == 2
        assert entry["OPTIONS"]["prepare_threshold"] is None
        assert given["OPTIONS"] == {"connect_timeout": 2}

    def test_an_unknown_mode_names_the_nearest(self) -> None:
        with pytest.raises(UsageError, match="Did you mean 'production'"):
            database_settings(URL, mode="prodution")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "values", [{"size": 0}, {"overflow": -1}, {"recycle_seconds": 0}, {"wait_seconds": 0}]
)
def test_a_number_too_small_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        pool_options(**values)


@pytest.mark.skipif(connection.vendor != "postgresql", reason="of PostgreSQL")
def test_django_takes_the_entry() -> None:
    other = connection.copy()
    other.settings_dict.update(database_settings(URL))
    parameters = other.get_connection_params()
    assert parameters["prepare_threshold"] == PREPARE_WHEN_ASKED
    assert parameters["connect_timeout"] == 5
    assert "pool" not in parameters
