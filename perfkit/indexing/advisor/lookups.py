"""Which columns statements look for rows by, whatever names they give to the tables."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.indexing.advisor.columns import table_facts
from perfkit.indexing.advisor.reading import read_statement
from perfkit.indexing.advisor.scans import Match
from perfkit.workload import Workload

FINDING: Final = frozenset({Match.EQUAL, Match.ANY, Match.JOIN})


def looked_up(
    workload: Workload, connection: BaseDatabaseWrapper, tables: Collection[str]
) -> dict[str, list[frozenset[str]]]:
    """Return, by table, the columns by whose values each use of it finds rows.

    Queries: as `table_facts`.
    """
    facts = table_facts(connection, tables)
    schema = {name: table.types for name, table in facts.items()}
    found: dict[str, list[frozenset[str]]] = {}
    for shape in workload.shapes:
        text = shape.samples[-1] if shape.samples else shape.fingerprint
        for scan in read_statement(text, schema, is_sqlite=connection.vendor == "sqlite").scans:
            columns = frozenset(each.term.text for each in scan.conditions if each.match in FINDING)
            if columns:
                found.setdefault(scan.table, []).append(columns)
    return found
