"""Which of a project's models are measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

from django.apps import apps
from django.db import Error, connections, router, transaction
from django.db.models import Manager, Model

from perfkit.caching import CachedManager
from perfkit.errors import BenchmarkError
from perfkit.postgres.estimates import estimated_rows

MOST_MODELS: Final = 3
"""That are measured where none is named."""

NOT_THE_PROJECTS: Final = ("django.", "perfkit.")


@dataclass(frozen=True, slots=True)
class Chosen:
    """A model, and by which manager its rows are read.

    Attributes:
        is_cached: Whether that is a `CachedManager`.
    """

    model: type[Model]
    manager: Manager[Any]
    is_cached: bool

    @property
    def label(self) -> str:
        """As `app_label.Model`."""
        return self.model._meta.label


def chosen(labels: Sequence[str], *, using: str) -> tuple[list[Chosen], list[str]]:
    """Return the models to measure, and what is to be said about those that were left out.

    Without labels: models of the project's own apps that have rows, those with a `CachedManager` first, then the
    largest ones.

    Raises:
        BenchmarkError: There is no such model, one has no rows, or none has.

    Queries:
        One or two for each model.
    """
    if labels:
        found = [model_named(label) for label in labels]
        for model in found:
            require_rows(model, using=using)
        return [_with_manager(model) for model in found], []
    sizes: list[tuple[bool, int, Chosen]] = []
    empty: list[str] = []
    for model in _own_models(using):
        each = _with_manager(model)
        size = _about_rows(model, using)
        if size:
            sizes.append((each.is_cached, size, each))
        else:
            empty.append(each.label)
    if not sizes:
        raise BenchmarkError(
            "No model of the project has rows to measure with: load some, or name one with --model."
        )
    sizes.sort(key=lambda entry: (entry[0], entry[1], entry[2].label), reverse=True)
    taken = _mixture(sizes)
    rest = sorted(each.label for *_, each in sizes if each not in taken)
    notes = [f"Not measured, name them with --model: {', '.join(rest)}."] if rest else []
    if empty:
        notes.append(f"Without rows: {', '.join(sorted(empty))}.")
    return taken, notes


def model_named(label: str) -> type[Model]:
    """Return a model by its label.

    Raises:
        BenchmarkError: There is none.
    """
    try:
        return apps.get_model(label)
    except (LookupError, ValueError) as error:
        labels = {model._meta.label.lower(): model._meta.label for model in apps.get_models()}
        near = get_close_matches(label.lower(), labels, n=1)
        hint = f"Did you mean {labels[near[0]]!r}?" if near else "Name one as app_label.Model."
        raise BenchmarkError(f"There is no model {label!r}. {hint}") from error


def require_rows(model: type[Model], *, using: str) -> None:
    """Raise BenchmarkError where a model has no rows to measure with, or no table."""
    try:
        with transaction.atomic(using=using):
            has_rows = model._base_manager.using(using).exists()
    except Error as error:
        raise BenchmarkError(f"{model._meta.label} cannot be read: {str(error).splitlines()[0]}") from error
    if not has_rows:
        raise BenchmarkError(f"{model._meta.label} has no rows to measure with.")


def _mixture(sizes: Sequence[tuple[bool, int, Chosen]]) -> list[Chosen]:
    """Return the first ones, the last of them replaced by the largest that is not cached."""
    taken = [each for *_, each in sizes[:MOST_MODELS]]
    others = [each for is_cached, _, each in sizes if not is_cached]
    if others and all(each.is_cached for each in taken):
        taken = [*taken[: MOST_MODELS - 1], others[0]]
    return taken


def _with_manager(model: type[Model]) -> Chosen:
    managers = [model._default_manager, *model._meta.managers]
    cached = next((each for each in managers if isinstance(each, CachedManager)), None)
    return Chosen(model, cached or model._default_manager, is_cached=cached is not None)


def _own_models(using: str) -> list[type[Model]]:
    return [
        model
        for model in apps.get_models()
        if not model.__module__.startswith(NOT_THE_PROJECTS)
        and not model._meta.proxy
        and model._meta.managed
        and router.allow_migrate_model(using, model)
    ]


def _about_rows(model: type[Model], using: str) -> int:
    """Return about how many rows a model has; on PostgreSQL without counting them. 0 where it has no table."""
    connection = connections[using]
    table = model._meta.db_table
    if connection.vendor == "postgresql" and '"' not in table:
        estimate = estimated_rows(connection, table)
        if estimate:
            return estimate
    try:
        with transaction.atomic(using=using):
            return min(model._base_manager.using(using)[:1001].count(), 1001)
    except Error:  # no table
        return 0
