"""Says what the advisor could make use of and does not find, and how to have it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Final

from django.db import connections

from perfkit.conf import options
from perfkit.workload import Workload

SEARCHED: Final = re.compile(r"LIKE (?:UPPER\()?'%", re.IGNORECASE)
"""How Django asks for a text that has something in it."""


def enabling(using: str, workload: Workload | None, *, is_partial: bool = False) -> Iterator[str]:
    """Yield, for each thing that is missing, what it is for and how to have it.

    Args:
        is_partial: Whether some of the rows were not looked at, which hypopg would make good.

    Queries: 1 on PostgreSQL, none elsewhere.
    """
    if find_spec("pglast") is None:
        yield (
            "Statements are not read, so no missing indexes are found. Install the extra: "
            "pip install 'django-perfkit[advisor]'"
        )
    if workload is not None and not any(shape.samples for shape in workload.shapes):
        yield _without_samples()
    if connections[using].vendor != "postgresql":
        return
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT name FROM pg_available_extensions WHERE installed_version IS NOT NULL")
        there = {name for (name,) in cursor.fetchall()}
    if "pg_stat_statements" not in there:
        yield (
            "PostgreSQL does not count statements. Put shared_preload_libraries = 'pg_stat_statements' into "
            "postgresql.conf, start it anew, and CREATE EXTENSION pg_stat_statements"
        )
    if "hypopg" not in there and is_partial:
        yield (
            "Of some tables only a part was copied, or nothing, and nothing was tried on their own statistics. "
            "Install the package postgresql-NN-hypopg, and CREATE EXTENSION hypopg"
        )
    if "pg_trgm" not in there and workload is not None and _searches(workload):
        yield (
            "Statements look for what stands somewhere within a text, and without trigrams no index serves that. "
            "CREATE EXTENSION pg_trgm, and ask again"
        )


def _without_samples() -> str:
    if not options.WORKLOAD_ENABLED:
        return (
            'No statements with their values are known. Set PERFKIT["WORKLOAD_ENABLED"] = True, or let '
            "`manage.py perfkit_workload record` run while the site is used."
        )
    if options.WORKLOAD_VALUES != "kept":
        return (
            "No values of statements are known, so some are drawn from the rows. "
            'Set PERFKIT["WORKLOAD_VALUES"] = "kept"'
        )
    return "No statements with their values are known yet: ask again when the site has been used for a while."


def _searches(workload: Workload) -> bool:
    return any(SEARCHED.search(sample) for shape in workload.shapes for sample in shape.samples)
