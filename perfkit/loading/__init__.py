"""Relations in as few queries as there are levels.

`eager` loads what a relation path names: by a join where it leads to one row, by a second query where to many.
"""

from perfkit.loading.eager import eager
from perfkit.loading.plan import EagerPlan, plan_for

__all__ = ["EagerPlan", "eager", "plan_for"]
