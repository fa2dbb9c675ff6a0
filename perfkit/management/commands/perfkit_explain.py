"""`manage.py perfkit_explain app.Model --filter …`: what the database does for a queryset."""

from __future__ import annotations

import json
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.apps import apps
from django.core.exceptions import FieldError, ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections, models

from perfkit.errors import PerfkitError, nearest
from perfkit.loading import eager, explain_report


class Command(BaseCommand):
    """Shows the plan of a queryset, with what it costs and what to do about it."""

    help = (
        "Show what the database does for a queryset of a model: its steps with the rows that came and those that "
        "were expected, times and pages, and below them what costs more than it should. The statement is run, "
        "unless --no-analyze is given; it changes nothing."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("model", help="Such as flights.Flight.")
        for name, what in (("filter", "kept"), ("exclude", "left out")):
            parser.add_argument(
                f"--{name}",
                action="append",
                default=[],
                type=_lookup,
                metavar="LOOKUP=VALUE",
                help=f"Rows that are {what}, as in dep_delay__gte=60 or origin__in='[\"JFK\"]'. May be repeated.",
            )
        parser.add_argument("--relations", default="", metavar="A,B__C", help="Loaded with the rows.")
        parser.add_argument(
            "--order",
            default="",
            metavar="A,-B",
            help="In place of the model's; --order=-A where it begins with a minus.",
        )
        parser.add_argument("--limit", type=int, metavar="N", help="No more rows than so many.")
        parser.add_argument("--no-analyze", action="store_true", help="Do not run the statement.")
        parser.add_argument(
            "--database", default=DEFAULT_DB_ALIAS, choices=tuple(connections), help="Its alias."
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Print the report.

        Raises:
            CommandError: There is no such model or field, or a value is not one of the field's.
        """
        try:
            queryset = self._queryset(**options)
            report = explain_report(queryset, analyze=not options["no_analyze"])
        except (FieldError, ValidationError, ValueError, TypeError, OverflowError, PerfkitError) as error:
            raise CommandError(str(error)) from error
        except DatabaseError as error:
            said = str(error).partition("\n")[0]
            raise CommandError(f"The database says: {said}") from error
        self.stdout.write(str(report))

    @staticmethod
    def _queryset(
        *,
        model: str,
        database: str,
        filter: list[tuple[str, Any]],  # noqa: A002  # the option's name
        exclude: list[tuple[str, Any]],
        relations: str,
        order: str,
        limit: int | None,
        **_: Any,
    ) -> models.QuerySet[Any]:
        try:
            queryset: models.QuerySet[Any] = apps.get_model(model)._default_manager.using(database)
        except (LookupError, ValueError):
            labels = [each._meta.label for each in apps.get_models()]
            raise CommandError(f"There is no model {model!r}.{nearest(model, labels)}") from None
        for name, value in filter:
            queryset = queryset.filter(**{name: value})
        for name, value in exclude:
            queryset = queryset.exclude(**{name: value})
        if order:
            queryset = queryset.order_by(*order.split(","))
        if relations:
            queryset = eager(queryset, *relations.split(","))
        if limit is not None and limit < 0:
            raise CommandError("--limit must not be negative.")
        return queryset[:limit]


def _lookup(text: str) -> tuple[str, Any]:
    """Return the lookup and its value: text, which the field reads, but for `null`, lists and `__isnull`."""
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise ArgumentTypeError(f"{text!r} is not LOOKUP=VALUE")
    is_json = value == "null" or value.startswith("[") or name.endswith(("__isnull", "__in", "__range"))
    if not is_json:
        return name, value
    try:
        return name, json.loads(value)
    except ValueError:
        raise ArgumentTypeError(f"{text!r}: that needs JSON, such as [1, 2] or true") from None
