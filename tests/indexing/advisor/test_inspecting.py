from __future__ import annotations

import datetime as dt
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from django.db import connection, connections, models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F
from django.db.models.functions import Upper
from django.test.utils import CaptureQueriesContext

from perfkit.errors import NoIndexAdviceError
from perfkit.indexing import PortableIndex
from perfkit.indexing.advisor.catalogue import leaf_density, postgres_inventory, without_brackets
from perfkit.indexing.advisor.findings import Finding, Kind
from perfkit.indexing.advisor.inspecting import STANDING, inspect
from perfkit.indexing.advisor.judging import Limits, Replicas, inspected, waiting
from perfkit.indexing.advisor.keeping import keep
from perfkit.indexing.advisor.running import run_advisor
from perfkit.indexing.advisor.specs import IndexSpec, Key
from perfkit.indexing.advisor.standing import (
    ColumnFigures,
    Inventory,
    Reference,
    Sighting,
    StandingIndex,
    StandingTable,
)
from perfkit.models import SeenIndex
from perfkit.workload import QueryShape, Workload
from tests.caching.conftest import wait_until
from tests.indexing.tables import KINDS, TABLE, Table
from tests.plugins.standby import ALIAS, Standby

NOW = dt.datetime(2026, 5, 4, tzinfo=dt.UTC)
SEEN = Sighting(7, NOW - dt.timedelta(days=60), 0, 0)
ALL = Limits(unused_days=0, unused_bytes=0, reference_rows=0)


def sql(statement: str, using: BaseDatabaseWrapper | None = None) -> list[Any]:
    with (using or connection).cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def index(name: str, *columns: str, **more: Any) -> StandingIndex:
    spec = {key: more.pop(key) for key in ("condition", "include", "is_unique", "method") if key in more}
    usual = {"definition": "", "scans": 5, "size_bytes": 50_000_000, "rows": 1_000_000, "oid": 7}
    return StandingIndex(name, IndexSpec("t", tuple(map(Key, columns)), **spec), **{**usual, **more})


def inventory(*indexes: StandingIndex, **more: Any) -> Inventory:
    usual = {
        "tables": {"t": StandingTable("t", 1_000_000, 10_000), "p": StandingTable("p", 10, 10, 0)},
        "began_at": NOW - dt.timedelta(days=30),
        "now": NOW,
    }
    return Inventory("default", indexes, **{**usual, **more})


def found(stock: Inventory, **how: Any) -> dict[str, Finding]:
    seen = {each.name: SEEN for each in stock.indexes}
    usual = {"limits": Limits(), "replicas": Replicas(), "seen": seen}
    return {each.name: each for each in inspected(stock, **{**usual, **how})}


class TestDoubles:
    def kinds(self, *indexes: StandingIndex, **how: Any) -> dict[str, tuple[Kind, str]]:
        return {name: (each.kind, each.kept_by) for name, each in found(inventory(*indexes), **how).items()}

    def test_it_keeps_the_one_that_is_used_more(self) -> None:
        assert self.kinds(index("a", "x"), index("b", "x", scans=9)) == {"a": (Kind.DUPLICATE, "b")}

    def test_it_keeps_the_one_that_a_model_declares(self) -> None:
        assert self.kinds(index("a", "x"), index("b", "x", scans=9), declared={"a"}) == {
            "b": (Kind.DUPLICATE, "a")
        }

    def test_it_keeps_what_a_constraint_stands_on(self) -> None:
        held = index("b", "x", held_by="constraint", is_unique=True)
        assert self.kinds(index("a", "x", scans=99), held) == {"a": (Kind.DUPLICATE, "b")}
        assert self.kinds(held, replace(held, name="a")) == {}

    def test_it_finds_prefixes_and_names_one_that_stays(self) -> None:
        assert self.kinds(index("a", "x"), index("b", "x", "y"), index("c", "x", "y", "z")) == {
            "a": (Kind.REDUNDANT, "c"),
            "b": (Kind.REDUNDANT, "c"),
        }

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            (index("a", "x", is_unique=True), index("b", "x", "y")),
            (index("a", "x", condition="y = 1"), index("b", "x", "y")),
            (index("a", "x"), index("b", "x", "y", condition="y = 1")),
            (index("a", "x"), index("b", "y", "x")),
            (index("a", "x", include=("z",)), index("b", "x", "y")),
            (index("a", "x", collations="100"), index("b", "x", "y", collations="950 100")),
            (index("a", "x", method="gin"), index("b", "x", "y", method="gin")),
            (index("a", "x", method="hash"), index("b", "x", "y")),
            (
                index("a", "x"),
                replace(index("b"), spec=IndexSpec("t", (Key("x", descending=True), Key("y")))),
            ),
            (
                replace(index("a"), spec=IndexSpec("t", (Key("x", operator_class="text_pattern_ops"),))),
                index("b", "x", "y"),
            ),
            (index("a", "x"), replace(index("b", "x", "y"), is_valid=False)),
            (index("a", "x"), replace(index("b"), spec=IndexSpec("other", (Key("x"), Key("y"))))),
        ],
    )
    def test_it_leaves_what_does_something_else(self, one: StandingIndex, other: StandingIndex) -> None:
        kinds = {each for each, _ in self.kinds(one, other).values()}
        assert not kinds & {Kind.DUPLICATE, Kind.REDUNDANT}

    def test_one_that_carries_as_much_serves(self) -> None:
        assert self.kinds(index("a", "x", include=("y",)), index("b", "x", "y")) == {
            "a": (Kind.REDUNDANT, "b")
        }

    def test_it_finds_those_of_joining_tables_where_they_are_large(self) -> None:
        one, other = index("a", "x", size_bytes=9_000_000), index("b", "x", "y")
        assert self.kinds(one, other, joining={"t"}) == {}
        assert set(self.kinds(replace(one, size_bytes=11_000_000), other, joining={"t"})) == {"a"}

    def test_it_leaves_packages_alone(self) -> None:
        assert self.kinds(index("a", "x"), index("b", "x"), left_alone={"t"}) == {}


class TestUnused:
    def test_it_says_how_long_and_that_replicas_may_use_it(self) -> None:
        reason = found(inventory(index("a", "x", scans=0)))["a"].reason
        assert "30 days" in reason
        assert "INDEX_REPLICAS" in reason
        assert "47.7 MB" in reason

    @pytest.mark.parametrize(
        "kept",
        [
            index("a", "x", scans=1),
            index("a", "x", scans=0, is_unique=True),
            index("a", "x", scans=0, held_by="cluster"),
            index("a", "x", scans=0, size_bytes=8192),
            index("a", "x", scans=None),
        ],
    )
    def test_it_keeps_what_is_used_or_holds_something(self, kept: StandingIndex) -> None:
        assert found(inventory(kept)) == {}

    def test_it_keeps_the_only_index_of_a_foreign_key(self) -> None:
        to_parent = (Reference("t", ("x",), "p"),)
        lonely = index("a", "x", scans=0)
        assert found(inventory(lonely, references=to_parent)) == {}
        assert set(found(inventory(lonely, index("b", "x", method="hash"), references=to_parent))) == {"a"}

    def test_it_waits_until_the_statistics_are_old_enough(self) -> None:
        unused = index("a", "x", scans=0)
        assert found(inventory(unused, began_at=NOW - dt.timedelta(days=6))) == {}
        young = Replicas(("r",), {"a": 0}, dt.timedelta(hours=5))
        assert found(inventory(unused), replicas=young) == {}

    def test_it_waits_until_the_index_is_known_for_long_enough(self) -> None:
        stock = inventory(index("a", "x", scans=0))
        for seen in (
            {},
            {"b": SEEN},
            {"a": replace(SEEN, at=NOW - dt.timedelta(days=6))},
            {"a": replace(SEEN, oid=8)},  # of one that had its name
        ):
            assert found(stock, seen=seen) == {}
            assert waiting(stock, limits=Limits(), seen=seen) == ["a"]
        seen = {"a": replace(SEEN, at=NOW - dt.timedelta(days=9))}
        assert waiting(stock, limits=Limits(), seen=seen) == []
        reason = found(stock, seen=seen)["a"].reason
        assert "9 days, for which it is known to be there, at least" in reason
        anyhow = found(stock, seen={}, limits=Limits(unused_days=0))["a"].reason
        assert "since when it is there is not known" in anyhow

    def test_it_waits_for_none_that_would_not_be_called_unused(self) -> None:
        young = inventory(index("a", "x", scans=0), began_at=NOW - dt.timedelta(days=6))
        read = inventory(index("a", "x", scans=1), index("b", "y", scans=0, is_unique=True))
        packaged = inventory(index("a", "x", scans=0))
        assert waiting(young, limits=Limits(), seen={}) == []
        assert waiting(read, limits=Limits(), seen={}) == []
        assert waiting(packaged, limits=Limits(), seen={}, left_alone={"t"}) == []

    def test_it_asks_the_replicas(self) -> None:
        unused = inventory(index("a", "x", scans=0))
        age = dt.timedelta(days=40)
        assert found(unused, replicas=Replicas(("r",), {"a": 3}, age)) == {}
        assert found(unused, replicas=Replicas(("r",), {}, age)) == {}
        assert found(unused, replicas=Replicas(("r",), None, age)) == {}
        reason = found(unused, replicas=Replicas(("r",), {"a": 0}, age))["a"].reason
        assert "neither here nor on the replicas r" in reason

    def test_it_keeps_what_a_list_relies_on(self) -> None:
        assert found(inventory(index("a", "x", scans=0)), relied_on={"a": "FlightSort"}) == {}


class TestUnselective:
    FIGURES = ColumnFigures(2, 0, 0.97, 1)

    def test_it_finds_one_whose_key_says_little(self) -> None:
        stock = inventory(index("a", "x", scans=5, leading=self.FIGURES))
        assert "97%" in found(stock)["a"].reason
        few = inventory(index("a", "x", leading=replace(self.FIGURES, most_common=0.5)))
        assert "only 2 values" in found(few)["a"].reason

    def test_it_counts_from_when_the_index_was_seen(self) -> None:
        stock = inventory(index("a", "x", scans=60, leading=self.FIGURES))
        lately = replace(SEEN, at=NOW - dt.timedelta(days=9), scans=10, table_reads=9_900)
        assert found(stock, seen={}) == {}
        assert found(stock, seen={"a": lately}) == {}, "half of the reads since then"
        for scans, table_reads in ((60, 9_900), (10, 0)):
            told = found(stock, seen={"a": replace(lately, scans=scans, table_reads=table_reads)})
            assert "in 9 days used it" in told["a"].reason
        assert found(stock, seen={"a": replace(lately, table_reads=10_000)}) == {}

    @pytest.mark.parametrize(
        "kept",
        [
            index("a", "x", leading=FIGURES, scans=5_000),
            index("a", "x", leading=FIGURES, condition="x"),
            index("a", "x", "y", leading=FIGURES),
            index("a", "x", leading=ColumnFigures(-1, 0, 0, 8)),
            index("a", "x", leading=None),
        ],
    )
    def test_it_leaves_what_is_used_or_tells_rows_apart(self, kept: StandingIndex) -> None:
        assert found(inventory(kept)) == {}


class TestBloat:
    FIGURES = (ColumnFigures(-1, 0, 0, 8),)

    def test_it_estimates(self) -> None:
        tight = index("a", "x", rows=1_000_000, figures=self.FIGURES, size_bytes=22_487_040)
        assert found(inventory(tight)) == {}
        assert (
            "By an estimate, about 71%" in found(inventory(replace(tight, size_bytes=77_000_000)))["a"].reason
        )

    def test_it_counts_pages_where_it_can(self) -> None:
        large = inventory(index("a", "x", figures=self.FIGURES, size_bytes=77_000_000))
        assert "By the count of its pages, about 67%" in found(large, density=lambda _: 0.3)["a"].reason
        assert found(large, density=lambda _: 0.8) == {}

    def test_it_says_nothing_of_what_it_does_not_know(self) -> None:
        assert found(inventory(index("a", "x", size_bytes=77_000_000))) == {}


class TestReferences:
    TO_PARENT = (Reference("t", ("x",), "p"),)

    def reasons(self, *indexes: StandingIndex, deletes: int | None = 3, **how: Any) -> list[str]:
        tables = {"t": StandingTable("t", 1_000_000, 9), "p": StandingTable("p", 10, 9, deletes)}
        stock = inventory(*indexes, references=self.TO_PARENT, tables=tables)
        usual = {"limits": Limits(), "replicas": Replicas()}
        return [each.reason for each in inspected(stock, **{**usual, **how}) if each.kind is Kind.FOREIGN_KEY]

    def test_it_says_why_it_matters(self) -> None:
        (reason,) = self.reasons()
        assert "each DELETE in p reads all 1,000,000 rows of t, and 3 rows were deleted" in reason
        assert "look for rows of t by it" in self.reasons(deletes=0, joined=lambda _: True)[0]
        assert "would read" in self.reasons(deletes=None)[0]

    def test_it_is_silent_where_nothing_needs_one(self) -> None:
        assert self.reasons(deletes=0) == []
        assert self.reasons(index("a", "x")) == []
        assert self.reasons(index("a", "x", "y")) == []
        assert self.reasons(index("a", "x", condition='"x" IS NOT NULL')) == []

    def test_others_do_not_serve(self) -> None:
        assert self.reasons(index("a", "y", "x"))
        assert self.reasons(index("a", "x", condition="y = 1"))
        assert self.reasons(replace(index("a", "x"), is_valid=False))


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("(a + b)", "a + b"),
        ("((a + b))", "a + b"),
        ("(a) + (b)", "(a) + (b)"),
        ("(a = ')')", "a = ')'"),
        ("upper(a)", "upper(a)"),
        ("", ""),
    ],
)
def test_it_takes_brackets_away(text: str, bare: str) -> None:
    assert without_brackets(text) == bare


@pytest.mark.postgres
class TestPostgres:
    def names(self, kind: Kind, **how: Any) -> dict[str, Finding]:
        findings = inspect(limits=how.pop("limits", ALL), **how).findings
        return {each.name or ",".join(each.spec.columns): each for each in findings if each.kind is kind}  # type: ignore[union-attr]  # these have one

    def test_it_reads_each_kind_of_index_as_it_would_be_made(self, table: Table) -> None:
        kinds = {
            **KINDS,
            "upper": models.Index(Upper("owner"), F("weight").desc(nulls_last=True), name="kind_upper"),
            "sum": models.Index(F("weight") + F("id"), name="kind_sum"),
            "other": PortableIndex(F("weight").asc(nulls_first=True), name="kind_first"),
        }
        with connection.schema_editor() as editor:
            for each in kinds.values():
                editor.add_index(table.model, each)
        sql(f'CREATE INDEX kind_collated ON {TABLE} (owner COLLATE "C", status) WHERE weight > 3')
        there = {each.name: each for each in postgres_inventory(connection).indexes if each.table == TABLE}
        specs = {name: each.spec for name, each in there.items()}
        assert specs["kind_upper"].keys == (
            Key("upper((owner)::text)", True),
            Key("weight", descending=True, nulls_first=False),
        )
        assert specs["kind_sum"].columns == ("weight + id",)
        assert specs["kind_covering"].include == ("weight",)
        assert specs["kind_partial"].condition == "(status)::text = 'lost'::text"
        assert there[f"{TABLE}_pkey"].held_by == "constraint"
        for name, spec in specs.items():
            if name in {"kind_storage", "kind_brin"} or there[name].held_by:
                continue  # a spec does not say how it is stored
            with connection.cursor() as cursor:
                cursor.execute(spec.sql("again", connection.ops.quote_name))
            again = {each.name: each for each in postgres_inventory(connection).indexes}["again"]
            assert again.spec == spec, name
            assert again.collations.split(" ")[:3] == there[name].collations.split(" ")[:3]
            sql("DROP INDEX again")

    def test_it_finds_what_is_superfluous(self, table: Table) -> None:
        sql(f"CREATE INDEX one ON {TABLE} (owner); CREATE INDEX two ON {TABLE} (owner)")
        sql(f"CREATE INDEX three ON {TABLE} (owner, status); CREATE INDEX four ON {TABLE} (weight)")
        sql(f"CREATE UNIQUE INDEX five ON {TABLE} (created)")
        redundant = self.names(Kind.REDUNDANT)
        assert {"one", "two"} <= set(redundant)
        assert redundant["one"].kept_by == "three"
        assert "four" in self.names(Kind.UNUSED)
        assert "five" not in self.names(Kind.UNUSED)
        assert not {"four", "three"} & set(self.names(Kind.UNUSED, limits=Limits(unused_days=10_000)))

    def test_one_that_was_made_a_moment_ago_is_not_unused(self, table: Table) -> None:
        """Whatever the age of the statistics is; each run that keeps what it finds remembers what it has seen."""
        a_while = Limits(unused_days=1e-9, unused_bytes=0, reference_rows=10**9)
        sql(f"CREATE INDEX four ON {TABLE} (weight)")
        inspection = inspect(limits=a_while)
        assert "four" not in {each.name for each in inspection.findings}
        assert any("Runs with --save" in note for note in inspection.notes)
        keep(run_advisor(workload=Workload("default", ()))[0])
        assert "known to be there" in self.names(Kind.UNUSED, limits=a_while)["four"].reason
        keep(run_advisor(workload=Workload("default", ()))[0])
        first = SeenIndex.objects.get(index_name="four")
        sql("DROP INDEX four")
        sql(f"CREATE INDEX four ON {TABLE} (weight)")
        assert "four" not in self.names(Kind.UNUSED, limits=a_while)
        keep(run_advisor(workload=Workload("default", ()))[0])
        again = SeenIndex.objects.get(index_name="four")
        assert again.oid != first.oid
        assert again.first_seen_at > first.first_seen_at
        sql("DROP INDEX four")
        keep(run_advisor(workload=Workload("default", ()))[0])
        assert not SeenIndex.objects.filter(index_name="four").exists()

    def test_what_is_read_is_not_unused(self, table: Table) -> None:
        sql(f"CREATE INDEX four ON {TABLE} (weight)")
        table.fill(2_000)
        assert "four" in self.names(Kind.UNUSED)
        sql("SET enable_seqscan = off")
        try:
            sql(f"SELECT count(*) FROM {TABLE} WHERE weight = 5")
        finally:
            sql("RESET enable_seqscan")
        sql("SELECT pg_stat_force_next_flush()")
        sql("SELECT 1")
        assert "four" not in self.names(Kind.UNUSED)

    def test_it_never_names_what_something_stands_on(self, table: Table) -> None:
        sql(f"ALTER TABLE {TABLE} ALTER weight SET NOT NULL")
        sql(f"CREATE UNIQUE INDEX identity ON {TABLE} (weight)")
        sql(f"ALTER TABLE {TABLE} REPLICA IDENTITY USING INDEX identity")
        sql(f"CREATE INDEX clustered ON {TABLE} (owner); ALTER TABLE {TABLE} CLUSTER ON clustered")
        sql(f"ALTER TABLE {TABLE} ADD CONSTRAINT once UNIQUE (status)")
        sql(f"ALTER TABLE {TABLE} ADD CONSTRAINT apart EXCLUDE USING btree (created WITH =)")
        sql(f"CREATE UNIQUE INDEX referred ON {TABLE} (owner, weight)")
        sql(f"ALTER TABLE {TABLE} ALTER owner SET NOT NULL")
        sql(
            f"CREATE TABLE referring (o varchar, w int, FOREIGN KEY (o, w) REFERENCES {TABLE} (owner, weight))"
        )
        try:
            held = {
                each.name: each.held_by
                for each in postgres_inventory(connection).indexes
                if each.table == TABLE
            }
            assert held == {
                f"{TABLE}_pkey": "constraint",
                "identity": "replica identity",
                "clustered": "cluster",
                "once": "constraint",
                "apart": "constraint",
                "referred": "foreign key",
            }
            assert not [each for each in inspect(limits=ALL).findings if each.table == TABLE]
        finally:
            sql("DROP TABLE referring")

    def test_it_takes_partitions_together(self, transactional_db: None) -> None:
        sql("CREATE TABLE log (id bigint, at date, kind text) PARTITION BY RANGE (at)")
        try:
            sql("CREATE TABLE log_1 PARTITION OF log FOR VALUES FROM ('2026-01-01') TO ('2026-02-01')")
            sql("CREATE TABLE log_2 PARTITION OF log FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')")
            sql("CREATE INDEX log_kind ON log (kind); CREATE INDEX log_kind_at ON log (kind, at)")
            sql("CREATE INDEX log_id ON log (id)")
            sql("INSERT INTO log SELECT n, '2026-01-05', 'x' || n FROM generate_series(1, 3000) n")
            sql("ANALYZE log")
            assert {"log_kind"} == {each.name for each in self.of_table("log", Kind.REDUNDANT)}
            assert {"log_id", "log_kind_at"} == {each.name for each in self.of_table("log", Kind.UNUSED)}
            sql("SET enable_seqscan = off")
            sql("SELECT count(*) FROM log_1 WHERE id = 7")
            sql("RESET enable_seqscan")
            sql("SELECT pg_stat_force_next_flush()")
            sql("SELECT 1")
            assert {"log_kind_at"} == {each.name for each in self.of_table("log", Kind.UNUSED)}
            tables = {each.table for each in inspect(limits=ALL).findings}
            assert not {"log_1", "log_2"} & tables
            assert postgres_inventory(connection).tables["log"].rows == 3_000
        finally:
            sql("DROP TABLE log")

    def of_table(self, name: str, kind: Kind) -> list[Finding]:
        return [each for each in inspect(limits=ALL).findings if (each.table, each.kind) == (name, kind)]

    def test_it_finds_foreign_keys_without_an_index(self, table: Table) -> None:
        sql(f"CREATE TABLE child (parcel bigint REFERENCES {TABLE}, other bigint REFERENCES {TABLE})")
        try:
            sql("CREATE INDEX child_other ON child (other) WHERE other IS NOT NULL")
            young = replace(ALL, unused_days=7)
            (finding,) = [each for each in inspect(limits=young).findings if each.kind is Kind.FOREIGN_KEY]
            assert finding.spec == IndexSpec("child", (Key("parcel"),))
            assert finding.is_addition
            joined = QueryShape('SELECT 1 FROM "child" WHERE "child"."parcel" = ?', 3, 0.1)
            (finding,) = [
                each
                for each in inspect(limits=ALL, workload=Workload("default", (joined,))).findings
                if each.table == "child" and each.kind is Kind.FOREIGN_KEY
            ]
            assert "statements look for rows of child by it" in finding.reason
            asked = {
                'SELECT 1 FROM "child" c WHERE c."parcel" = ?': True,
                f'SELECT 1 FROM {TABLE} U0 JOIN "child" T4 ON U0."id" = T4."parcel" WHERE U0."weight" > ?': True,
                'SELECT "child"."parcel" FROM "child" WHERE "child"."other" = ?': False,
                'SELECT 1 FROM "child" WHERE ? = "child"."other" AND "child"."parcel" <> ?': False,
            }
            for text, is_joined in asked.items():
                heard = Workload("default", (QueryShape(text, 3, 0.1),))
                reasons = [
                    each.reason
                    for each in inspect(limits=ALL, workload=heard).findings
                    if each.table == "child" and each.kind is Kind.FOREIGN_KEY
                ]
                assert any("statements look for" in each for each in reasons) == is_joined, text
        finally:
            sql("DROP TABLE child")

    def test_it_finds_bloat_and_measures_it_where_it_can(self, table: Table) -> None:
        limits = replace(ALL, bloat_bytes=100_000)
        table.fill(20_000)
        sql(f"CREATE INDEX swollen ON {TABLE} (created, id)")
        assert "swollen" not in {each.name for each in self.of_bloat(limits)}
        sql(f"DELETE FROM {TABLE} WHERE id % 100 <> 0")
        sql(f"VACUUM ANALYZE {TABLE}")
        assert "By an estimate" in {each.name: each for each in self.of_bloat(limits)}["swollen"].reason
        sql("CREATE EXTENSION IF NOT EXISTS pgstattuple")
        try:
            assert (
                "By the count of its pages"
                in {each.name: each for each in self.of_bloat(limits)}["swollen"].reason
            )
        finally:
            sql("DROP EXTENSION pgstattuple")
        sql("REINDEX INDEX swollen")
        assert "swollen" not in {each.name for each in self.of_bloat(limits)}

    def of_bloat(self, limits: Limits) -> list[Finding]:
        """Return the bloated ones, as though each index were read."""
        stock = postgres_inventory(connection)
        read = replace(stock, indexes=tuple(replace(each, scans=9) for each in stock.indexes))
        density = partial(leaf_density, connection)
        found = inspected(read, limits=limits, replicas=Replicas(), density=density)
        return [each for each in found if each.kind is Kind.BLOATED]

    def test_it_sends_as_many_queries_whatever_the_number_of_tables(self, table: Table) -> None:
        with CaptureQueriesContext(
            connection,
        ) as few:
            inspect()
        for number in range(20):
            sql(f"CREATE TABLE many_{number} (a int, b int); CREATE INDEX ON many_{number} (a)")
        try:
            with CaptureQueriesContext(connection) as many:
                inspect()
        finally:
            sql("DROP TABLE " + ", ".join(f"many_{number}" for number in range(20)))
        assert len(many) == len(few)

    def test_a_role_without_rights_may_look(self, table: Table) -> None:
        sql(f"CREATE INDEX one ON {TABLE} (owner); CREATE INDEX two ON {TABLE} (owner)")
        sql("CREATE ROLE perfkit_looks")
        try:
            sql("SET ROLE perfkit_looks")
            assert {"two"} <= set(self.names(Kind.DUPLICATE))
        finally:
            sql("RESET ROLE")
            sql("DROP ROLE perfkit_looks")

    def test_what_a_replica_reads_by_is_not_unused(self, table: Table, standby: Standby) -> None:
        """Of a real standby, which counts by itself."""
        sql(f"CREATE INDEX four ON {TABLE} (weight)")
        standby.catch_up()
        assert "neither here nor on the replicas" in self.names(Kind.UNUSED, replicas=[ALIAS])["four"].reason
        replica = connections[ALIAS]
        with replica.cursor() as cursor:
            cursor.execute("SET enable_seqscan = off")
            cursor.execute(f"SELECT count(*) FROM {TABLE} WHERE weight = 1")
        replica.close()  # its session tells its counts then
        wait_until(lambda: "four" not in self.names(Kind.UNUSED, replicas=[ALIAS]), seconds=30)
        assert "four" in self.names(Kind.UNUSED, replicas=[])

    def test_a_replica_that_does_not_answer_is_told(self, table: Table) -> None:
        sql(f"CREATE INDEX four ON {TABLE} (weight)")
        away = connection.copy(alias="away")
        away.settings_dict = {**connection.settings_dict, "NAME": "perfkit_nowhere"}
        connections["away"] = away
        try:
            inspection = inspect(limits=ALL, replicas=["away"])
        finally:
            del connections["away"]
        assert "'away' does not answer" in inspection.notes[0]
        assert not [each for each in inspection.findings if each.kind is Kind.UNUSED]
        assert inspection.kinds == STANDING - {Kind.UNUSED, Kind.UNSELECTIVE}
        assert inspect(limits=ALL, replicas=[]).kinds == STANDING


class TestSQLite:
    @pytest.fixture
    def elsewhere(self, sqlite_table: Table) -> BaseDatabaseWrapper:
        return sqlite_table.connection

    def test_it_finds_doubles_and_foreign_keys(self, elsewhere: BaseDatabaseWrapper) -> None:
        for statement in (
            f"CREATE INDEX one ON {TABLE} (owner)",
            f"CREATE INDEX two ON {TABLE} (owner, status DESC)",
            f"CREATE INDEX three ON {TABLE} (upper(owner), weight) WHERE (status = 'a, (b')",
            f"CREATE INDEX four ON {TABLE} (upper(owner), weight) WHERE status = 'a, (b'",
            f"CREATE TABLE child (parcel bigint REFERENCES {TABLE})",
        ):
            sql(statement, elsewhere)
        findings = {(each.kind, each.name): each for each in inspect("elsewhere", limits=ALL).findings}
        assert findings[Kind.REDUNDANT, "one"].kept_by == "two"
        assert findings[Kind.DUPLICATE, "three"].spec == IndexSpec(
            TABLE, (Key("upper(owner)", True), Key("weight")), condition="status = 'a, (b'"
        )
        assert findings[Kind.FOREIGN_KEY, ""].table == "child"
        assert len(findings) == 3


def test_it_says_which_databases_it_knows() -> None:
    class Other:
        vendor = "oracle"

    assert "oracle" in str(NoIndexAdviceError("other", Other.vendor))
