from __future__ import annotations

from collections.abc import Callable

import pytest

from perfkit.errors import SettingsError, UsageError
from perfkit.monitoring.health import Status, degraded, health_check
from perfkit.monitoring.health.registry import all_names, calls_of
from tests.monitoring.health.asking import standing


def names(*wanted: str) -> list[str]:
    return [call.name for call in calls_of(wanted, option="HEALTH_READY")]


def test_perfkit_has_checks_of_its_own() -> None:
    assert sorted(all_names()) == sorted(
        ["database", "migrations", "outbox", "cache", "jobs", "schedules", "broker", "workers"]
    )


def test_a_check_returns_nothing_a_message_or_a_finding(declare: Callable[..., None]) -> None:
    async def later() -> str:
        return "later"

    declare("silent", lambda: None)
    declare("talking", lambda: "two left")
    declare("worse", lambda: degraded("one left"))
    declare("later", later)
    assert standing("silent") == ("ok", "")
    assert standing("talking") == ("ok", "two left")
    assert standing("worse") == ("degraded", "one left")
    assert standing("later") == ("ok", "later")


def test_what_it_raises_is_a_failure(declare: Callable[..., None]) -> None:
    def broken() -> None:
        raise LookupError("nothing there\nsecond line")

    declare("broken", broken)
    assert standing("broken") == ("failed", "LookupError: nothing there")


def test_it_is_called_for_each_of_its_parts(declare: Callable[..., None]) -> None:
    declare("disk", lambda part: f"of {part}", parts=lambda: ["a", "b"])
    assert names("disk", "disk.a") == ["disk.a", "disk.b"]
    assert names("disk.b") == ["disk.b"]
    assert standing("disk.b") == ("ok", "of b")


@pytest.mark.parametrize("wrong", ["databases", "database.nowhere", "cache.default"])
def test_a_name_that_nothing_has_is_an_error_of_the_settings(wrong: str) -> None:
    with pytest.raises(SettingsError, match=r"PERFKIT\['HEALTH_READY'\] names '"):
        names(wrong)


def test_two_checks_cannot_have_one_name(declare: Callable[..., None]) -> None:
    with pytest.raises(UsageError, match="a health check named 'cache' already"):
        declare("cache", lambda: None)
    with pytest.raises(UsageError, match="without a dot"):
        health_check("a.b")


def test_what_is_tolerated_is_degraded(declare: Callable[..., None], configure: Callable[..., None]) -> None:
    def gone(_part: str) -> None:
        raise OSError

    declare("disk", gone, parts=lambda: ["a", "b"])
    configure(HEALTH_TOLERATED=["disk.a"])
    assert standing("disk.a") == (Status.DEGRADED, "OSError")
    assert standing("disk.b") == (Status.FAILED, "OSError")
    configure(HEALTH_TOLERATED=["disk"])
    assert standing("disk.b") == (Status.DEGRADED, "OSError")
