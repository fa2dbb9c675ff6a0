"""Foreign keys checked once per distinct value of a chunk instead of once per row.

# Note [Foreign keys by set]

PostgreSQL checks a foreign key by a trigger: one `SELECT … FOR KEY SHARE` per row and key.
Here one statement locks all rows that a chunk refers to in the same way; the triggers are off for the statement
that writes the chunk alone. They check the other side too, what refers to this table: a chunk that may change
such a column is left to them.
The lock lasts until the transaction ends, so nobody can take a referenced row away between the check and COMMIT.
Nothing of the caller's runs between the check and the end of that statement, which is why no answer is kept for
later chunks: the caller's code may delete rows, or roll back to a savepoint, between them.
No catalogue row that counts can change meanwhile: what would change one waits for the lock on the table.
Where the check finds less than it asked for, the triggers stay on, and the error is PostgreSQL's own.
Locks of this kind do not exclude each other, so two loads cannot wait for each other's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper

from perfkit.bulk.constraints import KEYS_SQL, TABLE_SQL, Key, Table, Target, targets_by_column
from perfkit.bulk.plan import RowPlan
from perfkit.conf import options

LEAST_ROWS: Final = 500
"""Of fewer rows the triggers have checked the keys before this way has asked what it must know."""
OLDEST_SERVER: Final = 150_000
"""Since 15 the right to silence triggers can be granted."""

RIGHTS_SQL: Final = """
    SELECT current_setting('transaction_isolation') = 'read committed'
       AND current_setting('session_replication_role') = 'origin'
       AND current_setting('server_encoding') = 'UTF8'
       AND has_parameter_privilege('session_replication_role', 'SET')
       AND has_table_privilege(%s::regclass, 'INSERT')
"""


class ForeignKeys:
    """Checks the foreign keys of one table within the transaction that a call has opened for itself.

    See Note [Foreign keys by set].
    """

    def __init__(self, connection: BaseDatabaseWrapper, model: type[models.Model]) -> None:
        self.connection = connection
        self.table = connection.ops.quote_name(model._meta.db_table)
        self._targets: Mapping[str, Target] | None = None
        self._referenced: frozenset[str] = frozenset()

    @property
    def leaves_all_to_triggers(self) -> bool:
        """Whether the table was looked at, and none of its keys can be checked by set."""
        return self._targets is not None and not self._targets

    def begin(self) -> None:
        """Forget what was looked up: another transaction begins, and the lock on the table is gone."""
        self._targets = None

    @contextmanager
    def checked(
        self, cursor: Any, rows: int, keys: Mapping[str, set[Any]], *, changed: Collection[str] = frozenset()
    ) -> Iterator[bool]:
        """Check the keys of so many rows, silence the triggers within the block; or leave both to them.

        Yields whether they are silent; then the block must go by the driver's own cursor, for nothing that
        listens to statements may run others without triggers.

        Args:
            keys: The distinct values of each relation's column, by its name.
            changed: Names of columns that change in rows that the table has.

        Queries: Three about the table and a lock at the first batch that is large enough, then three per batch.
        """
        if not self._hold_referenced(cursor, rows, keys, changed):
            yield False
            return
        cursor.cursor.execute("SET LOCAL session_replication_role = replica")
        yield True  # after an error the setting ends with the transaction
        cursor.cursor.execute("SET LOCAL session_replication_role = origin")

    def _hold_referenced(
        self, cursor: Any, rows: int, keys: Mapping[str, set[Any]], changed: Collection[str]
    ) -> bool:
        """Lock what the rows refer to; tell whether all of it is there and the triggers can be spared."""
        if rows < LEAST_ROWS:
            return False
        if self._targets is None:
            self._targets = self._look_at_table(cursor)
        if not self._targets or self._targets.keys() - keys.keys():  # a default is not known here
            return False
        if not self._referenced.isdisjoint(changed):
            return False
        wanted: dict[Target, set[Any]] = {target: set() for target in self._targets.values()}
        for column, target in self._targets.items():
            wanted[target] |= keys[column] - {None}
        asked = {target: values for target, values in wanted.items() if values}
        if not all(map(_can_exist, asked.values())):
            return False
        if not asked:
            return True
        cursor.execute(
            f"SELECT {', '.join(target.locking_sql for target in asked)}",
            [list(values) for values in asked.values()],
        )
        found: tuple[int, ...] = cursor.fetchone()
        return found == tuple(map(len, asked.values()))

    def _look_at_table(self, cursor: Any) -> Mapping[str, Target]:
        if cursor.connection.info.server_version < OLDEST_SERVER:
            return {}
        cursor.execute(RIGHTS_SQL, [self.table])
        if cursor.fetchone() != (True,):
            return {}
        cursor.execute(f"LOCK TABLE ONLY {self.table} IN ROW EXCLUSIVE MODE")
        cursor.execute(TABLE_SQL, [self.table])
        table = Table(*cursor.fetchone())
        self._referenced = frozenset(table.referenced_columns)
        cursor.execute(KEYS_SQL, [self.table])
        return targets_by_column(table, [Key(*row) for row in cursor.fetchall()])


def own_check(plan: RowPlan, connection: BaseDatabaseWrapper, *, is_own: bool) -> ForeignKeys | None:
    """Return what checks the model's foreign keys; None where the triggers have to.

    Args:
        is_own: Whether the transaction is the call's own.
    """
    has_keys = any(column.field.is_relation for column in plan.columns)
    may = is_own and has_keys and not plan.refers_to_itself and options.BULK_FOREIGN_KEYS_BY_SET
    return ForeignKeys(connection, plan.model) if may else None


def _can_exist(values: Iterable[Any]) -> bool:
    """Tell whether `values` can be sent at all; text with a NUL or half a character cannot."""
    text = "".join(value for value in values if isinstance(value, str))
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text
