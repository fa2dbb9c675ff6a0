"""What PostgreSQL says of a table's constraints, and whether its foreign keys can be checked by set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

TYPES: Final[Mapping[int, str]] = {
    20: "int8",
    21: "int2",
    23: "int4",
    25: "text",
    1043: "varchar",
    2950: "uuid",
}
"""Types of which two values are equal in Python only where they are equal in PostgreSQL; moments are not."""

TABLE_SQL: Final = """
    SELECT c.relkind::text, c.relispartition, EXISTS (SELECT FROM pg_inherits WHERE inhparent = c.oid),
           EXISTS (SELECT FROM pg_rewrite WHERE ev_class = c.oid), c.relrowsecurity,
           ARRAY(SELECT CASE WHEN g.tgisinternal AND k.contype = 'f' THEN g.tgenabled::text ELSE 'own' END
                 FROM pg_trigger g LEFT JOIN pg_constraint k ON k.oid = g.tgconstraint
                 WHERE g.tgrelid = c.oid AND g.tgenabled <> 'D'
                   AND NOT (g.tgenabled = 'A' AND g.tgtype & 3 = 0 AND starts_with(g.tgname, 'perfkit_outside_'))),
           EXISTS (SELECT
                   FROM (SELECT 'pg_attrdef'::regclass, oid FROM pg_attrdef WHERE adrelid = c.oid
                         UNION ALL
                         SELECT 'pg_constraint'::regclass, oid FROM pg_constraint WHERE conrelid = c.oid
                         UNION ALL
                         SELECT 'pg_class'::regclass, indexrelid FROM pg_index WHERE indrelid = c.oid
                        ) part (classid, objid)
                   JOIN pg_depend d ON d.classid = part.classid AND d.objid = part.objid
                   WHERE d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass)),
           ARRAY(SELECT DISTINCT a.attname::text FROM pg_constraint k
                 JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = ANY (k.confkey)
                 WHERE k.confrelid = c.oid AND k.contype = 'f')
    FROM pg_class c
    WHERE c.oid = %s::regclass
"""
KEYS_SQL: Final = """
    SELECT a.attname, quote_ident(n.nspname) || '.' || quote_ident(r.relname), quote_ident(b.attname),
           a.atttypid::int8, b.atttypid::int8, a.attcollation = b.attcollation,
           o.oprname = '=' AND o.oprnamespace = 'pg_catalog'::regnamespace,
           cardinality(k.conkey), k.confmatchtype::text, r.relkind::text, r.relrowsecurity, r.oid = k.conrelid,
           has_table_privilege(r.oid, 'SELECT') AND has_table_privilege(r.oid, 'UPDATE')
           AND has_schema_privilege(n.oid, 'USAGE')
    FROM pg_constraint k
    JOIN pg_class r ON r.oid = k.confrelid
    JOIN pg_namespace n ON n.oid = r.relnamespace
    JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
    JOIN pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = k.confkey[1]
    JOIN pg_operator o ON o.oid = k.conpfeqop[1]
    WHERE k.conrelid = %s::regclass AND k.contype = 'f'
      AND coalesce((to_jsonb(k) ->> 'conenforced')::boolean, true)
    ORDER BY k.oid
"""


class Table(NamedTuple):
    """What the catalogue says of the table that is loaded.

    Attributes:
        triggers: Of each trigger that is not disabled: when it fires (`pg_trigger.tgenabled`) where it belongs
            to a foreign key, else `"own"`; without those of `manage.py perfkit_triggers`, which fire whatever the
            session says, after the statement, and change no row of anybody's.
        referenced_columns: Those that foreign keys refer to, of this table or of others.
        has_own_code: A default, a constraint or an index calls what is not PostgreSQL's, and may write elsewhere.
    """

    kind: str
    is_partition: bool
    has_children: bool
    has_rules: bool
    has_row_security: bool
    triggers: Sequence[str]
    has_own_code: bool
    referenced_columns: Sequence[str]


class Key(NamedTuple):
    """What the catalogue says of one enforced foreign key; names of the referenced side are quoted."""

    column: str
    referenced: str
    referenced_column: str
    type_oid: int
    referenced_type_oid: int
    has_same_collation: bool
    has_plain_equality: bool
    columns: int
    match_type: str
    referenced_kind: str
    has_row_security: bool
    refers_to_itself: bool
    may_lock: bool


class Target(NamedTuple):
    """A column that foreign keys refer to."""

    table: str
    column: str
    type_name: str

    @property
    def locking_sql(self) -> str:
        """Lock the rows whose keys are in the one parameter as a foreign key's trigger does, and count them."""
        return (
            f"(SELECT count(*) FROM (SELECT FROM ONLY {self.table} x "  # noqa: S608  # quoted names
            f"WHERE x.{self.column} OPERATOR(pg_catalog.=) ANY (%s::pg_catalog.{self.type_name}[]) "
            "FOR KEY SHARE OF x) held)"
        )


def targets_by_column(table: Table, keys: Iterable[Key]) -> Mapping[str, Target]:
    """Return what each foreign key column refers to; empty where only the triggers can check the table. Pure."""
    if (
        table.kind != "r"
        or table.is_partition
        or table.has_children
        or table.has_rules
        or table.has_row_security
        or table.has_own_code
        or set(table.triggers) - {"O"}
    ):
        return {}
    targets: dict[str, Target] = {}
    for key in keys:
        target = Target(key.referenced, key.referenced_column, TYPES.get(key.type_oid, ""))
        if not _is_simple(key) or targets.setdefault(key.column, target) != target:
            return {}
    return targets


def _is_simple(key: Key) -> bool:
    return (
        key.columns == 1
        and key.match_type == "s"
        and key.type_oid in TYPES
        and key.type_oid == key.referenced_type_oid
        and key.has_same_collation
        and key.has_plain_equality
        and key.referenced_kind == "r"
        and key.may_lock
        and not key.has_row_security
        and not key.refers_to_itself
    )
