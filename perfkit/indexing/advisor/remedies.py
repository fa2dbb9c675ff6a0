"""What to do about each finding: the statement, the lines of `Meta.indexes`, the operations of a migration."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.operations.base import Operation
from django.db.migrations.writer import MigrationWriter
from django.db.models import ForeignKey, Index

from perfkit.errors import UnwritableIndexError
from perfkit.indexing.advisor.bounds import without_end
from perfkit.indexing.advisor.declaring import declared_index, index_name, without_own_nulls
from perfkit.indexing.advisor.findings import Finding, Kind
from perfkit.indexing.advisor.owners import Declared, Owner, owners_of
from perfkit.indexing.advisor.specs import IndexSpec
from perfkit.indexing.operations import AddIndexSafely, RemoveIndexSafely, ReplaceIndexSafely
from perfkit.indexing.steps import Patience
from perfkit.indexing.undeclared import DropIndexSafely

CREATE: Final = re.compile(r"^CREATE (UNIQUE )?INDEX (?!CONCURRENTLY)")
CONCURRENTLY: Final = r"CREATE \1INDEX CONCURRENTLY "
PATH: Final = re.compile(r"(?<![\w.'\"])((?:[a-z_]\w*\.)+)([A-Z]\w*)(?=\()")
ON: Final = re.compile(r" ON (?!ONLY )")
HAND: Final = "Write it by hand"
PARTITIONED: Final = (
    "Dropping it waits for all who use the table, and they wait meanwhile, for half a minute at most; where that "
    "is not enough, it is tried again, and fails in the end, and may be run again."
)
WITH_TIMEOUT: Final = f"SET LOCAL lock_timeout = '{Patience().lock_timeout}'; "
"""Before a statement that is sent together with it, for the two are then one transaction."""


@dataclass(frozen=True, slots=True)
class Remedy:
    """What to do about a finding.

    Attributes:
        name: Of the index, also of one to add.
        sql: What a database can be sent as it is.
        operations: For a migration of `app_label`; empty where none is written, and `by_hand` says why.
        meta_line: To write into `Meta.indexes`, or to take out of it.
        imports: That the line needs.
        by_hand: What somebody has to do; empty where the migration and the line do all.
    """

    finding: Finding
    name: str
    sql: str
    model: str = ""
    app_label: str = ""
    operations: tuple[Operation, ...] = ()
    meta_line: str = ""
    imports: tuple[str, ...] = ()
    by_hand: str = ""


def remedies(
    findings: Iterable[Finding], using: str, *, left_seconds: Callable[[], float] = without_end
) -> list[Remedy]:
    """Return what to do about each finding of one database, in their order.

    Queries: 15 for each index to add on PostgreSQL, see `declared_index`; 1 for the names that are taken.
    """
    desk = _Desk(using, left_seconds)
    return [desk.remedy(each) for each in findings]


class _Desk:
    """Where remedies of one database are written, with what they share."""

    def __init__(self, using: str, left_seconds: Callable[[], float]) -> None:
        self._using = using
        self._left_seconds = left_seconds
        self._owners = owners_of(using)

    @property
    def _connection(self) -> BaseDatabaseWrapper:
        return connections[self._using]

    @property
    def _is_postgres(self) -> bool:
        return self._connection.vendor == "postgresql"

    @cached_property
    def _tables(self) -> dict[str, str]:
        """The names that indexes have, in the database and in models, and the tables that they are of."""
        sql = (
            "SELECT i.relname, t.relname FROM pg_class i JOIN pg_index x ON x.indexrelid = i.oid "
            "JOIN pg_class t ON t.oid = x.indrelid"
            if self._is_postgres
            else "SELECT name, tbl_name FROM sqlite_master WHERE type = 'index'"
        )
        with self._connection.cursor() as cursor:
            cursor.execute(sql)
            there: dict[str, str] = dict(cursor.fetchall())
        return there | {name: table for table, owner in self._owners.items() for name in owner.names}

    @cached_property
    def _partitioned(self) -> set[str]:
        """The tables that are partitioned."""
        if not self._is_postgres:
            return set()
        with self._connection.cursor() as cursor:
            cursor.execute("SELECT relname FROM pg_class WHERE relkind = 'p' AND pg_table_is_visible(oid)")
            return {name for (name,) in cursor.fetchall()}

    def remedy(self, finding: Finding) -> Remedy:
        owner = self._owners.get(finding.table)
        if finding.is_addition:
            return self._addition(finding, owner)
        quoted = self._connection.ops.quote_name(finding.name)
        rebuilt = f"REINDEX INDEX CONCURRENTLY {quoted};"
        if finding.kind is Kind.BLOATED:
            sql = rebuilt
            return self._made(
                finding, owner, sql, by_hand="Run the statement; nothing changes for the models."
            )
        if finding.kind is Kind.INVALID:
            command = f"manage.py perfkit_indexes repair --database {self._using}"
            sql = rebuilt if finding.is_held else self._drop(finding)
            return self._made(
                finding, owner, sql, by_hand=f"Run `{command}`, which builds it anew or drops it."
            )
        return self._removal(finding, owner)

    def _made(self, finding: Finding, owner: Owner | None, sql: str, **more: Any) -> Remedy:
        name, (model, app_label) = more.pop("name", finding.name), _labels(owner)
        return Remedy(finding, name, sql, model, app_label, **more)

    def _addition(self, finding: Finding, owner: Owner | None) -> Remedy:
        spec = finding.spec
        assert spec is not None  # noqa: S101  # who adds an index says which
        quote = self._connection.ops.quote_name
        name = self._name(spec, owner)
        sql = self._create(
            (spec if self._is_postgres else without_own_nulls(spec)).sql(name, quote),
            is_partitioned=finding.table in self._partitioned,
        )
        if owner is None:
            why = f"{HAND}: no model of this project has the table {finding.table}."
            return self._made(finding, None, sql, name=name, by_hand=why)
        if why := _unwritable(owner):
            return self._made(finding, owner, sql, name=name, by_hand=why)
        try:
            index = declared_index(
                spec, owner.model, name, using=self._using, left_seconds=self._left_seconds
            )
        except UnwritableIndexError as error:
            return self._made(finding, owner, sql, name=name, by_hand=str(error))
        line, imports = meta_line(index)
        operations, by_hand = self._with_what_goes(finding, owner, index)
        return self._made(
            finding,
            owner,
            sql,
            name=name,
            operations=operations,
            meta_line=line,
            imports=imports,
            by_hand=by_hand,
        )

    def _with_what_goes(
        self, finding: Finding, owner: Owner, index: Index
    ) -> tuple[tuple[Operation, ...], str]:
        """Return what makes an index and drops those of `Meta.indexes` that it replaces; and what is left."""
        model = owner.model._meta.model_name or ""
        in_meta = [name for name in finding.replaces if owner.declares(name) is Declared.META]
        operations: list[Operation] = [AddIndexSafely(model, index)]
        if in_meta:
            more = (RemoveIndexSafely(model, name) for name in in_meta[1:])
            operations = [ReplaceIndexSafely(model, in_meta[0], index), *more]
        texts = [
            f"It takes the place of {name}: take its line out of Meta.indexes."
            if name in in_meta
            else f"{name} is not needed beside it. {_field_advice(owner, name)}"
            if owner.declares(name) is Declared.FIELD
            else f"{name} is not needed beside it, and the next run says how to drop it."
            for name in finding.replaces
        ]
        return tuple(operations), " ".join(texts)

    def _name(self, spec: IndexSpec, owner: Owner | None) -> str:
        # One that has the name on its own table is this one: its line is there, and it is not built yet.
        taken = {name for name, table in self._tables.items() if table != spec.table}
        return index_name(spec, (owner.model._meta.model_name if owner else None) or spec.table, taken)

    def _create(self, statement: str, *, is_partitioned: bool = False) -> str:
        """Return a statement that stops nobody's writes; see Note [Indexes of partitioned tables]."""
        if is_partitioned:
            only = ON.sub(" ON ONLY ", statement, count=1)
            return f"{only}; -- and then: manage.py perfkit_indexes repair --database {self._using}"
        return f"{CREATE.sub(CONCURRENTLY, statement) if self._is_postgres else statement};"

    def _drop(self, finding: Finding) -> str:
        quoted = self._connection.ops.quote_name(finding.name)
        if finding.is_partitioned:
            return f"BEGIN; {WITH_TIMEOUT}DROP INDEX IF EXISTS {quoted}; COMMIT;"
        return f"DROP INDEX {'CONCURRENTLY ' if self._is_postgres else ''}IF EXISTS {quoted};"

    def _removal(self, finding: Finding, owner: Owner | None) -> Remedy:
        sql = self._drop(finding)
        if owner is None:
            why = f"{HAND}: no model of this project has the table {finding.table}."
            return self._made(finding, None, sql, by_hand=why)
        declared = owner.declares(finding.name)
        if why := _unwritable(owner):
            return self._made(finding, owner, sql, by_hand=why)
        if declared is Declared.META:
            index = next(each for each in owner.model._meta.indexes if each.name == finding.name)
            line, imports = meta_line(index)
            operation = RemoveIndexSafely(owner.model._meta.model_name or "", finding.name)
            return self._made(finding, owner, sql, operations=(operation,), meta_line=line, imports=imports)
        if declared is Declared.CONSTRAINT:
            why = f"Take the constraint {finding.name} out of Meta.constraints, by RemoveConstraintSafely."
            return self._made(finding, owner, sql, by_hand=why)
        if declared is Declared.FIELD:
            return self._made(finding, owner, sql, by_hand=_field_advice(owner, finding.name))
        by_hand = PARTITIONED if finding.is_partitioned else ""
        # The database's own definition makes it again just as it was: how it is stored is no part of a spec.
        dropped = DropIndexSafely(
            owner.model._meta.model_name or "",
            finding.name,
            finding.definition,
            database=self._using,
            vendor=self._connection.vendor,
        )
        return self._made(finding, owner, sql, operations=(dropped,), by_hand=by_hand)


def _unwritable(owner: Owner) -> str:
    """Return why no migration and no line is written for a model; empty where they are."""
    if not owner.is_managed:
        return f"{HAND}: {owner.label} is not managed by migrations, or has no class of its own."
    if not owner.is_own:
        return (
            f"{HAND}: {owner.label} is a package's, whose next version would take a change away. "
            "Put the statement into RunSQL, in a migration of an app of your own."
        )
    return ""


def _labels(owner: Owner | None) -> tuple[str, str]:
    return (owner.label, owner.model._meta.app_label) if owner else ("", "")


def meta_line(index: Index) -> tuple[str, tuple[str, ...]]:
    """Return the line of an index in `Meta.indexes`, and what it must import. Pure."""
    text, imports = MigrationWriter.serialize(index)
    needed = {each for each in imports if each.startswith("from django.db import")}
    others = {each for each in imports if each not in needed}

    def shortened(match: re.Match[str]) -> str:
        module, name = match[1].rstrip("."), match[2]
        if module == "models" or f"import {module}" not in others:
            return match[0]
        public = "perfkit.indexing" if module.startswith("perfkit.indexing") else module
        needed.add(f"from {public} import {name}")
        return name

    return f"{PATH.sub(shortened, text)},", tuple(sorted(needed))


def _field_advice(owner: Owner, name: str) -> str:
    field: Any = owner.model._meta.get_field(owner.fields[name])
    label = f"{owner.label}.{field.name}"
    if field.unique:
        return f"Leave it: Django makes it for {label}, which is unique, so that prefixes of it are found."
    operation = "AlterForeignKeySafely" if isinstance(field, ForeignKey) else "AlterField"
    more = " It may be the one for `LIKE 'a%'`: then both go." if name.endswith("_like") else ""
    return f"Write db_index=False on {label}, and make that migration with {operation}: its index goes.{more}"


def by_app(found: Iterable[Remedy]) -> Iterator[tuple[str, list[Remedy]]]:
    """Yield the remedies that have operations, by app."""
    apps: dict[str, list[Remedy]] = {}
    for each in found:
        if each.operations:
            apps.setdefault(each.app_label, []).append(each)
    yield from sorted(apps.items())
