from __future__ import annotations

import json
from io import StringIO

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from project import services

pytestmark = pytest.mark.django_db(transaction=True)


def shown(*arguments: str) -> str:
    out = StringIO()
    call_command("perfkit_pool", *arguments, stdout=out)
    return out.getvalue()


@pytest.mark.postgres
class TestPostgres:
    def test_it_shows_the_settings_and_the_servers_sessions(self) -> None:
        name = str(connection.settings_dict["NAME"])
        with psycopg.connect(services.database_url(), dbname=name, application_name="somebody") as other:
            other.execute("SELECT 1")  # and holds the transaction open
            text = shown()
            told = json.loads(shown("--json"))
        lines = dict(line.split(maxsplit=1) for line in text.splitlines() if line)
        assert lines["database"] == "default"
        assert lines["pool"] == "none"
        assert lines["statements"] == "prepared where code asks for it"
        assert lines["cursors"] == "on the server"
        assert lines["somebody"].split()[:4] == ["1", "0", "1", "0"]
        (session,) = [each for each in told["server"]["sessions"] if each["application"] == "somebody"]
        assert (session["count"], session["idle_in_transaction"]) == (1, 1)
        assert session["longest_transaction_seconds"] > 0
        assert told["server"]["count"] >= 2
        assert told["goes_through_pooler"] is False
        assert told["dangers"] == []

    @pytest.mark.pgbouncer
    def test_it_names_a_pooler_and_what_is_dangerous_behind_it(self, pgbouncer: int) -> None:
        connection.settings_dict["DISABLE_SERVER_SIDE_CURSORS"] = False  # the fixture puts it back
        told = json.loads(shown("--json"))
        assert told["goes_through_pooler"] is True
        assert len(told["dangers"]) == 1
        assert "through a pooler" in shown()
        assert "danger      leads to a pooler" in shown()


def test_it_refuses_an_unknown_database() -> None:
    with pytest.raises(CommandError, match="no 'other'"):
        shown("--database", "other")


@pytest.mark.skipif(connection.vendor != "sqlite", reason="of SQLite")
def test_it_refuses_another_kind() -> None:
    with pytest.raises(CommandError, match="sqlite"):
        shown()
