from __future__ import annotations

from collections.abc import Iterator
from io import StringIO

import pytest
from django.conf import settings
from django.core import checks
from django.core.management import call_command
from django.db import connection
from django.test import override_settings
from django_migration_linter import MigrationLinter

from perfkit.checks import check_migrations

ORDERS = "tests.indexing.orders"


def tables() -> set[str]:
    with connection.cursor() as cursor:
        return {name for name in connection.introspection.table_names(cursor) if name.startswith("orders_")}


@pytest.fixture
def orders(transactional_db: None) -> Iterator[None]:
    """The app, installed, with none of its migrations applied."""
    with override_settings(INSTALLED_APPS=[*settings.INSTALLED_APPS, ORDERS]):
        yield
        call_command("migrate", "orders", "zero", verbosity=0)


def constraints() -> dict[str, tuple[tuple[str, ...], bool, bool]]:
    with connection.cursor() as cursor:
        found = connection.introspection.get_constraints(cursor, "orders_order")
    return {
        name: (tuple(each["columns"] or ()), each["unique"], bool(each["foreign_key"]))
        for name, each in found.items()
        if not each["primary_key"]
    }


def test_they_are_applied_reversed_and_applied_again(orders: None) -> None:
    call_command("migrate", "orders", "0001", verbosity=0)
    before = constraints()
    call_command("migrate", "orders", verbosity=0)
    after = constraints()
    assert {"order_status_made", "order_open_made", "order_number_once", "order_number_positive"} < set(after)
    assert {"order_status", "order_open", "order_made", "order_number"}.isdisjoint(after)
    call_command("migrate", "orders", "0001", verbosity=0)
    assert constraints() == before
    call_command("migrate", "orders", verbosity=0)
    assert constraints() == after
    call_command("makemigrations", "orders", check=True, dry_run=True, verbosity=0)
    call_command("migrate", "orders", "zero", verbosity=0)
    assert tables() == set()


@pytest.mark.postgres
class TestLinter:
    """django-migration-linter reads what sqlmigrate prints."""

    def counts(self, migration: str, *excluded: str) -> tuple[int, int, int]:
        """Return how many migrations are right, warned of, and wrong."""
        linter = MigrationLinter(no_cache=True, no_output=True, exclude_migration_tests=excluded)
        linter.lint_all_migrations(app_label="orders", migration_name=migration)
        return linter.nb_valid, linter.nb_warnings, linter.nb_erroneous

    def test_it_finds_nothing_but_that_old_code_may_not_know_the_constraint(self, orders: None) -> None:
        out = StringIO()
        call_command("sqlmigrate", "orders", "0002", stdout=out, no_color=True)
        assert out.getvalue().count("CREATE INDEX CONCURRENTLY") == 4
        assert self.counts("0002_safely", "ADD_UNIQUE") == (1, 0, 0)
        assert self.counts("0002_safely") == (0, 0, 1)

    def test_it_finds_the_plain_operations(self, orders: None) -> None:
        with override_settings(MIGRATION_MODULES={"orders": f"{ORDERS}.blocking.migrations"}):
            assert self.counts("0002_plainly", "ADD_UNIQUE", "NOT_NULL") == (0, 1, 0)


@pytest.mark.postgres
class TestCheck:
    @pytest.fixture
    def pending(self, orders: None) -> Iterator[None]:
        with override_settings(MIGRATION_MODULES={"orders": f"{ORDERS}.blocking.migrations"}):
            call_command("migrate", "orders", "0001", verbosity=0)
            yield

    def found(self) -> list[checks.CheckMessage]:
        return check_migrations(databases=["default"])

    @override_settings(PERFKIT={"INDEX_WARNING_BYTES": 0})
    def test_it_names_what_would_block_and_what_to_write(self, pending: None) -> None:
        messages = self.found()
        assert {message.id for message in messages} == {"perfkit.W406"}
        told = [message.msg.removeprefix("orders.0002_plainly: ") for message in messages]
        assert [text.partition(" would block writes to orders_order on 'default'")[0] for text in told] == [
            "Create index order_plain on field(s) number of model order",
            "Create constraint order_unique on model order",
            "Add field customer to order",
            "Alter field status on order",
        ]
        hints = [message.hint for message in messages]
        for hint, word in zip(
            hints,
            ["AddIndexSafely", "AddConstraintSafely", "AddForeignKeySafely", "db_index"],
            strict=True,
        ):
            assert word in hint

    def test_it_says_nothing_of_small_tables(self, pending: None) -> None:
        assert self.found() == []

    @override_settings(PERFKIT={"INDEX_WARNING_BYTES": 8192})
    def test_it_measures_the_table(self, pending: None) -> None:
        assert self.found() == []
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO orders_order (number, status, made) "
                "SELECT n, 'open', now() FROM generate_series(1, 500) n"
            )
        assert len(self.found()) == 4

    @override_settings(PERFKIT={"INDEX_WARNING_BYTES": 0})
    def test_it_says_nothing_of_safe_ones_and_of_those_that_are_applied(self, orders: None) -> None:
        call_command("migrate", "orders", "0001", verbosity=0)
        assert self.found() == []
        with override_settings(MIGRATION_MODULES={"orders": f"{ORDERS}.blocking.migrations"}):
            assert len(self.found()) == 4
            call_command("migrate", "orders", verbosity=0)
            assert self.found() == []
            call_command("migrate", "orders", "zero", verbosity=0)

    @override_settings(PERFKIT={"INDEX_WARNING_BYTES": 0})
    def test_it_looks_only_into_the_databases_it_is_given(self, pending: None) -> None:
        assert check_migrations(databases=[]) == []
        assert check_migrations(databases=None) == []
