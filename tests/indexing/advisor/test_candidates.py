"""Which indexes are thought of for a statement, without a database."""

from __future__ import annotations

import pytest

from perfkit.indexing.advisor.candidates import MOST, candidates_for, joint_candidates_for, merged, unread
from perfkit.indexing.advisor.specs import IndexSpec, Key
from perfkit.workload import QueryShape
from tests.indexing.advisor.statements import facts, texts, thought_of


@pytest.mark.parametrize(
    ("rest", "first"),
    [
        ("WHERE captain_id = 5", "voyage (captain_id)"),
        ("WHERE status = 'done' AND captain_id = 5", "voyage (captain_id, status)"),
        ("WHERE captain_id = 5 AND made > '2024-01-01'", "voyage (captain_id, made)"),
        ("WHERE captain_id = 5 ORDER BY made DESC LIMIT 5", "voyage (captain_id, made)"),
        ("WHERE captain_id = 5 ORDER BY made DESC, id DESC LIMIT 5", "voyage (captain_id, made, id)"),
        ("WHERE captain_id = 5 ORDER BY made DESC, ref LIMIT 5", "voyage (captain_id, made DESC, ref)"),
        ("WHERE captain_id = 5 ORDER BY captain_id, made LIMIT 5", "voyage (captain_id, made)"),
        ("ORDER BY height DESC NULLS LAST LIMIT 5", "voyage (height DESC NULLS LAST)"),
        ("ORDER BY height DESC NULLS FIRST LIMIT 5", "voyage (height)"),
        ("ORDER BY height NULLS FIRST LIMIT 5", "voyage (height NULLS FIRST)"),
        ("ORDER BY made, id, ref LIMIT 5", "voyage (made, id)"),
        ("WHERE UPPER(ref::text) = UPPER('a')", "voyage ((upper((ref)::text)))"),
        ("WHERE ref LIKE 'abc%'", "voyage (ref varchar_pattern_ops)"),
        ("WHERE title LIKE 'abc%'", "voyage (title text_pattern_ops)"),
        ("WHERE UPPER(ref::text) LIKE UPPER('abc%')", "voyage ((upper((ref)::text)) text_pattern_ops)"),
        ("WHERE ref LIKE '%abc%'", "voyage USING gin (ref gin_trgm_ops)"),
        (
            "WHERE UPPER(ref::text) LIKE UPPER('%abc%')",
            "voyage USING gin ((upper((ref)::text)) gin_trgm_ops)",
        ),
        ("WHERE labels @> '{}'::jsonb", "voyage USING gin (labels jsonb_path_ops)"),
        ("WHERE labels ? 'a'", "voyage USING gin (labels)"),
        ("WHERE (labels -> 'a') = '5'::jsonb", "voyage ((labels -> 'a'::text))"),
        ("WHERE tags @> ARRAY['a']::varchar[]", "voyage USING gin (tags)"),
        ("WHERE words @@ plainto_tsquery('a')", "voyage USING gin (words)"),
        ("WHERE span && tstzrange(now(), NULL)", "voyage USING gist (span)"),
        ("WHERE address << '10.0.0.0/8'", "voyage USING gist (address inet_ops)"),
        (
            "WHERE (made AT TIME ZONE 'UTC')::date = '2024-01-01'",
            "voyage ((((made AT TIME ZONE 'UTC'::text))::date))",
        ),
        ('WHERE "order" = 5', "voyage (order)"),
    ],
)
def test_the_likeliest_comes_first(rest: str, first: str) -> None:
    assert thought_of(f"SELECT * FROM voyage {rest}")[0] == first


@pytest.mark.parametrize(
    ("sql", "wanted"),
    [
        # The sort before the range, and the range before the sort.
        (
            "SELECT * FROM voyage WHERE captain_id = 5 AND height > 5 ORDER BY made",
            "voyage (captain_id, made)",
        ),
        (
            "SELECT * FROM voyage WHERE captain_id = 5 AND height > 5 ORDER BY made",
            "voyage (captain_id, height)",
        ),
        (
            "SELECT * FROM voyage WHERE captain_id = 5 AND height > 5 ORDER BY made",
            "voyage (captain_id, made, height)",
        ),
        # Few rows by what stays the same.
        ("SELECT * FROM voyage WHERE NOT is_paid ORDER BY made LIMIT 5", "voyage (made) WHERE (NOT is_paid)"),
        (
            "SELECT * FROM voyage WHERE gone IS NULL AND captain_id = 5",
            "voyage (captain_id) WHERE (gone IS NULL)",
        ),
        ("SELECT * FROM voyage WHERE status = 'lost'", "voyage (id) WHERE ((status)::text = 'lost'::text)"),
        (
            "SELECT * FROM voyage WHERE height IS NOT NULL ORDER BY made",
            "voyage (made) WHERE (height IS NOT NULL)",
        ),
        (
            "SELECT * FROM voyage WHERE NOT (status = 'done') ORDER BY made",
            "voyage (made) WHERE ((status)::text <> 'done'::text)",
        ),
        (
            "SELECT * FROM voyage WHERE NOT is_paid AND status = 'open' ORDER BY made",
            "voyage (made) WHERE (((status)::text = 'open'::text) AND (NOT is_paid))",
        ),
        # All that is read is in the index.
        ("SELECT height FROM voyage WHERE captain_id = 5", "voyage (captain_id) INCLUDE (height)"),
        ("SELECT SUM(height) FROM voyage WHERE captain_id = 5", "voyage (captain_id) INCLUDE (height)"),
        # Each arm of an OR.
        ("SELECT * FROM voyage WHERE captain_id = 5 OR ref = 'a'", "voyage (captain_id)"),
        ("SELECT * FROM voyage WHERE captain_id = 5 OR ref = 'a'", "voyage (ref)"),
        (
            "SELECT * FROM voyage WHERE captain_id = 5 OR ref LIKE '%abc%'",
            "voyage USING gin (ref gin_trgm_ops)",
        ),
        ("SELECT * FROM voyage WHERE height = 5 AND (captain_id = 5 OR ref = 'a')", "voyage (ref, height)"),
        # Joins, from either side.
        (
            "SELECT v.* FROM voyage v JOIN captain c ON c.id = v.captain_id WHERE c.name = 'a'",
            "captain (name)",
        ),
        (
            "SELECT v.* FROM voyage v JOIN captain c ON c.id = v.captain_id WHERE c.name = 'a'",
            "voyage (captain_id)",
        ),
        (
            (
                "SELECT 1 FROM captain c WHERE EXISTS"
                " (SELECT 1 FROM voyage U0 WHERE U0.captain_id = c.id AND U0.height = 5)"
            ),
            "voyage (captain_id, height)",
        ),
        ("SELECT MAX(made) FROM voyage WHERE captain_id = 5", "voyage (captain_id, made)"),
        ("SELECT status, COUNT(*) FROM voyage GROUP BY 1", "voyage (status)"),
        (
            "SELECT DISTINCT ON (captain_id) * FROM voyage ORDER BY captain_id, made DESC",
            "voyage (captain_id, made DESC)",
        ),
        (
            "SELECT *, RANK() OVER (PARTITION BY captain_id ORDER BY made) FROM voyage",
            "voyage (captain_id, made)",
        ),
        (
            "UPDATE voyage SET height = 5 WHERE captain_id = 5 AND status = 'open'",
            "voyage (captain_id, status)",
        ),
        ("SELECT * FROM voyage WHERE made > '2024-01-01'", "voyage USING brin (made)"),
        ("SELECT * FROM voyage WHERE span && tstzrange(now(), NULL)", "voyage USING spgist (span)"),
        # A pattern that nobody knows.
        ("SELECT * FROM voyage WHERE ref LIKE ?", "voyage (ref varchar_pattern_ops)"),
        ("SELECT * FROM voyage WHERE ref LIKE ?", "voyage USING gin (ref gin_trgm_ops)"),
    ],
)
def test_it_thinks_of(sql: str, wanted: str) -> None:
    assert wanted in thought_of(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM voyage WHERE id = 5",
        "SELECT * FROM voyage WHERE id = 5 AND height = 6",
        "SELECT * FROM voyage ORDER BY id DESC LIMIT 5",
        "SELECT * FROM voyage",
        "SELECT * FROM voyage WHERE old ->> 'a' = 'b' AND false OR random() > 0.5",
        "SELECT * FROM voyage WHERE 5 = ANY(tags)",
        "INSERT INTO voyage (id) VALUES (5)",
        "SELECT 1",
    ],
)
def test_it_thinks_of_nothing_where_nothing_would_help(sql: str) -> None:
    assert thought_of(sql) == []


def test_no_value_that_changes_makes_a_partial_index() -> None:
    samples = [
        f"SELECT * FROM voyage WHERE status = '{each}' AND NOT is_paid" for each in ("lost", "late", "open")
    ]
    conditions = {text.partition(" WHERE ")[2] for text in thought_of(*samples)}
    assert conditions == {"", "(NOT is_paid)"}
    assert any("lost" in text for text in thought_of(samples[0], samples[0].replace("SELECT", "SELECT ")))


@pytest.mark.parametrize(
    ("rows", "takings", "is_settled"),
    [(1, 0, False), (1, 2, False), (1, 3, True), (2, 2, False), (3, 0, True)],
)
def test_a_value_makes_a_partial_index_once_three_examples_had_it(
    rows: int, takings: int, is_settled: bool
) -> None:
    """However many calls there were: nobody knows what the others asked for."""
    samples = tuple(
        f"SELECT * FROM voyage WHERE status = 'lost' AND NOT is_paid LIMIT {limit + 1}"
        for limit in range(rows)
    )
    shape = QueryShape("it", 10_000, 1.0, samples, takings=takings)
    found = {text.partition(" WHERE ")[2] for text in texts(candidates_for([shape], facts())["it"])}
    assert found >= {"", "(NOT is_paid)"}
    assert any("lost" in each for each in found) is is_settled


def test_a_key_that_stays_makes_a_partial_index() -> None:
    samples = [f"SELECT * FROM voyage WHERE labels ? 'recalled' AND height > {each}" for each in range(3)]
    assert "voyage (height) WHERE (labels ? 'recalled'::text)" in thought_of(*samples)
    assert not any(" WHERE " in text for text in thought_of(*samples[:2]))


def test_a_key_that_changes_makes_no_partial_index() -> None:
    samples = [f"SELECT * FROM voyage WHERE labels ? '{each}' AND height > 5" for each in "abcd"]
    assert "voyage (height)" in thought_of(*samples)
    assert not any(" WHERE " in text for text in thought_of(*samples))


def test_a_key_that_one_user_may_have_typed_makes_no_partial_index() -> None:
    sql = "SELECT * FROM voyage WHERE labels ? 'a' AND height > 5"
    (found,) = candidates_for([QueryShape("it", 1_000, 1.0, (sql,), takings=500)], facts()).values()
    assert not any(" WHERE " in text for text in texts(found))


@pytest.mark.parametrize("key", ["ann.lee@example.org", "41 62", "", "x" * 64, "a''b"])
def test_what_is_no_name_of_a_key_makes_no_partial_index(key: str) -> None:
    samples = [f"SELECT * FROM voyage WHERE labels ? '{key}' AND height > {each}" for each in range(4)]
    assert not any(" WHERE " in text for text in thought_of(*samples))


@pytest.mark.parametrize("condition", ["labels ?| ARRAY['a', 'b']", "(labels -> 'a') ? 'b'", "labels ? ref"])
def test_only_one_key_of_a_column_makes_a_partial_index(condition: str) -> None:
    found = thought_of(f"SELECT * FROM voyage WHERE {condition} AND height > 5")
    assert "voyage (height)" in found
    assert not any(" WHERE " in text for text in found)


def test_a_value_that_many_rows_have_makes_no_partial_index() -> None:
    assert not any(
        " WHERE " in text for text in thought_of("SELECT * FROM voyage WHERE status = 'done' AND is_paid")
    )


def test_without_the_extension_there_are_no_trigrams() -> None:
    assert thought_of("SELECT * FROM voyage WHERE ref LIKE '%abc%'", extensions=frozenset()) == []


@pytest.mark.parametrize(
    ("there", "sql"),
    [
        ("CREATE INDEX x ON voyage (captain_id, made DESC)", "SELECT * FROM voyage WHERE captain_id = 5"),
        ("CREATE INDEX x ON voyage (made DESC)", "SELECT * FROM voyage ORDER BY made LIMIT 5"),
        ("CREATE INDEX x ON voyage (upper(ref::text))", "SELECT * FROM voyage WHERE UPPER(ref) = 'A'"),
        ("CREATE INDEX x ON voyage USING gin (labels)", "SELECT * FROM voyage WHERE labels ? 'a'"),
        ("CREATE UNIQUE INDEX x ON voyage (ref)", "SELECT * FROM voyage WHERE ref = 'a' AND height = 5"),
        (
            "CREATE INDEX x ON voyage ((labels ->> 'a'::text))",
            "SELECT * FROM voyage WHERE labels ->> 'a' = 'b'",
        ),
    ],
)
def test_it_does_not_think_of_what_is_there(there: str, sql: str) -> None:
    known = facts(there)
    assert candidates_for([QueryShape("it", 1, 1.0, (sql,))], known) == {"it": ()}


def test_it_knows_an_index_of_the_rows_with_a_key() -> None:
    known = facts("CREATE INDEX x ON voyage (height) WHERE (labels ? 'recalled'::text)")
    sql = "SELECT * FROM voyage WHERE labels ? 'recalled' AND height > 5"
    samples = tuple(sql.replace("5", each) for each in "567")
    (found,) = candidates_for([QueryShape("it", 3, 1.0, samples)], known).values()
    assert "voyage (height)" in texts(found)
    assert "voyage (height) WHERE (labels ? 'recalled'::text)" not in texts(found)


def test_an_index_of_other_rows_is_another() -> None:
    known = facts("CREATE INDEX x ON voyage (captain_id) WHERE gone IS NULL")
    (found,) = candidates_for(
        [QueryShape("it", 1, 1.0, ("SELECT * FROM voyage WHERE captain_id = 5",))], known
    )["it"]
    assert texts([found]) == ["voyage (captain_id)"]
    sql = "SELECT * FROM voyage WHERE captain_id = 5 AND gone IS NULL"
    assert "voyage (captain_id) WHERE (gone IS NULL)" not in texts(
        candidates_for([QueryShape("it", 1, 1.0, (sql,))], known)["it"]
    )


def test_a_statement_has_a_bounded_number_of_them_in_one_order() -> None:
    columns = ("captain_id", "status", "day", "height", "ref", "made", "title", '"order"', "gone", "local")
    conditions = " AND ".join(f"{each} > '5'" for each in columns)
    arms = " OR ".join(f"{each} = '5'" for each in columns)
    sql = f"SELECT id FROM voyage JOIN leg USING (id) WHERE {conditions} AND ({arms}) ORDER BY made, height DESC"
    found = thought_of(sql)
    assert len(found) == MOST == len(set(found))
    assert found == thought_of(sql)


@pytest.mark.parametrize(
    ("condition", "there", "groups"),
    [
        ("captain_id = 5 OR ref = 'a'", [], [["voyage (captain_id)", "voyage (ref)"]]),
        (
            "captain_id = 5 OR ref LIKE '%abc%'",
            [],
            [["voyage (captain_id)", "voyage USING gin (ref gin_trgm_ops)"]],
        ),
        ("captain_id = 5 OR ref = 'a'", ["CREATE INDEX x ON voyage (ref)"], []),
        ("captain_id = 5 OR captain_id = 6", [], []),
        ("captain_id = 5 OR random() > 0.5", [], []),
        ("captain_id = 5 OR NOT (ref = 'a')", [], []),
        ("captain_id = 5 AND ref = 'a'", [], []),
    ],
)
def test_the_arms_of_an_or_belong_together(condition: str, there: list[str], groups: list[list[str]]) -> None:
    shape = QueryShape("it", 1, 1.0, (f"SELECT * FROM voyage WHERE {condition}",))
    found = joint_candidates_for([shape], facts(*there))
    assert [texts(group) for group in found.get("it", ())] == groups


def test_what_cannot_be_read_is_told_apart() -> None:
    shapes = [
        QueryShape("SELEC ?", 1, 1.0),
        QueryShape("SELECT ?", 1, 1.0),
        QueryShape("x", 1, 1.0, ("DO 'x'",)),
    ]
    assert candidates_for(shapes, facts()) == {"SELECT ?": ()}
    assert set(unread(shapes, facts())) == {"SELEC ?", "x"}


def test_a_fingerprint_alone_is_enough_for_a_column() -> None:
    shape = QueryShape(
        'SELECT "voyage"."id" FROM "voyage" WHERE ("voyage"."captain_id" = ? AND NOT "voyage"."is_paid")',
        1,
        1.0,
    )
    assert texts(candidates_for([shape], facts())[shape.fingerprint])[0] == "voyage (captain_id, is_paid)"


def spec(*keys: str, include: tuple[str, ...] = (), condition: str = "", method: str = "btree") -> IndexSpec:
    made = tuple(Key(each.rstrip("-"), descending=each.endswith("-")) for each in keys)
    return IndexSpec("voyage", made, include, condition, method)


@pytest.mark.parametrize(
    ("many", "few"),
    [
        ([spec("a"), spec("a", "b")], [spec("a", "b")]),
        ([spec("a", "b"), spec("a"), spec("b")], [spec("a", "b"), spec("b")]),
        ([spec("a-"), spec("a", "b")], [spec("a", "b")]),
        ([spec("a-"), spec("a")], [spec("a")]),
        ([spec("a"), spec("a", "b", condition="c")], [spec("a"), spec("a", "b", condition="c")]),
        ([spec("a", include=("b",)), spec("a", include=("c",))], [spec("a", include=("b", "c"))]),
        ([spec("a", include=("b",)), spec("a", "b")], [spec("a", "b")]),
        ([spec("a", include=("c",)), spec("a", "b")], [spec("a", include=("c",)), spec("a", "b")]),
        ([spec("a", method="gin"), spec("a")], [spec("a", method="gin"), spec("a")]),
        ([spec("a").on("leg"), spec("a", "b")], [spec("a").on("leg"), spec("a", "b")]),
        ([], []),
    ],
)
def test_it_merges(many: list[IndexSpec], few: list[IndexSpec]) -> None:
    assert list(merged(many)) == few
