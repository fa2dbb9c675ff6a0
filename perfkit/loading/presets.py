"""Named ways to load a model's rows, written once and checked when Django starts."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from django.apps import apps
from django.core.exceptions import FieldError
from django.db.models import Model, QuerySet
from django.db.models.manager import BaseManager

from perfkit.errors import UsageError
from perfkit.loading.eager_loading import apply
from perfkit.loading.plan import EagerPlan, plan_of
from perfkit.loading.related_rows import RelatedRows
from perfkit.loading.wanted import NAMED, Wanted

Part = Any
"""Of a preset: a path, `RelatedRows`, or another preset in any of the forms in which one meets it."""


class Preset:
    """What `preset` returns: a method of the queryset, manager or `Presets` class in whose body it stands.

    It also is a function of a queryset: `FlightPresets.with_relations(queryset)`.
    """

    def __init__(self, parts: tuple[Part, ...], annotations: dict[str, Any]) -> None:
        self.name = ""
        self._parts = tuple(_preset_of(part) or part for part in parts)
        self._annotations = annotations
        self._plans: dict[type[Model], EagerPlan] = {}

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = self.name or name

    def __get__(self, instance: Any, owner: type) -> Any:
        if isinstance(instance, QuerySet):
            return lambda: self.on(instance)
        if isinstance(instance, BaseManager):
            return lambda: self.on(instance.get_queryset())
        if issubclass(owner, QuerySet | BaseManager):
            return self._function(owner)
        return PresetOfModel(self, owner)

    def on(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return `queryset` with what the preset names loaded; see `preset`."""
        return apply(queryset, self.plan_for(queryset.model))

    def plan_for(self, model: type[Model]) -> EagerPlan:
        """Return the plan for a model, made once.

        Raises:
            RelationPathError, RelatedRowsError: As `eager`.
            UsageError: Two presets that it is made of give one name to two expressions.
        """
        if model not in self._plans:
            wanted = Wanted(model, model._meta.label)
            wanted.whole[NAMED] = None
            self.add_to(wanted)
            self._plans[model] = plan_of(wanted)
        return self._plans[model]

    def add_to(self, wanted: Wanted) -> None:
        """Want what the presets that this one is made of name, and what it names itself."""
        for part in self._parts:
            if isinstance(part, Preset):
                part.add_to(wanted)
        wanted.add(part for part in self._parts if isinstance(part, str | RelatedRows))
        for name, expression in self._annotations.items():
            if wanted.annotations.setdefault(name, expression) != expression:
                raise UsageError(f"The preset {self.name!r} calls two expressions {name!r}.")

    def _function(self, owner: type) -> Callable[[Any], QuerySet[Any]]:
        """Return a method as a class has it: Django copies only functions from a queryset to its manager."""

        def method(self: Any) -> QuerySet[Any]:
            queryset = self.get_queryset() if isinstance(self, BaseManager) else self
            return found.on(queryset)

        found = self
        method.__name__ = self.name
        method.__qualname__ = f"{owner.__qualname__}.{self.name}"
        method.__doc__ = "Load what the preset names."
        method.preset = self  # type: ignore[attr-defined]
        return method


class PresetOfModel:
    """A preset as the attribute of a `Presets` class."""

    def __init__(self, preset: Preset, owner: type) -> None:
        self.preset = preset
        self._owner = owner

    def __call__(self, queryset: QuerySet[Any] | None = None) -> QuerySet[Any]:
        """Return `queryset` with what the preset names loaded; without one, that of the default manager."""
        return self.preset.on(_model_of(self._owner)._default_manager.all() if queryset is None else queryset)

    @property
    def plan(self) -> EagerPlan:
        """What is done, for the model of the class."""
        return self.preset.plan_for(_model_of(self._owner))

    def explain(self) -> str:
        """Return the plan as text; see `EagerPlan.explain`."""
        return self.plan.explain()


def preset(*parts: Part, **annotations: Any) -> Any:
    """Name a way to load a model's rows, in the body of a queryset, a manager or a `Presets` class.

    Args:
        parts: Paths and `RelatedRows`, as for `eager`; other presets, whose parts are then parts of this one.
        annotations: Names and expressions, as for `annotate`: `reports_count=RelatedCount("reports")`.

    Queries:
        As `eager`, when it is called and the queryset evaluated; none before.

    Example:
        >>> class FlightQuerySet(models.QuerySet):  # doctest: +SKIP
        ...     with_relations = preset("airline", "origin")
        ...     with_reports = preset(with_relations, "reports__author", reports_count=RelatedCount("reports"))
        >>> Flight.objects.filter(year=2013).with_reports()  # doctest: +SKIP
    """
    for part in parts:
        if not isinstance(part, str | RelatedRows) and _preset_of(part) is None:
            raise UsageError(f"A preset is made of paths, RelatedRows and presets, not of {part!r}.")
    return Preset(parts, annotations)


class Presets:
    """Presets of one model, for querysets that have no class of their own.

    `model` is the model, or its label. Each preset is called with a queryset, or with none for the rows of the
    default manager. In the bases of a queryset or a manager, the presets are methods of it.

    Example:
        >>> class FlightPresets(Presets):  # doctest: +SKIP
        ...     model = Flight
        ...     with_relations = preset("airline", "origin", "reports__author")
        >>> FlightPresets.with_relations(Flight.objects.filter(year=2013))  # doctest: +SKIP
    """

    model: ClassVar[Any] = None


def faults() -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the presets of imported classes: `class.preset`, or the class, and the problem."""
    for owner in _subclasses(Presets):
        if not _presets_in(owner) or issubclass(owner, QuerySet | BaseManager):
            continue  # the models of a queryset or manager are found below
        try:
            model = _model_of(owner)
        except UsageError as error:
            yield owner.__qualname__, str(error)
        else:
            yield from _faults_in(owner, model)
    for model in apps.get_models():
        for manager in model._meta.managers:
            yield from _faults_in(type(manager), model)
            yield from _faults_in(getattr(manager, "_queryset_class", QuerySet), model)


def _faults_in(owner: type, model: type[Model]) -> Iterator[tuple[str, str]]:
    for name, found in _presets_in(owner).items():
        try:
            found.on(model._base_manager.all())
        except (UsageError, FieldError, ValueError) as error:
            yield f"{owner.__qualname__}.{name}", str(error)


def _presets_in(owner: type) -> dict[str, Preset]:
    found = ((name, inspect.getattr_static(owner, name)) for name in dir(owner))
    return {name: each for name, each in found if isinstance(each, Preset)}


def _subclasses(kind: type[Presets]) -> Iterator[type[Presets]]:
    for below in kind.__subclasses__():
        yield below
        yield from _subclasses(below)


def _model_of(owner: Any) -> type[Model]:
    """Return the model of a `Presets` class.

    Raises:
        UsageError: It has none, or a label that is no model's.
    """
    model = getattr(owner, "model", None)
    if isinstance(model, type) and issubclass(model, Model):
        return model
    if isinstance(model, str):
        try:
            return apps.get_model(model)
        except (LookupError, ValueError) as error:
            raise UsageError(f"{owner.__qualname__}.model is {model!r}, which is no model.") from error
    raise UsageError(f"{owner.__qualname__} has no model: write `model = …` in its body.")


def _preset_of(part: Any) -> Preset | None:
    """Return the preset that stands behind what one has of it: itself, or the attribute of a class."""
    return part if isinstance(part, Preset) else getattr(part, "preset", None)
