"""Which tables have foreign keys that can be checked by set, from what the catalogue says."""

from __future__ import annotations

import pytest

from perfkit.bulk.constraints import Key, Table, Target, targets_by_column

TABLE = Table(
    kind="r",
    is_partition=False,
    has_children=False,
    has_rules=False,
    has_row_security=False,
    triggers=["O", "O"],
    has_own_code=False,
    referenced_columns=[],
)
KEY = Key(
    column="country_id",
    referenced='public."Country"',
    referenced_column="code",
    type_oid=1043,
    referenced_type_oid=1043,
    has_same_collation=True,
    has_plain_equality=True,
    columns=1,
    match_type="s",
    referenced_kind="r",
    has_row_security=False,
    refers_to_itself=False,
    may_lock=True,
)
COUNTRY = Target('public."Country"', "code", "varchar")


def test_it_takes_simple_keys():
    keys = [KEY, KEY._replace(column="origin_id")]
    assert targets_by_column(TABLE, keys) == {"country_id": COUNTRY, "origin_id": COUNTRY}


def test_it_takes_a_key_that_is_declared_twice():
    assert targets_by_column(TABLE, [KEY, KEY]) == {"country_id": COUNTRY}


def test_it_finds_nothing_to_do_in_a_table_without_foreign_keys():
    assert targets_by_column(TABLE._replace(triggers=[]), []) == {}


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "p"},
        {"is_partition": True},
        {"has_children": True},
        {"has_rules": True},
        {"has_row_security": True},
        {"triggers": ["O", "own"]},
        {"triggers": ["O", "A"]},
        {"triggers": ["R"]},
        {"has_own_code": True},
    ],
)
def test_it_leaves_an_unusual_table_to_the_triggers(change):
    assert targets_by_column(TABLE._replace(**change), [KEY]) == {}


@pytest.mark.parametrize(
    "change",
    [
        {"columns": 2},
        {"match_type": "f"},
        {"type_oid": 20},
        {"type_oid": 1184, "referenced_type_oid": 1184},
        {"has_same_collation": False},
        {"has_plain_equality": False},
        {"referenced_kind": "p"},
        {"has_row_security": True},
        {"refers_to_itself": True},
        {"may_lock": False},
        {"column": "country_id", "referenced": "public.elsewhere"},
    ],
)
def test_it_leaves_all_keys_to_the_triggers_where_one_is_unusual(change):
    assert targets_by_column(TABLE, [KEY, KEY._replace(**{"column": "other_id"} | change)]) == {}
