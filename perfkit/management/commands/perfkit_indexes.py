"""`manage.py perfkit_indexes`: find and repair the indexes that builds have left invalid."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections
from django.template.defaultfilters import filesizeformat

from perfkit.errors import PerfkitError
from perfkit.indexing.repair import Repair, found, repaired
from perfkit.indexing.steps import Patience
from perfkit.postgres.invalid_indexes import InvalidIndex


class Command(BaseCommand):
    """Lists invalid indexes, and repairs them without blocking reads or writes."""

    help = (
        "List the indexes of a PostgreSQL database that a build has left invalid, which writes keep up to date "
        "and no query uses, and exit with 1 where there are any; or repair them concurrently: those that models "
        "declare are built anew, the others dropped. What somebody builds at this moment is left alone."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        usual = Patience()
        parser.add_argument("action", choices=["list", "repair"])
        parser.add_argument("--dry-run", action="store_true", help="Only say what repair would do.")
        parser.add_argument(
            "--lock-timeout",
            type=float,
            default=usual.lock_timeout_seconds,
            metavar="SECONDS",
            help="Longest wait for one lock; 30 if left out.",
        )
        parser.add_argument(
            "--attempts",
            type=int,
            default=usual.attempts,
            metavar="N",
            help="How often it is tried when a lock was not to be had in time; 5 if left out.",
        )
        parser.add_argument(
            "--database", default=DEFAULT_DB_ALIAS, choices=tuple(connections), help="Its alias."
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Do it, and print a line for each index.

        Raises:
            CommandError: There are invalid indexes with `list`, or `repair` has left some.
        """
        using = options["database"]
        if connections[using].vendor != "postgresql":
            raise CommandError(f"{using!r} is no PostgreSQL database: others know no invalid indexes.")
        try:
            patience = Patience(lock_timeout_seconds=options["lock_timeout"], attempts=options["attempts"])
        except ValueError as error:
            raise CommandError(str(error)) from error
        try:
            if options["action"] == "list" or options["dry_run"]:
                self._list(using, is_failing=options["action"] == "list")
            else:
                self._repair(using, patience)
        except (PerfkitError, DatabaseError) as error:
            raise CommandError(f"The database says: {str(error).partition(chr(10))[0]}") from error

    def _list(self, using: str, *, is_failing: bool) -> None:
        repairs = found(using)
        for index, repair in repairs:
            self.stdout.write(f"{_named(index)}: {_intention(index, repair)}")
            self.stdout.write(f"    {index.definition}")
        if not repairs:
            self.stdout.write("Every index is valid.")
        broken = sum(index.busy_pid is None for index, _ in repairs)
        if broken and is_failing:
            raise CommandError(f"Invalid indexes: {broken}. Run `perfkit_indexes repair`.")

    def _repair(self, using: str, patience: Patience) -> None:
        failed = count = 0
        for outcome in repaired(using, patience):
            count += 1
            is_failure = bool(outcome.problem) and outcome.repair is not Repair.LEAVE
            failed += is_failure
            self.stdout.write(f"{_named(outcome.index)}: {_told(outcome.repair, outcome.problem)}")
            if outcome.repair is Repair.DROP and not outcome.problem:
                self.stdout.write(f"    it was: {outcome.index.definition}")
        if not count:
            self.stdout.write("Every index is valid.")
        if failed:
            raise CommandError(f"Not repaired: {failed}. Run it again when the cause is gone.")


def _named(index: InvalidIndex) -> str:
    return f"{index.path} of {index.table} ({filesizeformat(index.size_bytes)})"


def _intention(index: InvalidIndex, repair: Repair) -> str:
    if index.busy_pid:
        return f"left alone, the server's process {index.busy_pid} works on it"
    return "part of another one" if repair is Repair.LEAVE else f"to {repair.value}"


def _told(repair: Repair, problem: str) -> str:
    if repair is Repair.LEAVE:
        return f"left alone, {problem}" if problem else "part of another one"
    done = {Repair.DROP: "dropped", Repair.REBUILD: "rebuilt", Repair.COMPLETE: "built on all partitions"}
    return f"NOT {done[repair]}: {problem}" if problem else done[repair]
