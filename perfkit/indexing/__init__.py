"""Index operations for migrations: built without blocking writes, safe to kill and to run again."""

from perfkit.indexing.indexes import PortableIndex
from perfkit.indexing.operations import AddIndexSafely, RemoveIndexSafely

__all__ = ["AddIndexSafely", "PortableIndex", "RemoveIndexSafely"]
