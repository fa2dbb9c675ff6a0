"""Relations in as few queries as there are levels.

`eager` loads what a relation path names: by a join where it leads to one row, by a second query where to many.
`load_many` loads rows by their keys in the order asked for, `DataLoader` those that concurrent tasks ask for.
`RelatedCount` and its like aggregate related rows, each relation by itself.
`explain_report` says what the database does for a queryset, and what of it costs more than it should.
"""

from perfkit.loading.aggregates import (
    RelatedAvg,
    RelatedCount,
    RelatedMax,
    RelatedMin,
    RelatedSum,
)
from perfkit.loading.eager import eager
from perfkit.loading.explain import ExplainQuerySetMixin, ExplainReport, explain_report
from perfkit.loading.loader import DataLoader
from perfkit.loading.many import Loaded, load_many
from perfkit.loading.plan import EagerPlan, plan_for

__all__ = [
    "DataLoader",
    "EagerPlan",
    "ExplainQuerySetMixin",
    "ExplainReport",
    "Loaded",
    "RelatedAvg",
    "RelatedCount",
    "RelatedMax",
    "RelatedMin",
    "RelatedSum",
    "eager",
    "explain_report",
    "load_many",
    "plan_for",
]
