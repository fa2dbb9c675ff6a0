"""Which checks there are: perfkit's own, and those that a project declares."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any, Final, TypeAlias, TypeVar

from perfkit.errors import SettingsError, UsageError, nearest
from perfkit.monitoring.health.results import Finding

Found: TypeAlias = "Finding | str | None"
CheckFunction: TypeAlias = "Callable[..., Found | Awaitable[Found]]"
F = TypeVar("F", bound="Callable[..., Any]")

BUILT_IN: Final = ("databases", "stores", "waiting", "brokers")
"""Modules with checks of perfkit's own; loaded with the first probe, for they need models."""


@dataclass(frozen=True, slots=True)
class Check:
    """A check as it is declared.

    Attributes:
        parts: Names what it is called with, one by one; None where it is called once and with nothing.
        timeout_seconds: How long it may take at the most, within `HEALTH_TIMEOUT`.
    """

    name: str
    function: CheckFunction
    parts: Callable[[], Sequence[str]] | None
    timeout_seconds: float | None


@dataclass(frozen=True, slots=True)
class Call:
    """A check as it is run: under its full name, such as `database.default`."""

    name: str
    function: Callable[[], Found | Awaitable[Found]]
    timeout_seconds: float | None

    def __call__(self) -> Finding:
        """Run it, and return what it has found."""
        found = self.function()
        if inspect.isawaitable(found):
            found = asyncio.run(_awaited(found))
        if found is None or isinstance(found, str):
            return Finding(message=found or "")
        return found


_checks: Final[dict[str, Check]] = {}


def health_check(
    name: str, *, parts: Callable[[], Sequence[str]] | None = None, timeout_seconds: float | None = None
) -> Callable[[F], F]:
    """Declare a function, plain or async, as a check of health.

    It returns nothing or a message where all is well, `degraded("…")` or `failed("…")` where it is not; what it
    raises is a failure. It runs in a thread of its own, never twice at the same time, and is given up after
    `HEALTH_TIMEOUT` seconds. `/health/all` runs it, and `/health/ready` where `HEALTH_READY` names it.

    Args:
        name: What it is called in reports and in options; without a dot.
        parts: Returns names for each of which the function is called, with that name.
        timeout_seconds: Less than `HEALTH_TIMEOUT`.

    Raises:
        UsageError: The name has a dot, or another function has it.

    Example:
        >>> @health_check("warehouse")  # doctest: +SKIP
        ... def warehouse():
        ...     if not Stock.objects.exists():
        ...         return degraded("the stock is empty")
    """
    if not name or "." in name:
        raise UsageError(f"A health check cannot be named {name!r}: give it a name without a dot.")

    def declare(function: F) -> F:
        known = _checks.get(name)
        if known is not None and _place(known.function) != _place(function):
            raise UsageError(f"There is a health check named {name!r} already: {_place(known.function)}.")
        _checks[name] = Check(name, function, parts, timeout_seconds)
        return function

    return declare


def forget_check(name: str) -> None:
    """Take a check out again; for tests."""
    del _checks[name]


def all_names() -> list[str]:
    """Return the names of all checks, perfkit's own first."""
    _load()
    return list(_checks)


def calls_of(names: Iterable[str], *, option: str) -> list[Call]:
    """Return what is run for these names, of checks or of their parts.

    Raises:
        SettingsError: There is no check of such a name.
    """
    _load()
    return list({call.name: call for name in names for call in _calls(name, option)}.values())


def _calls(name: str, option: str) -> Iterator[Call]:
    family, _, wanted = name.partition(".")
    check = _checks.get(family)
    parts = () if check is None or check.parts is None else check.parts()
    if check is None or (wanted and wanted not in parts):
        known = [*_checks, *(f"{family}.{part}" for part in parts)]
        raise SettingsError(option, f"names {name!r}, which is no health check.{nearest(name, known)}")
    if check.parts is None:
        yield Call(check.name, check.function, check.timeout_seconds)
        return
    for part in [wanted] if wanted else parts:
        yield Call(f"{check.name}.{part}", partial(check.function, part), check.timeout_seconds)


async def _awaited(found: Awaitable[Found]) -> Found:
    return await found


def _load() -> None:
    for module in BUILT_IN:
        import_module(f"perfkit.monitoring.health.{module}")


def _place(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{getattr(function, '__qualname__', repr(function))}"
