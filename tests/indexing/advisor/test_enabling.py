"""What the advisor says that it lacks, and only where it would have made use of it."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from perfkit.indexing.advisor.enabling import enabling
from perfkit.workload import QueryShape, Workload

pytestmark = pytest.mark.django_db

NONE = Workload("default", ())
SEARCHED = Workload("default", (QueryShape("x", 1, 0.1, ("SELECT 1 FROM t WHERE a LIKE '%b%'",)),))
BEGINNING = Workload("default", (QueryShape("x", 1, 0.1, ("SELECT 1 FROM t WHERE a LIKE 'b%'",)),))


def told(workload: Workload, **how: Any) -> str:
    return " ".join(enabling("default", workload, **how))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"WORKLOAD_ENABLED": False}, 'Set PERFKIT["WORKLOAD_ENABLED"] = True'),
        ({"WORKLOAD_ENABLED": True, "WORKLOAD_VALUES": "redacted"}, 'Set PERFKIT["WORKLOAD_VALUES"]'),
        ({"WORKLOAD_ENABLED": True, "WORKLOAD_VALUES": "kept"}, "used for a while"),
    ],
)
def test_it_says_why_no_values_are_known(options: dict[str, Any], text: str, settings: Any) -> None:
    settings.PERFKIT = {**settings.PERFKIT, **options}
    assert text in told(NONE)
    assert text not in told(BEGINNING)


@pytest.mark.postgres
@pytest.mark.skipif(connection.vendor != "postgresql", reason="of PostgreSQL's extensions")
def test_it_names_an_extension_only_where_it_would_be_of_use() -> None:
    with connection.cursor() as cursor:
        cursor.execute("DROP EXTENSION IF EXISTS hypopg")
        cursor.execute("DROP EXTENSION IF EXISTS pg_trgm CASCADE")
    assert "hypopg" not in told(NONE)
    assert "hypopg" in told(NONE, is_partial=True)
    assert "pg_trgm" in told(SEARCHED)
    assert "pg_trgm" not in told(BEGINNING)
    with connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION pg_trgm")
    assert "pg_trgm" not in told(SEARCHED)
