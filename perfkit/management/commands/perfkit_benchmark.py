"""`manage.py perfkit_benchmark`: what perfkit changes for this project, measured here and now."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, Error, connections

from perfkit.benchmarking.api import api_section, probed
from perfkit.benchmarking.concurrency import Concurrency, concurrency_section
from perfkit.benchmarking.database import database_section
from perfkit.benchmarking.environment import Environment, doubts, environment
from perfkit.benchmarking.page import page
from perfkit.benchmarking.pairs import Effort
from perfkit.benchmarking.requests import Asker
from perfkit.benchmarking.routes import own_path
from perfkit.benchmarking.sections import Section
from perfkit.benchmarking.servers import COMMANDS
from perfkit.benchmarking.switches import switchable
from perfkit.errors import PerfkitError
from perfkit.management.benchmark_text import environment_lines, report_json, section_lines

SECTIONS: Final = ("database", "api", "concurrent")
LOGGERS: Final = ("perfkit.queries", "perfkit.n_plus_one", "django.request")
"""What they would say of requests and queries stands in the report."""

NOTHING_ASKED: Final = "Say what to measure: --all, or some of --database, --api and --concurrent."


class Command(BaseCommand):
    """Measures the parts that are asked for, and prints each as it is done."""

    help = (
        "Measure the same work before and after on this project's own rows and addresses: reads of models, "
        "requests in process, and many users at once over HTTP. Nothing is written to the database."
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare what is measured, how long, and where the figures go."""
        parts = parser.add_argument_group("what is measured")
        parts.add_argument("--all", action="store_true", help="All of the three below.")
        parts.add_argument(
            "--database", action="store_true", help="Reads of models: plain Django, and perfkit."
        )
        parts.add_argument(
            "--api", action="store_true", help="Requests in process: without the cache, and with it."
        )
        parts.add_argument("--concurrent", action="store_true", help="Many users over HTTP, likewise.")

        models = parser.add_argument_group("of --database")
        models.add_argument(
            "--model",
            action="append",
            default=[],
            metavar="APP.MODEL",
            help="May be repeated; a few where left out.",
        )
        models.add_argument(
            "--writes",
            action="store_true",
            help="Measure inserts and updates too, in a temporary table and a transaction that is rolled back.",
        )
        models.add_argument(
            "--using", default=DEFAULT_DB_ALIAS, choices=tuple(connections), help="The alias of the database."
        )

        addresses = parser.add_argument_group("of --api and --concurrent")
        addresses.add_argument(
            "--url",
            action="append",
            default=[],
            metavar="PATH",
            help="Such as /products/?page=2. May be repeated.",
        )
        addresses.add_argument(
            "--value",
            action="append",
            default=[],
            type=_pair,
            metavar="NAME=VALUE",
            help="A parameter of paths, such as product_id=7. May be repeated.",
        )
        addresses.add_argument("--user", metavar="NAME", help="Who is logged in, for --api.")

        load = parser.add_argument_group("of --concurrent")
        load.add_argument("--users", type=_count, default=200, help="How many ask at once (%(default)s).")
        amount = load.add_mutually_exclusive_group()
        amount.add_argument(
            "--seconds", type=_seconds, default=10.0, help="How long, each side (%(default)s)."
        )
        amount.add_argument("--requests", type=_count, default=0, help="How many, each side, instead.")
        load.add_argument(
            "--base-url", metavar="URL", help="A server that runs, instead of one that is started."
        )
        load.add_argument(
            "--before-url", metavar="URL", help="Likewise one that runs with CACHE_ENABLED off."
        )
        load.add_argument(
            "--server", default="auto", choices=("auto", *COMMANDS), help="Which one is started."
        )
        load.add_argument(
            "--client", default="auto", choices=("auto", "wrk", "python"), help="Which one asks."
        )

        effort = parser.add_argument_group("how, and where to")
        effort.add_argument("--rounds", type=_count, default=7, help="Of each comparison (%(default)s).")
        effort.add_argument(
            "--budget",
            type=_seconds,
            default=5.0,
            metavar="SECONDS",
            help="Of each comparison (%(default)s).",
        )
        effort.add_argument(
            "--json", metavar="FILE", help="Write the figures as JSON; - for the output, alone."
        )
        effort.add_argument("--html", metavar="FILE", help="Write a page with charts.")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Measure, print, and write what is asked for.

        Raises:
            CommandError: Nothing is asked for; a model, an address, a user, a program, a row is missing;
                the database or a server does not answer; a file cannot be written.
        """
        parts = [part for part in SECTIONS if options["all"] or options[part]]
        if not parts:
            raise CommandError(NOTHING_ASKED)
        files = [options[name] for name in ("json", "html") if options[name] not in {None, "-"}]
        for name in files:
            _require_place(Path(name))
        try:
            self._measure(parts, options)
        except (PerfkitError, Error) as error:
            raise CommandError(str(error)) from error

    def _measure(self, parts: Sequence[str], options: dict[str, Any]) -> None:
        found = environment(options["using"])
        doubtful = doubts(found)
        is_table = options["json"] != "-"
        if is_table:
            self._print(environment_lines(found, doubtful))
        sections = []
        with quiet_logs():
            for part in parts:
                section = self._section(part, options)
                sections.append(section)
                if is_table:
                    self._print(section_lines(section))
        self._write(found, doubtful, sections, options)

    def _section(self, part: str, options: dict[str, Any]) -> Section:
        effort = Effort(options["rounds"], options["budget"])
        told = self._tell if options["verbosity"] and sys.stderr.isatty() else _tell_nobody
        if part == "database":
            return database_section(
                options["model"],
                using=options["using"],
                effort=effort,
                with_writes=options["writes"],
                told=told,
            )
        values = dict(options["value"])
        if part == "api":
            user = None if options["user"] is None else _user(options["user"])
            with switchable() as switch:
                return api_section(switch, options["url"], values=values, user=user, effort=effort, told=told)
        asked = Concurrency(
            options["users"],
            options["seconds"],
            options["requests"],
            options["base_url"],
            options["before_url"],
            options["server"],
            options["client"],
        )
        paths = [own_path(url) for url in options["url"]] or _found_paths(values)
        return concurrency_section(asked, paths, using=options["using"], told=told)

    def _write(
        self,
        found: Environment,
        doubtful: Sequence[str],
        sections: Sequence[Section],
        options: dict[str, Any],
    ) -> None:
        figures = json.dumps(report_json(found, doubtful, sections), indent=2)
        if options["json"] == "-":
            self.stdout.write(figures)
        elif options["json"]:
            Path(options["json"]).write_text(f"{figures}\n", encoding="utf-8")
        if options["html"]:
            text = page(found.lines(), doubtful, sections, at=found.at)
            Path(options["html"]).write_text(text, encoding="utf-8")
        if options["json"] != "-":
            for name in (options["json"], options["html"]):
                if name:
                    self.stdout.write(f"\nWritten to {name}.")

    def _print(self, lines: Iterator[str]) -> None:
        for line in lines:
            self.stdout.write(line)
        self.stdout.flush()

    def _tell(self, text: str) -> None:
        self.stderr.write(f"  … {text[:100]}")


@contextmanager
def quiet_logs() -> Iterator[None]:
    """Have loggers that tell of each request say only what is an error, within the block."""
    levels = {name: logging.getLogger(name).level for name in LOGGERS}
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _found_paths(values: dict[str, str]) -> list[str]:
    """Return the addresses that answer a GET with a 200, and do not write."""
    with switchable() as switch, Asker(switch) as asker:
        probes, _ = probed(asker, [], values=values, told=_tell_nobody)
    return [probe.path for probe in probes]


def _tell_nobody(_text: str) -> None:
    """Nobody looks."""


def _user(name: str) -> Any:
    model = get_user_model()
    try:
        return model._default_manager.get_by_natural_key(name)
    except model.DoesNotExist as error:
        raise CommandError(f"There is no user {name!r}.") from error


def _require_place(path: Path) -> None:
    if path.is_dir() or not path.parent.is_dir():
        raise CommandError(
            f"{path} cannot be written: {'it is a folder' if path.is_dir() else 'there is no such folder'}."
        )


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise argparse.ArgumentTypeError(f"{text!r} is no NAME=VALUE.")
    return name, value


def _count(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) <= 1_000_000:  # noqa: PLR2004  # nobody has more
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to a million")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 86_400:  # noqa: PLR2004  # a day; so NaN is refused too
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds up to a day")
    return value
