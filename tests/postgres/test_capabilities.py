from __future__ import annotations

import pytest
from django.db import DatabaseError, connection, transaction

from perfkit.postgres.capabilities import Capabilities, capabilities, has_extension


@pytest.mark.parametrize(
    ("version", "major", "flags"),
    [
        (140_012, 14, (False, False, False, False)),
        (150_000, 15, (True, False, False, False)),
        (170_002, 17, (True, True, False, False)),
        (180_006, 18, (True, True, True, True)),
        (190_000, 19, (True, True, True, True)),
    ],
)
def test_it_knows_each_release(version: int, major: int, flags: tuple[bool, ...]) -> None:
    can = Capabilities(version)
    assert can.major == major
    assert (can.is_supported, can.has_explain_memory, can.has_returning_old, can.has_skip_scan) == flags


@pytest.mark.postgres
@pytest.mark.django_db
class TestServer:
    def works(self, sql: str) -> bool:
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(sql)
        except DatabaseError:
            return False
        return True

    def test_it_asks_the_server(self) -> None:
        can = capabilities(connection)
        with connection.cursor() as cursor:
            cursor.execute("SHOW server_version_num")
            assert str(can.version) == cursor.fetchone()[0]

    def test_it_promises_what_the_server_does(self) -> None:
        can = capabilities(connection)
        assert self.works("UPDATE django_migrations SET id = id RETURNING old.id") is can.has_returning_old
        assert self.works("EXPLAIN (MEMORY, ANALYZE, SERIALIZE) SELECT 1") is can.has_explain_memory

    def test_it_knows_the_extensions(self) -> None:
        assert has_extension(connection, "plpgsql")
        assert not has_extension(connection, "nowhere")
