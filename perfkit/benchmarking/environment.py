"""Where a benchmark ran, and what makes its figures doubtful."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import django
from django.conf import settings
from django.core.cache import InvalidCacheBackendError, caches
from django.db import connections

import perfkit
from perfkit.conf import options

BUSY_SHARE: Final = 0.5
"""Of the cores; from there on others take time away."""


@dataclass(frozen=True, slots=True)
class Environment:
    """What figures depend on.

    Attributes:
        load: How many processes wanted to run during the last minute, None where the system does not say.
        cache: The back end behind `CACHE_ALIAS`.
    """

    at: str
    perfkit: str
    django: str
    python: str
    database: str
    cache: str
    cpu: str
    cores: int
    load: float | None
    is_debug: bool
    is_cached: bool

    def lines(self) -> list[tuple[str, str]]:
        """Return names and values for people."""
        return [
            ("Measured", self.at),
            ("Software", f"perfkit {self.perfkit}, Django {self.django}, Python {self.python}"),
            ("Database", self.database),
            ("Cache", f"{self.cache}{'' if self.is_cached else ', CACHE_ENABLED is off'}"),
            ("Machine", f"{self.cpu}, {self.cores} {'core' if self.cores == 1 else 'cores'}"),
            ("Load", "unknown" if self.load is None else f"{self.load:.2f} as the benchmark began"),
        ]

    def as_json(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return asdict(self)


def environment(using: str) -> Environment:
    """Return what the figures of this process depend on.

    Queries: at most one, for the version.
    """
    connection = connections[using]
    with connection.cursor():
        version = ".".join(map(str, connection.get_database_version()))
    return Environment(
        at=datetime.now(tz=UTC).isoformat(sep=" ", timespec="seconds"),
        perfkit=perfkit.__version__,
        django=django.get_version(),
        python=platform.python_version(),
        database=f"{connection.display_name} {version}",
        cache=_cache(),
        cpu=_cpu(),
        cores=os.cpu_count() or 1,
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        is_debug=settings.DEBUG,
        is_cached=options.CACHE_ENABLED,
    )


def doubts(found: Environment) -> Sequence[str]:
    """Return what makes the figures doubtful. Pure."""
    doubtful = []
    if found.load is not None and found.load > found.cores * BUSY_SHARE:
        doubtful.append(
            f"The machine is busy with other work (a load of {found.load:.2f} on {found.cores} cores): "
            "look at the ratios rather than at the times, and measure again when it is quiet."
        )
    if found.is_debug:
        doubtful.append(
            "DEBUG is on: Django keeps each query, and templates are read anew. Measure with DEBUG off."
        )
    if not found.is_cached:
        doubtful.append("PERFKIT['CACHE_ENABLED'] is off: nothing that is cached could be measured.")
    return doubtful


def _cache() -> str:
    alias = options.CACHE_ALIAS
    try:
        kind = type(caches[alias])
    except InvalidCacheBackendError:
        return f"no CACHES[{alias!r}]"
    return f"{kind.__module__}.{kind.__qualname__}"


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
