"""Relations in as few queries as there are levels, and rows in less time.

`eager` loads what a relation path names: by a join where it leads to one row, by a second query where to many.
`autoload` has the rows of a list load their relations for each other, when one of them is asked.
`RelatedRows` filters, orders and limits the rows of a relation to many.
`preset` names a way to load a model's rows, as a method of a queryset or in a `Presets` class.
`from_schema` loads what a response schema reads, and no other column; `needs` declares what a function reads.
`load_many` loads rows by their keys in the order asked for, `DataLoader` those that concurrent tasks ask for.
`get_or_load` returns one instance of a row in a request.
`RelatedCount` and its like aggregate related rows, each relation by itself.
`n_plus_one_guard`, `watch_n_plus_one` and `no_n_plus_one` find queries that are sent in loops.
`FastManager` and `FastQuerySet` make what they read several times faster than Django does, uncached.
`explain_report` says what the database does for a queryset, and what of it costs more than it should.

The names below load what they need when they are first asked for, so that starting Django does not.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from perfkit.hydration import FastQuerySetMixin
    from perfkit.loading.aggregates import (
        RelatedAvg,
        RelatedCount,
        RelatedMax,
        RelatedMin,
        RelatedSum,
    )
    from perfkit.loading.autoloading import AutoloadManager, AutoloadQuerySetMixin, autoload
    from perfkit.loading.declared_needs import Needs, needs
    from perfkit.loading.eager_loading import eager
    from perfkit.loading.explain import ExplainQuerySetMixin, ExplainReport, explain_report
    from perfkit.loading.fast import FastManager, FastQuerySet
    from perfkit.loading.guard.allowed import allow_n_plus_one
    from perfkit.loading.guard.findings import Finding
    from perfkit.loading.guard.kinds import Kind
    from perfkit.loading.guard.middleware import n_plus_one_guard
    from perfkit.loading.guard.scope import no_n_plus_one, watch_n_plus_one
    from perfkit.loading.identity import aget_or_load, get_or_load, identity_mapped
    from perfkit.loading.identity_scope import identity_map
    from perfkit.loading.loader import DataLoader
    from perfkit.loading.many import Loaded, load_many
    from perfkit.loading.plan import EagerPlan, plan_for
    from perfkit.loading.presets import Preset, Presets, preset
    from perfkit.loading.related_rows import RelatedRows
    from perfkit.loading.schema_plans import schema_plan
    from perfkit.loading.schema_querysets import from_schema

__all__ = [
    "AutoloadManager",
    "AutoloadQuerySetMixin",
    "DataLoader",
    "EagerPlan",
    "ExplainQuerySetMixin",
    "ExplainReport",
    "FastManager",
    "FastQuerySet",
    "FastQuerySetMixin",
    "Finding",
    "Kind",
    "Loaded",
    "Needs",
    "Preset",
    "Presets",
    "RelatedAvg",
    "RelatedCount",
    "RelatedMax",
    "RelatedMin",
    "RelatedRows",
    "RelatedSum",
    "aget_or_load",
    "allow_n_plus_one",
    "autoload",
    "eager",
    "explain_report",
    "from_schema",
    "get_or_load",
    "identity_map",
    "identity_mapped",
    "load_many",
    "n_plus_one_guard",
    "needs",
    "no_n_plus_one",
    "plan_for",
    "preset",
    "schema_plan",
    "watch_n_plus_one",
]

_MODULES: Final = {
    "eager": "perfkit.loading.eager_loading",
    "from_schema": "perfkit.loading.schema_querysets",
    "Needs": "perfkit.loading.declared_needs",
    "needs": "perfkit.loading.declared_needs",
    "schema_plan": "perfkit.loading.schema_plans",
    "AutoloadManager": "perfkit.loading.autoloading",
    "AutoloadQuerySetMixin": "perfkit.loading.autoloading",
    "DataLoader": "perfkit.loading.loader",
    "EagerPlan": "perfkit.loading.plan",
    "ExplainQuerySetMixin": "perfkit.loading.explain",
    "ExplainReport": "perfkit.loading.explain",
    "FastManager": "perfkit.loading.fast",
    "FastQuerySet": "perfkit.loading.fast",
    "FastQuerySetMixin": "perfkit.hydration",
    "Finding": "perfkit.loading.guard.findings",
    "Kind": "perfkit.loading.guard.kinds",
    "Loaded": "perfkit.loading.many",
    "Preset": "perfkit.loading.presets",
    "Presets": "perfkit.loading.presets",
    "RelatedAvg": "perfkit.loading.aggregates",
    "RelatedCount": "perfkit.loading.aggregates",
    "RelatedMax": "perfkit.loading.aggregates",
    "RelatedMin": "perfkit.loading.aggregates",
    "RelatedRows": "perfkit.loading.related_rows",
    "RelatedSum": "perfkit.loading.aggregates",
    "aget_or_load": "perfkit.loading.identity",
    "allow_n_plus_one": "perfkit.loading.guard.allowed",
    "autoload": "perfkit.loading.autoloading",
    "explain_report": "perfkit.loading.explain",
    "get_or_load": "perfkit.loading.identity",
    "identity_map": "perfkit.loading.identity_scope",
    "identity_mapped": "perfkit.loading.identity",
    "load_many": "perfkit.loading.many",
    "n_plus_one_guard": "perfkit.loading.guard.middleware",
    "no_n_plus_one": "perfkit.loading.guard.scope",
    "plan_for": "perfkit.loading.plan",
    "preset": "perfkit.loading.presets",
    "watch_n_plus_one": "perfkit.loading.guard.scope",
}


def __getattr__(name: str) -> Any:
    """Load a public name from its module."""
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module 'perfkit.loading' has no attribute {name!r}")
    return getattr(import_module(module), name)
