"""`manage.py perfkit_routes`: how each route of django-ninja answers, and what that takes."""

from __future__ import annotations

import dataclasses
import json
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, connections

if TYPE_CHECKING:
    from perfkit.api.routes import Cost, Route


class Command(BaseCommand):
    """Asks each route that may be asked, and tells how its answer was made."""

    help = (
        "Show the routes of django-ninja: whether each is compiled or made of instances and why, how many queries "
        "its answer takes, and which indexes these use. Each GET route is asked once; what it writes is rolled "
        "back. Give the values of paths with --value, and a user with --user where a login is needed."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options."""
        parser.add_argument("contains", nargs="?", default="", help="Only addresses that contain this text.")
        parser.add_argument(
            "--value",
            action="append",
            default=[],
            type=_pair,
            metavar="NAME=VALUE",
            help="A parameter of paths, such as flight_id=111. May be repeated.",
        )
        parser.add_argument("--query", default="", metavar="A=1&B=2", help="What stands behind the `?`.")
        parser.add_argument("--user", metavar="NAME", help="Who is logged in.")
        parser.add_argument("--json", action="store_true", help="Print JSON.")
        parser.add_argument(
            "--database", default=DEFAULT_DB_ALIAS, choices=tuple(connections), help="Its alias."
        )

    def handle(self, *_args: Any, **options: Any) -> None:
        """Print what each route came to.

        Raises:
            CommandError: django-ninja is not installed, there is no such user, or no such address.
        """
        try:
            from perfkit.api.routes import cost_of, routes  # an extra: the other commands do without
        except ImportError as error:
            raise CommandError("django-ninja is not installed: pip install django-perfkit[api].") from error
        user = None if options["user"] is None else _user(options["user"])
        found = [route for route in routes() if options["contains"] in route.path]
        if not found:
            raise CommandError("No route of django-ninja has such an address.")
        values = dict(options["value"])
        told = [
            (route, cost_of(route, values, query=options["query"], user=user, using=options["database"]))
            for route in found
        ]
        if options["json"]:
            self.stdout.write(json.dumps([_as_json(*each) for each in told], indent=2))
            return
        for line in _lines(told):
            self.stdout.write(line)


def _pair(text: str) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise ArgumentTypeError(f"{text!r} is no NAME=VALUE.")
    return name, value


def _user(name: str) -> Any:
    model = get_user_model()
    try:
        return model._default_manager.get_by_natural_key(name)
    except model.DoesNotExist as error:
        raise CommandError(f"There is no user {name!r}.") from error


def _lines(told: list[tuple[Route, Cost]]) -> Iterator[str]:
    names = [f"{route.method} {route.path}" for route, _ in told]
    width = max(map(len, names))
    for name, (_, cost) in zip(names, told, strict=True):
        yield f"{name:<{width}}  {_words(cost)}"


def _words(cost: Cost) -> str:
    if not cost.status:
        return f"not asked: {cost.reason}"
    parts = [f"{cost.status}"]
    if cost.way == "compiled":
        parts.append(f"compiled, {cost.columns} columns")
    elif cost.way:
        parts.append(f"of instances: {cost.reason}")
    elif cost.reason:
        parts.append(f"by ninja: {cost.reason}")
    parts.append("1 query" if cost.queries == 1 else f"{cost.queries} queries")
    if cost.indexes:
        parts.append(f"indexes {', '.join(cost.indexes)}")
    if cost.scans:
        parts.append(f"reads all of {', '.join(cost.scans)}")
    return "; ".join(parts)


def _as_json(route: Route, cost: Cost) -> dict[str, Any]:
    return {"method": route.method, "path": route.path, **dataclasses.asdict(cost)}
