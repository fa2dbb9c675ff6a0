from __future__ import annotations

import pytest
from django.db import connection

from perfkit.postgres.catalogue import RelationState, find_index, find_table, odd_relations

pytestmark = [pytest.mark.postgres, pytest.mark.django_db]


@pytest.fixture(autouse=True)
def tables(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute('CREATE TABLE "Odd table" (id int PRIMARY KEY, name text, at timestamptz)')
        cursor.execute('INSERT INTO "Odd table" SELECT n, n::text, now() FROM generate_series(1, 500) n')
        cursor.execute("CREATE TABLE parted (id int) PARTITION BY LIST (id)")
        cursor.execute("CREATE SCHEMA stock")
        cursor.execute('CREATE TABLE stock."Odd table" (id int, name text)')


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


class TestTable:
    def test_it_says_what_the_catalogue_says(self) -> None:
        table = find_table(connection, "Odd table")
        assert (table.schema, table.name, table.is_partitioned) == ("public", "Odd table", False)
        assert table.size_bytes > 8_000

    def test_it_knows_no_number_of_rows_before_the_first_analyze(self) -> None:
        assert find_table(connection, "Odd table").estimated_rows is None
        execute('ANALYZE "Odd table"')
        assert find_table(connection, "Odd table").estimated_rows == 500

    def test_it_finds_a_table_of_a_named_schema(self) -> None:
        assert find_table(connection, '"stock"."Odd table"').schema == "stock"

    def test_it_tells_a_partitioned_table(self) -> None:
        assert find_table(connection, "parted").is_partitioned

    @pytest.mark.parametrize("name", ["nowhere", "odd table", '"nowhere"."Odd table"'])
    def test_it_finds_nothing_where_there_is_nothing(self, name: str) -> None:
        assert find_table(connection, name) is None

    def test_it_costs_one_query(self, django_assert_num_queries: object) -> None:
        with django_assert_num_queries(1):
            find_table(connection, "Odd table")
        with django_assert_num_queries(1):
            find_index(connection, "Odd table", "by_name")


class TestIndex:
    def test_it_says_what_the_catalogue_says(self) -> None:
        execute('CREATE INDEX by_name ON "Odd table" (lower(name), at DESC) INCLUDE (id) WHERE id > 7')
        index = find_index(connection, "Odd table", "by_name")
        assert (index.schema, index.name, index.table) == ("public", "by_name", "Odd table")
        assert (index.is_on_table, index.is_valid, index.builder_pid) == (True, True, None)
        assert index.definition.startswith("CREATE INDEX by_name ON ")
        assert index.size_bytes > 0
        assert index.shape.method == "btree"
        assert index.shape.key_columns == 2
        assert index.shape.columns == ("lower(name)", "at", "id")
        assert index.shape.condition == "(id > 7)"

    def test_it_tells_an_invalid_one(self) -> None:
        execute('CREATE INDEX by_name ON "Odd table" (name)')
        execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'by_name'::regclass")
        assert not find_index(connection, "Odd table", "by_name").is_valid

    def test_it_looks_in_the_schema_of_the_table(self) -> None:
        execute('CREATE INDEX by_name ON stock."Odd table" (name)')
        assert find_index(connection, "Odd table", "by_name") is None
        assert find_index(connection, '"stock"."Odd table"', "by_name").schema == "stock"

    def test_it_tells_an_index_of_another_table(self) -> None:
        execute("CREATE INDEX by_name ON parted (id)")
        index = find_index(connection, "Odd table", "by_name")
        assert (index.table, index.is_on_table) == ("parted", False)

    @pytest.mark.parametrize(("table", "name"), [("Odd table", "By_name"), ("nowhere", "by_name")])
    def test_it_finds_nothing_where_there_is_nothing(self, table: str, name: str) -> None:
        execute('CREATE INDEX by_name ON "Odd table" (name)')
        assert find_index(connection, table, name) is None


class TestShape:
    def shape(self, definition: str, table: str = '"Odd table"') -> object:
        execute(f"CREATE INDEX by_name ON {table} {definition}")
        found = find_index(
            connection, table.strip('"') if "." not in table else '"stock"."Odd table"', "by_name"
        )
        execute(f"DROP INDEX {'stock.' if '.' in table else ''}by_name")
        return found.shape

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("(name)", "USING btree (name ASC NULLS LAST)"),
            ("(lower(name))", "((LOWER(name)))"),
            ("(name) WHERE id in (1, 2)", "(name) WHERE (id = ANY (ARRAY[1, 2]))"),
            (
                "(name) WITH (fillfactor=70, deduplicate_items=off)",
                "(name) WITH (deduplicate_items=off, fillfactor=70)",
            ),
        ],
    )
    def test_it_is_equal_for_two_spellings_of_one(self, one: str, other: str) -> None:
        assert self.shape(one) == self.shape(other)

    @pytest.mark.parametrize(
        "other",
        [
            "(id)",
            "(name, id)",
            "(name) INCLUDE (id)",
            "(name DESC)",
            "(name NULLS FIRST)",
            "(name text_pattern_ops)",
            '(name COLLATE "C")',
            "USING hash (name)",
            "(name) WHERE id > 1",
            "(name) WITH (fillfactor=70)",
            "(lower(name))",
        ],
    )
    def test_it_differs_for_what_is_different(self, other: str) -> None:
        assert self.shape("(name)") != self.shape(other)

    def test_it_is_equal_on_two_tables_that_are_alike(self) -> None:
        assert self.shape("(lower(name)) WHERE id > 1") == self.shape(
            "(lower(name)) WHERE id > 1", 'stock."Odd table"'
        )


class TestOddRelations:
    """Under which other names rows of a relation are written."""

    @pytest.fixture(autouse=True)
    def _relations(self, tables: None) -> None:
        for sql in (
            "CREATE TABLE parted_low PARTITION OF parted FOR VALUES IN (1)",
            "CREATE TABLE parted_high PARTITION OF parted FOR VALUES IN (2, 3) PARTITION BY LIST (id)",
            "CREATE TABLE parted_two PARTITION OF parted_high FOR VALUES IN (2)",
            "CREATE TABLE animal (id int)",
            "CREATE TABLE bird (wings int) INHERITS (animal)",
            'CREATE VIEW "Some view" AS SELECT id, name FROM "Odd table"',
            'CREATE VIEW sums AS SELECT v.id, count(*) FROM "Some view" v JOIN parted_low USING (id) GROUP BY 1',
            "CREATE VIEW of_catalogue AS SELECT relname FROM pg_class",
            "CREATE MATERIALIZED VIEW kept AS SELECT id FROM parted",
            "CREATE VIEW of_kept AS SELECT id FROM kept",
        ):
            execute(sql)

    @pytest.mark.parametrize(
        ("name", "kind", "others", "is_writable"),
        [
            ("parted", "partitioned table", {"parted_low", "parted_high", "parted_two"}, False),
            ("parted_low", "table", {"parted"}, False),
            ("parted_two", "table", {"parted_high", "parted"}, False),
            ("animal", "table", {"bird"}, False),
            ("bird", "table", {"animal"}, False),
            ("Some view", "view", {"Odd table"}, True),
            ("sums", "view", {"Some view", "Odd table", "parted_low", "parted"}, False),
            ("of_catalogue", "view", set(), True),
            ("of_kept", "view", {"kept"}, False),
        ],
    )
    def test_it_says_what_the_catalogue_says(
        self, name: str, kind: str, others: set[str], is_writable: bool
    ) -> None:
        found = odd_relations(connection, [name, "Odd table"])
        assert found == {name: RelationState(kind, frozenset(others), is_writable)}

    def test_it_leaves_out_what_is_written_under_its_own_name_only(self) -> None:
        assert odd_relations(connection, ["Odd table", 'stock"."Odd table', "kept", "nowhere"]) == {}

    def test_it_costs_one_query(self, django_assert_num_queries: object) -> None:
        with django_assert_num_queries(1):
            odd_relations(connection, ["parted", "sums", "animal"])
