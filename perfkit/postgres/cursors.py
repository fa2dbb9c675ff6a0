"""Cursors of psycopg that prepare what they execute."""

from __future__ import annotations

from typing import Any

import psycopg


class PreparingCursor(psycopg.Cursor[Any]):
    """Prepares what it executes."""

    is_binary = False

    def execute(self, query: Any, params: Any = None, **_: Any) -> Any:
        """Execute a statement, prepared."""
        return super().execute(query, params, prepare=True, binary=self.is_binary)


class BinaryCursor(PreparingCursor):
    """And has the rows sent in binary."""

    is_binary = True
