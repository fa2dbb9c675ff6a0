"""What a statement asks of each of its tables, construct by construct."""

from __future__ import annotations

import pytest

from perfkit.indexing.advisor.reading import scans_of
from perfkit.indexing.advisor.scans import Condition, Scan
from tests.indexing.advisor.statements import TYPES


def scan_of(condition: str) -> Scan:
    (scan,) = scans_of(f"SELECT id FROM voyage WHERE {condition}", TYPES)
    return scan


def shown(conditions: tuple[Condition, ...]) -> list[str]:
    return [f"{each.match} {each.term.text}" for each in conditions]


@pytest.mark.parametrize(
    ("condition", "wanted"),
    [
        ("height = 5", ["equal height"]),
        ('"voyage"."height" = 5', ["equal height"]),
        ("5 = height", ["equal height"]),
        ("height IN (5)", ["equal height"]),
        ("height IN (5, 6)", ["any height"]),
        ("height = ANY('{5,6}')", ["any height"]),
        ("height = ANY(ARRAY[5, 6])", ["any height"]),
        ("height IS NULL", ["equal height"]),
        ("height IS NOT NULL", ["other height"]),
        ("height IS NOT DISTINCT FROM 5", ["equal height"]),
        ("height IS NOT DISTINCT FROM NULL", ["equal height"]),
        ("height <> 5", ["other height"]),
        ("NOT (height = 5)", ["other height"]),
        ("height NOT IN (5, 6)", ["other height"]),
        ("is_paid", ["equal is_paid"]),
        ("NOT is_paid", ["equal is_paid"]),
        ("is_paid IS TRUE", ["equal is_paid"]),
        ("is_paid = false", ["equal is_paid"]),
        ("height > 5", ["range height"]),
        ("5 > height", ["range height"]),
        ("height BETWEEN 5 AND 6", ["range height"]),
        ("(height, id) > (5, 6)", ["range height"]),
        ("(height, id) = (5, 6)", ["equal height", "equal id"]),
        ("made >= now() - interval '1 day'", ["range made"]),
        ("height = $1", ["equal height"]),
        ("height = (SELECT 5)", ["equal height"]),
        ("height = id", []),
        ("ref LIKE 'abc%'", ["prefix ref"]),
        ("ref::text LIKE 'abc%'", ["prefix ref"]),
        ("ref LIKE 'a\\_c%'", ["prefix ref"]),
        ("ref LIKE 'abc'", ["prefix ref"]),
        ("ref LIKE '%abc%'", ["contains ref"]),
        ("ref LIKE '%a%'", []),
        ("ref LIKE $1", ["pattern ref"]),
        ("ref ILIKE 'abc%'", ["contains ref"]),
        ("ref NOT LIKE 'abc%'", []),
        ("UPPER(ref::text) LIKE UPPER('abc%')", ["prefix upper((ref)::text)"]),
        ("UPPER(title::text) LIKE UPPER('%abc%')", ["contains upper(title)"]),
        ("UPPER(ref::text) = UPPER('abc')", ["equal upper((ref)::text)"]),
        ("ref ~ '^abc'", ["prefix ref"]),
        ("ref ~* 'abc'", ["contains ref"]),
        ("labels @> '{}'::jsonb", ["json labels"]),
        ("labels ? 'a'", ["json key labels"]),
        ("labels ?& ARRAY['a', 'b']", ["json key labels"]),
        ("(labels -> 'a') = '5'::jsonb", ["equal labels -> 'a'::text"]),
        ("(labels ->> 'a') = 'b'", ["equal labels ->> 'a'::text"]),
        ("(labels #> '{a,b}') > '5'::jsonb", ["range labels #> '{a,b}'::text[]"]),
        ("(labels -> 0) = '5'::jsonb", ["equal labels -> 0"]),
        ("old ->> 'a' = 'b'", ["equal old ->> 'a'::text"]),
        ("tags @> ARRAY['a']::varchar[]", ["array tags"]),
        ("tags && ARRAY['a']::varchar[]", ["array tags"]),
        ("'a' = ANY(tags)", []),
        ("span && tstzrange(now(), NULL)", ["span span"]),
        ("now() <@ span", ["span span"]),
        ("address <<= '10.0.0.0/8'", []),
        ("words @@ plainto_tsquery('a')", ["search words"]),
        (
            "to_tsvector('english'::regconfig, COALESCE(title, '')) @@ plainto_tsquery('a')",
            ["search to_tsvector('english'::regconfig, COALESCE(title, ''::text))"],
        ),
        ("to_tsvector(title) @@ plainto_tsquery('a')", []),
        ("(made AT TIME ZONE 'UTC')::date = '2024-01-01'", ["equal ((made AT TIME ZONE 'UTC'::text))::date"]),
        ("made::date = '2024-01-01'", []),
        ("local::date = '2024-01-01'", ["equal (local)::date"]),
        ("(made AT TIME ZONE $1)::date = '2024-01-01'", []),
        (
            "EXTRACT(YEAR FROM made AT TIME ZONE 'UTC') = 5",
            ["equal EXTRACT(year FROM (made AT TIME ZONE 'UTC'::text))"],
        ),
        ("EXTRACT(YEAR FROM made) = 5", []),
        (
            "DATE_TRUNC('day', made AT TIME ZONE 'UTC') = '2024-01-01'",
            ["equal date_trunc('day'::text, (made AT TIME ZONE 'UTC'::text))"],
        ),
        ("DATE_TRUNC('day', made) = '2024-01-01'", []),
        ("random() < 0.5", []),
        ("our_own(height) = 5", []),
        ("height + 1 = 5", ["equal height + 1"]),
        ('"order" = 5 AND height = 6', ["equal order", "equal height"]),
        ('lower(ref) = "order"::text', []),
    ],
)
def test_it_reads(condition: str, wanted: list[str]) -> None:
    assert shown(scan_of(condition).conditions) == wanted


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        ("status = 'lost'", "((status)::text = 'lost'::text)"),
        ("title = 'it''s'", "(title = 'it''s'::text)"),
        ("NOT (status = 'lost')", "((status)::text <> 'lost'::text)"),
        ("status IN ('a', 'b')", "((status)::text = ANY (ARRAY['a'::text, 'b'::text]))"),
        ("NOT (status IN ('a', 'b'))", "((status)::text <> ALL (ARRAY['a'::text, 'b'::text]))"),
        ("height = 5", "(height = 5)"),
        ("NOT is_paid", "(NOT is_paid)"),
        ("gone IS NULL", "(gone IS NULL)"),
        ('"order" IS NOT NULL', '("order" IS NOT NULL)'),
        ("day = '2024-01-01'::date", "(day = '2024-01-01'::date)"),
        ("status = $1", ""),
        ("made = '2024-01-01'", ""),
        ("height IN (5, $1)", ""),
    ],
)
def test_it_writes_literals_as_a_partial_index_has_them(condition: str, text: str) -> None:
    (found,) = scan_of(condition).conditions
    assert found.text == text


def test_it_reads_the_arms_of_an_or() -> None:
    scan = scan_of("is_paid AND (height = 5 OR (ref = 'a' AND (status = 'b' OR status = 'c')))")
    assert shown(scan.conditions) == ["equal is_paid"]
    ((first, second),) = scan.alternatives
    assert shown(first) == ["equal height"]
    assert shown(second) == ["equal ref", "equal status", "equal status"]


@pytest.mark.parametrize(
    ("sql", "wanted"),
    [
        (
            (
                "SELECT v.id FROM voyage v JOIN captain c ON v.captain_id = c.id"
                " WHERE c.country = 'DE' AND v.height = 5"
            ),
            {"voyage": ["equal height", "join captain_id"], "captain": ["equal country", "join id"]},
        ),
        (
            "SELECT v.id FROM voyage v LEFT JOIN leg l ON l.voyage_id = v.id AND l.number = 5 AND v.height = 6",
            {"voyage": ["join id"], "leg": ["join voyage_id", "equal number"]},
        ),
        ("SELECT 1 FROM voyage JOIN leg USING (id)", {"voyage": ["join id"], "leg": ["join id"]}),
        (
            (
                "SELECT 1 FROM captain WHERE EXISTS"
                " (SELECT 1 FROM voyage U0 WHERE U0.captain_id = captain.id AND U0.is_paid)"
            ),
            {"captain": ["join id"], "voyage": ["equal captain_id", "equal is_paid"]},
        ),
        (
            "SELECT 1 FROM captain WHERE id IN (SELECT U0.captain_id FROM voyage U0 WHERE U0.height > 5)",
            {"captain": ["join id"], "voyage": ["range height", "join captain_id"]},
        ),
        (
            "WITH voyage AS (SELECT * FROM leg WHERE number = 5) SELECT id FROM voyage WHERE height = 5",
            {"leg": ["equal number"]},
        ),
        (
            "SELECT id FROM leg WHERE number = 1 UNION ALL SELECT id FROM captain WHERE name = 'a' ORDER BY 1",
            {"leg": ["equal number"], "captain": ["equal name"]},
        ),
        ("SELECT COUNT(*) FROM (SELECT id FROM leg WHERE number = 5) it", {"leg": ["equal number"]}),
        ("UPDATE leg SET number = 6 WHERE voyage_id = 5", {"leg": ["equal voyage_id"]}),
        ("DELETE FROM leg WHERE voyage_id IN (5, 6)", {"leg": ["any voyage_id"]}),
        ("INSERT INTO captain SELECT * FROM leg WHERE number = 5", {"leg": ["equal number"]}),
        ("SELECT 1 FROM elsewhere e, leg WHERE e.number = 5 AND leg.number = 6", {"leg": ["equal number"]}),
        ("SELECT 1 FROM pg_catalog.leg WHERE number = 6", {}),
        ("SELECT 1 FROM leg WHERE number IN ($1 /*, ... */)", {"leg": ["any number"]}),
        ("DECLARE it CURSOR FOR SELECT 1 FROM leg WHERE number = 6", {"leg": ["equal number"]}),
        ("COPY (SELECT 1 FROM leg WHERE number = 6) TO STDOUT", {"leg": ["equal number"]}),
        ("CREATE TABLE it AS SELECT 1 FROM leg WHERE number = 6", {"leg": ["equal number"]}),
        (
            "SELECT 1 FROM leg, LATERAL (SELECT 1 FROM captain c WHERE c.id = leg.number) it",
            {"leg": ["join number"], "captain": ["equal id"]},
        ),
    ],
)
def test_it_tells_tables_apart(sql: str, wanted: dict[str, list[str]]) -> None:
    assert {scan.table: shown(scan.conditions) for scan in scans_of(sql, TYPES)} == wanted


@pytest.mark.parametrize(
    ("rest", "wanted"),
    [
        ("ORDER BY made DESC, id LIMIT 5", "sort made- id limited"),
        ("ORDER BY 2 DESC NULLS LAST", "sort height->"),
        ("ORDER BY height ASC NULLS FIRST", "sort height<"),
        ("ORDER BY high", "sort height"),
        ("ORDER BY height, random()", "sort height …"),
        ("ORDER BY random()", ""),
        ("ORDER BY upper(ref)", "sort upper((ref)::text)"),
        ("GROUP BY height, status", "group height status"),
        ("ORDER BY id LIMIT NULL", "sort id"),
        ("ORDER BY id FETCH FIRST 3 ROWS ONLY", "sort id limited"),
    ],
)
def test_it_reads_orders(rest: str, wanted: str) -> None:
    (scan,) = scans_of(f"SELECT id, height AS high FROM voyage {rest}", TYPES)
    assert " ".join(map(_order, scan.orderings)) == wanted


@pytest.mark.parametrize(
    ("select", "wanted"),
    [
        ("MAX(made)", "extreme made limited"),
        ("DISTINCT status, height", "group status height"),
        ("ROW_NUMBER() OVER (PARTITION BY captain_id ORDER BY made DESC)", "window captain_id made-"),
    ],
)
def test_it_reads_orders_that_are_not_written_as_such(select: str, wanted: str) -> None:
    (scan,) = scans_of(f"SELECT {select} FROM voyage", TYPES)
    assert " ".join(map(_order, scan.orderings)) == wanted


def _order(ordering: object) -> str:
    words = [ordering.purpose.value]  # type: ignore[attr-defined]
    for each in ordering.terms:  # type: ignore[attr-defined]
        nulls = "" if each.nulls_first == each.descending else "<" if each.nulls_first else ">"
        words.append(f"{each.term.text}{'-' if each.descending else ''}{nulls}")
    words += ["…"] if not ordering.is_whole else []  # type: ignore[attr-defined]
    words += ["limited"] if ordering.is_limited else []  # type: ignore[attr-defined]
    return " ".join(words)


@pytest.mark.parametrize(
    ("sql", "columns", "whole"),
    [
        (
            "SELECT v.id, upper(v.ref) FROM voyage v WHERE v.height = 5 ORDER BY v.made",
            {"id", "ref", "height", "made"},
            False,
        ),
        ("SELECT * FROM voyage WHERE height = 5", {"height"}, True),
        ("SELECT id FROM voyage WHERE height = 5 FOR UPDATE", {"id", "height"}, True),
        ("UPDATE voyage SET height = day - day WHERE id = 5", {"day", "id"}, True),
        ("SELECT COUNT(*) FROM voyage", set(), False),
    ],
)
def test_it_notes_what_is_read(sql: str, columns: set[str], whole: bool) -> None:
    (scan,) = scans_of(sql, TYPES)
    assert (scan.columns, scan.reads_whole_rows) == (columns, whole)
