"""The shapes of the workload, by kind, as a project writes them; importing this needs Django's apps."""

from __future__ import annotations

from benchmarks.advisor.shape import SHAPES
from benchmarks.advisor.shapes import documents, joins, lists, lookups, reports, unneeded, writes

__all__ = ["SHAPES", "documents", "joins", "lists", "lookups", "reports", "unneeded", "writes"]
