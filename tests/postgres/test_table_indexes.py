from __future__ import annotations

import pytest
from django.db import connection

from perfkit.postgres.table_indexes import IndexKey, table_indexes

pytestmark = [pytest.mark.postgres, pytest.mark.django_db]

MADE = """
CREATE TABLE "Shelved" (id int PRIMARY KEY, name varchar(20), note text COLLATE "C", "Odd" int);
CREATE INDEX a_name ON "Shelved" (name varchar_pattern_ops);
CREATE INDEX b_upper ON "Shelved" (upper(name) text_pattern_ops, "Odd" DESC) INCLUDE (id);
CREATE INDEX c_note ON "Shelved" USING hash (note);
CREATE INDEX d_note ON "Shelved" (note);
CREATE INDEX e_partial ON "Shelved" (name) WHERE id > 5;
CREATE INDEX f_invalid ON "Shelved" (name);
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'f_invalid'::regclass;
"""


def test_it_tells_the_indexes_that_hold_all_rows(django_assert_num_queries: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute(MADE)
    with django_assert_num_queries(1):
        found = {index.name: index for index in table_indexes(connection, "Shelved")}
    assert list(found) == ["Shelved_pkey", "a_name", "b_upper", "c_note", "d_note"]
    assert found["Shelved_pkey"].is_unique
    assert not found["a_name"].is_unique
    assert found["c_note"].method == "hash"
    assert [key.text for key in found["b_upper"].keys] == ["upper(name::text)", '"Odd"']
    assert [key.operator_class for key in found["b_upper"].keys] == ["text_pattern_ops", "int4_ops"]
    assert found["d_note"].keys == (IndexKey("note", "text_ops", is_bytewise=True),)
    assert found["a_name"].keys[0].operator_class == "varchar_pattern_ops"


def test_it_tells_none_of_a_table_that_is_not_there() -> None:
    assert table_indexes(connection, "nowhere") == []
