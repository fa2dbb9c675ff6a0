"""Index operations for migrations, built without blocking writes, safe to kill; and the index advisor.

The names load their modules when they are first asked for: checks look into this room whenever Django starts.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from perfkit.indexing.advisor.advising import advise
    from perfkit.indexing.advisor.cases import Advice
    from perfkit.indexing.advisor.findings import Finding
    from perfkit.indexing.advisor.selection import Budget
    from perfkit.indexing.constraint_operations import (
        AddConstraintSafely,
        AddForeignKeySafely,
        AlterForeignKeySafely,
        RemoveConstraintSafely,
    )
    from perfkit.indexing.extensions import AddTrigrams
    from perfkit.indexing.indexes import PortableIndex
    from perfkit.indexing.operations import (
        AddIndexSafely,
        RemoveIndexSafely,
        RenameIndexSafely,
        ReplaceIndexSafely,
    )
    from perfkit.indexing.undeclared import DropIndexSafely

__all__ = [
    "AddConstraintSafely",
    "AddForeignKeySafely",
    "AddIndexSafely",
    "AddTrigrams",
    "Advice",
    "AlterForeignKeySafely",
    "Budget",
    "DropIndexSafely",
    "Finding",
    "PortableIndex",
    "RemoveConstraintSafely",
    "RemoveIndexSafely",
    "RenameIndexSafely",
    "ReplaceIndexSafely",
    "advise",
]

_MODULES: Final = {
    "AddConstraintSafely": "constraint_operations",
    "AddForeignKeySafely": "constraint_operations",
    "AddIndexSafely": "operations",
    "AddTrigrams": "extensions",
    "Advice": "advisor.cases",
    "AlterForeignKeySafely": "constraint_operations",
    "Budget": "advisor.selection",
    "DropIndexSafely": "undeclared",
    "Finding": "advisor.findings",
    "PortableIndex": "indexes",
    "RemoveConstraintSafely": "constraint_operations",
    "RemoveIndexSafely": "operations",
    "RenameIndexSafely": "operations",
    "ReplaceIndexSafely": "operations",
    "advise": "advisor.advising",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module 'perfkit.indexing' has no attribute {name!r}")
    return getattr(import_module(f"perfkit.indexing.{module}"), name)
