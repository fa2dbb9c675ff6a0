"""`manage.py perfkit_cache`: what the cache does, what it holds, and how to void it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from perfkit.caching import statistics
from perfkit.caching.control import (
    Invalidation,
    invalidate,
    invalidate_all,
    model_named,
    tags_named,
    tags_of_model,
)
from perfkit.caching.inspection import inspect_key, inspect_row, inspect_tags, without_prefix
from perfkit.caching.store import current_store
from perfkit.caching.tags import ENTRY_KINDS
from perfkit.errors import PerfkitError
from perfkit.management.cache_text import (
    inspection_lines,
    printable,
    statistics_json,
    statistics_lines,
    tag_lines,
)


class Command(BaseCommand):
    """Looks into the cache and voids it."""

    help = "Show how well the cache serves (stats) and what it holds (inspect), and void it (invalidate)."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the three things to do."""
        actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
        stats = actions.add_parser("stats", help="Hits, misses and bypasses of all processes.")
        stats.add_argument("--json", action="store_true", dest="as_json", help="As JSON.")
        stats.add_argument("--window", choices=("hour", "day"), default="hour", help="The last hour, or day.")
        stats.add_argument("--keys", action="store_true", help="Count perfkit's keys on the server, too.")
        inspect = actions.add_parser(
            "inspect", help="What is stored under a key or of a row, and whether it holds."
        )
        inspect.add_argument(
            "name",
            help="A key, a model as app_label.Model, or a tag (tag:NAME, key:PATH, or as perfkit has it).",
        )
        inspect.add_argument("pk", nargs="?", help="The primary key of a row of that model.")
        inspect.add_argument(
            "--values", action="store_true", help="Show the values of the first rows, which may be secret."
        )
        invalid = actions.add_parser(
            "invalidate", help="Void what depends on a model or a tag, for all processes."
        )
        invalid.add_argument(
            "names", nargs="*", metavar="name", help="A model as app_label.Model, or a tag, as in `inspect`."
        )
        invalid.add_argument("--all", action="store_true", dest="everything", help="Void everything.")
        invalid.add_argument(
            "--noinput", "--no-input", action="store_false", dest="asks", help="Do not ask before `--all`."
        )

    def handle(self, *_args: Any, action: str, **options: Any) -> None:
        """Do it.

        Raises:
            CommandError: The cache does not answer, or a name means nothing.
        """
        try:
            store = current_store()
            if store is None:
                raise CommandError("There is no cache: its back end in CACHES is the dummy one.")
            if not store.is_shared:
                self.stderr.write("The store is inside each process: this is that of the present one alone.")
            getattr(self, f"_{action}")(**options)
        except (PerfkitError, ValueError) as error:
            raise CommandError(str(error)) from error

    def _stats(self, *, as_json: bool, window: str, keys: bool, **_: Any) -> None:
        found = statistics(window=window, counts_keys=keys)
        if as_json:
            self.stdout.write(json.dumps(statistics_json(found), indent=2))
        else:
            self.stdout.write("\n".join(statistics_lines(found)))
        if found.problem:
            raise CommandError(f"Figures of other processes are missing: {found.problem}")

    def _inspect(self, *, name: str, pk: str | None, values: bool, **_: Any) -> None:
        self.stdout.write("\n".join(_inspected(without_prefix(name), pk, shows_values=values)))

    def _invalidate(self, *, names: list[str], everything: bool, asks: bool, **_: Any) -> None:
        if everything == bool(names):
            raise CommandError("Name models or tags, or give --all.")
        if everything:
            if asks and not self._is_sure():
                raise CommandError("Nothing was voided.")
            self._tell(invalidate_all(), "Everything")
            return
        tags = {name: tags_named(without_prefix(name)) for name in names}  # a wrong one voids nothing
        self._tell(invalidate(frozenset().union(*tags.values())), ", ".join(map(printable, names)))

    def _is_sure(self) -> bool:
        try:
            return input("Void everything that is cached? [y/N] ").strip().lower() in {"y", "yes"}
        except EOFError as error:
            raise CommandError("Nobody answers: give --noinput to void everything.") from error

    def _tell(self, told: Invalidation, what: str) -> None:
        if told.is_told:
            self.stdout.write(f"{what}: voided.")
            return
        self.stderr.write(f"The cache server does not answer: {told.problem}")
        if told.kept_in:
            where = ", ".join(told.kept_in)
            self.stdout.write(
                f"{what}: left in the outbox of {where}. Every process looks there once a second, at a "
                "cached read, and voids it before it trusts the cache."
            )
        else:
            self.stdout.write(
                f"{what}: no process trusts the cache, for `manage.py migrate` has made no outbox."
            )


def _inspected(name: str, pk: str | None, *, shows_values: bool) -> Iterator[str]:
    """Yield what is to be said of a name."""
    if pk is not None:
        model = model_named(name)
        if model is None:
            tags_named(name)  # says what is near
            raise CommandError(f"{name!r} is no model, so it has no row {pk!r}.")
        columns = [field.attname for field in model._meta.concrete_fields]
        for number, found in enumerate(inspect_row(model, pk)):
            if number:
                yield ""
            yield from inspection_lines(found, columns=columns, shows_values=shows_values)
    elif name.startswith(ENTRY_KINDS):
        yield from inspection_lines(inspect_key(name), shows_values=shows_values)
    else:
        model = model_named(name)
        if model is not None:
            yield f"model     {model._meta.label}"
        yield from tag_lines(inspect_tags(tags_named(name) if model is None else tags_of_model(model)))
