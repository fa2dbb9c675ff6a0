"""Relations that load themselves for all rows of a list, when one of the rows is asked for them.

`autoload(queryset)` has the rows of one queryset do so, `AutoloadManager` those of a manager.
Foreign keys, one-to-one and generic relations from both sides, deferred fields, reverse foreign keys,
many-to-many relations, and their `count()` and `exists()` take one query for a list, however it is written.
"""

from perfkit.loading.autoloading.rows import AutoloadManager, AutoloadQuerySetMixin, autoload

__all__ = ["AutoloadManager", "AutoloadQuerySetMixin", "autoload"]
