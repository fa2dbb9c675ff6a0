"""`manage.py perfkit_triggers`: have outside writes told to the readers of the cache."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Sequence
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections
from django.db.models import Model

from perfkit.caching.store import current_store
from perfkit.caching.triggers import (
    drain,
    install_triggers,
    models_in,
    remove_triggers,
    trigger_states,
    waiting,
)
from perfkit.errors import PerfkitError, TriggersUnsupportedError, nearest


class Command(BaseCommand):
    """Makes, removes and shows the triggers that write the outbox."""

    help = (
        "Put triggers onto the tables of cached models, so that what is written outside Django (psql, other "
        "services, COPY, functions of the database) is seen by every process within a second; remove them; show "
        "which tables have them, and exit with 1 where they are not as they should be; or tell the cache server "
        "what waits in the outbox, where no process reads that would do so."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("action", choices=["install", "remove", "status", "drain"])
        parser.add_argument("models", nargs="*", metavar="app.Model", help="Cached models.")
        parser.add_argument(
            "--all",
            action="store_true",
            help="All cached models; with remove, every trigger of perfkit's in the database.",
        )
        parser.add_argument(
            "--lock-timeout",
            type=_seconds,
            default=2.0,
            metavar="SECONDS",
            help="Longest wait for the lock on a table, behind which writers wait too; 2 if left out.",
        )
        parser.add_argument(
            "--database", default=DEFAULT_DB_ALIAS, choices=tuple(connections), help="Its alias."
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Do it, and print a line for each table.

        Raises:
            CommandError: A model or the database cannot have triggers, a right or a lock is not to be had, or
                `status` finds triggers that are not as they should be.
        """
        if options["models"] and options["all"]:
            raise CommandError("Name models or give --all, not both.")
        if options["action"] in {"install", "remove"} and not options["models"] and not options["all"]:
            raise CommandError("Name models, such as flights.Airline, or give --all.")
        try:
            getattr(self, f"_{options['action']}")(options)
        except PerfkitError as error:
            raise CommandError(str(error)) from error
        except DatabaseError as error:
            raise CommandError(f"The database says: {str(error).partition(chr(10))[0]}") from error

    def _install(self, options: dict[str, Any]) -> None:
        store = current_store()
        if store is None or not store.is_shared:
            self.stderr.write(
                "These settings cache nothing, or inside the process, where nobody looks into the outbox: "
                "outside writes are seen by processes with Redis or Valkey alone."
            )
        models = _models(options)
        told: set[str] = set()
        # Of all, one that can have no triggers does not keep the others from having theirs.
        for group in [[model] for model in models] if options["all"] else [models]:
            try:
                for change in install_triggers(
                    group, using=options["database"], lock_timeout_seconds=options["lock_timeout"]
                ):
                    if change.table not in told:
                        self._say(options, f"{change.table}: {change.what}")
                    told.add(change.table)
            except TriggersUnsupportedError as error:
                if not options["all"]:
                    raise
                self._say(options, f"{error} It was left out.")

    def _remove(self, options: dict[str, Any]) -> None:
        models = None if options["all"] else _models(options)
        removed = list(
            remove_triggers(models, using=options["database"], lock_timeout_seconds=options["lock_timeout"])
        )
        for change in removed:
            self._say(options, f"{change.table}: {change.what}")
        if not removed:
            self._say(options, "There were no triggers.")

    def _status(self, options: dict[str, Any]) -> None:
        is_asked = bool(options["models"] or options["all"])
        states = trigger_states(_models(options), using=options["database"])
        shown = [state for state in states if is_asked or state.has_triggers]
        for state in shown:
            self.stdout.write(f"{state.table}: {'; '.join(state.problems) or 'installed'}")
        if not shown:
            self.stdout.write("No table of a cached model has triggers.")
        waits = waiting(using=options["database"])
        if waits is not None and waits.rows:
            self.stdout.write(
                f"{waits.rows:,} wait in the outbox since {waits.oldest:%Y-%m-%d %H:%M:%S %Z}: "
                "the next cached read of any process takes them out, and so does `perfkit_triggers drain`."
            )
        if any(state.has_triggers and state.problems for state in shown):
            raise CommandError("Some triggers are not as they should be: run `perfkit_triggers install`.")

    def _drain(self, options: dict[str, Any]) -> None:
        drained = drain(using=options["database"])
        self._say(options, f"{drained:,} taken out of the outbox.")

    def _say(self, options: dict[str, Any], line: str) -> None:
        if options["verbosity"] > 0:
            self.stdout.write(line)


def _models(options: dict[str, Any]) -> Sequence[type[Model]]:
    if options["models"]:
        return [_model(label) for label in options["models"]]
    return models_in(options["database"])


def _model(label: str) -> type[Model]:
    try:
        return apps.get_model(label)
    except (LookupError, ValueError):
        labels = [model._meta.label for model in apps.get_models()]
        raise CommandError(f"There is no model {label!r}.{nearest(label, labels)}") from None


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no number of seconds") from None
    if not 0 < seconds < 1e6:  # noqa: PLR2004  # what PostgreSQL can be told
        raise ArgumentTypeError("it must be more than 0, and less than a million")
    return seconds
