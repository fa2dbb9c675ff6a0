"""Model instances, dicts and tuples from rows of column values, several times faster than Django makes them.

`hydrator_for` says what turns the raw rows of one compiled SELECT into what its queryset yields;
`instance_builder` makes single instances, and `set_known_related` adds what a related manager knows.
`FastQuerySetMixin` has a queryset make what it yields here; `answer_of` asks the database for raw rows.
What a project has put in the way of Django's own code, such as a signal receiver or a `from_db`, is always run.
"""

from perfkit.hydration.hydrator import Hydrator, hydrator_for
from perfkit.hydration.instances import FETCH_MODE, instance_builder
from perfkit.hydration.known_related import set_known_related
from perfkit.hydration.querysets import FastQuerySetMixin
from perfkit.hydration.reads import answer_of, iterate, objects_of
from perfkit.hydration.related import ModelRows
from perfkit.hydration.shapes import model_rows_for

__all__ = [
    "FETCH_MODE",
    "FastQuerySetMixin",
    "Hydrator",
    "ModelRows",
    "answer_of",
    "hydrator_for",
    "instance_builder",
    "iterate",
    "model_rows_for",
    "objects_of",
    "set_known_related",
]
