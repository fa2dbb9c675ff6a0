"""Model instances, dicts and tuples from rows of column values, several times faster than Django makes them.

`hydrator_for` says what turns the raw rows of one compiled SELECT into what its queryset yields;
`instance_builder` makes single instances, and `set_known_related` adds what a related manager knows.
What a project has put in the way of Django's own code, such as a signal receiver or a `from_db`, is always run.
"""

from perfkit.hydration.hydrator import Hydrator, hydrator_for
from perfkit.hydration.instances import FETCH_MODE, instance_builder
from perfkit.hydration.known_related import set_known_related

__all__ = ["FETCH_MODE", "Hydrator", "hydrator_for", "instance_builder", "set_known_related"]
