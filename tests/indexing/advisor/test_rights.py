"""What the advisor can do with few rights, and what it says it lacks."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator

import pytest
from django.db import connection

from perfkit.indexing.advisor.advising import advise
from perfkit.indexing.advisor.findings import Confidence
from tests.indexing.advisor.shop import BY_CUSTOMER, BY_EMAIL, FAILED, LINES, NEEDS_NONE, TABLES, workload
from tests.indexing.advisor.test_advising import told

pytestmark = pytest.mark.postgres


@pytest.fixture
def as_reader(shop: None) -> Iterator[Callable[..., str]]:
    """Connect as a role that may only read, and what else is granted to it."""
    owner = {name: connection.settings_dict[name] for name in ("USER", "PASSWORD")}
    role, password = f"advisor_{secrets.token_hex(4)}", secrets.token_hex(8)
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}' NOSUPERUSER")
        cursor.execute(f"GRANT USAGE ON SCHEMA public TO {role}")

    def connect(*grants: str) -> str:
        with connection.cursor() as cursor:
            for grant in grants:
                cursor.execute(f"GRANT {grant} TO {role}")
        connection.close()
        connection.settings_dict.update(USER=role, PASSWORD=password)
        return role

    yield connect
    connection.close()
    connection.settings_dict.update(owner)
    with connection.cursor() as cursor:
        cursor.execute(f"DROP OWNED BY {role}")
        cursor.execute(f"DROP ROLE {role}")


def database() -> str:
    return f'"{connection.settings_dict["NAME"]}"'


def test_reading_and_a_schema_of_its_own_are_enough(as_reader: Callable[..., str]) -> None:
    as_reader(f"SELECT ON {', '.join(TABLES)}", f"CREATE ON DATABASE {database()}")
    advice = advise(workload(BY_CUSTOMER, BY_EMAIL, LINES, *NEEDS_NONE))
    assert {each[:2] for each in told(advice)} == {
        ("shop_order", "customer_id"),
        ("shop_customer", "email"),
        ("shop_line", "order_id"),
    }
    assert {each.confidence for each in advice.findings} == {Confidence.BUILT}


def test_without_a_schema_the_catalogue_is_asked_and_the_grant_is_told(as_reader: Callable[..., str]) -> None:
    role = as_reader(f"SELECT ON {', '.join(TABLES)}")
    advice = advise(workload(BY_CUSTOMER, FAILED, *NEEDS_NONE))
    assert f'GRANT CREATE ON DATABASE {database()} TO "{role}";' in advice.verified_by
    assert {each[:2] for each in told(advice)} == {("shop_order", "customer_id"), ("shop_order", "status")}
    assert {each.confidence for each in advice.findings} == {Confidence.CATALOGUE}


def test_what_it_may_not_read_is_skipped(as_reader: Callable[..., str]) -> None:
    as_reader("SELECT ON shop_order", f"CREATE ON DATABASE {database()}")
    advice = advise(workload(BY_CUSTOMER, BY_EMAIL))
    assert {each[:2] for each in told(advice)} == {("shop_order", "customer_id")}
    (skipped,) = advice.skipped
    assert "GRANT SELECT ON public.shop_customer" in skipped.reason


def test_hidden_rows_are_not_taken_for_all(as_reader: Callable[..., str]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE shop_order ENABLE ROW LEVEL SECURITY")
    as_reader("SELECT ON shop_order", f"CREATE ON DATABASE {database()}")
    advice = advise(workload(BY_CUSTOMER))
    assert advice.findings == ()
    assert "row security" in advice.skipped[0].reason
