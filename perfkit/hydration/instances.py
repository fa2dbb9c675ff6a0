"""One model instance from its column values, by a function written for the model and its columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from django.db.models import Model, query
from django.db.models.base import ModelState

from perfkit.hydration.eligibility import has_plain_columns, has_setter, is_untouched

Build = Callable[[str, Sequence[Any]], Model]

FETCH_MODE: Final = getattr(query, "DEFAULT_FETCH_MODE", None)
"""What a queryset of Django 6.1 or later gives its instances; None before."""

INDENT: Final = "    "


def instance_builder(model: type[Model], attnames: tuple[str, ...]) -> Build:
    """Return `build(alias, values)`, which returns what `model.from_db(alias, attnames, values)` returns.

    Where the model does more than Django's own, `build` calls `from_db`; it looks at each use.
    Making a builder costs as much as hundreds of instances: keep it.

    Args:
        model: The class of the instances.
        attnames: The attribute names of the values, in the order of the model's concrete fields.
            They may leave out any but the key; what is left out is deferred.

    Example:
        build = instance_builder(Airline, ("code", "name"))
        build("default", ("UA", "United Air Lines"))
    """
    if not has_plain_columns(model, attnames):
        return lambda alias, values: model.from_db(alias, attnames, values)
    lines = ["def create(alias, values):"]
    lines += indented(creation_lines(model, attnames, number=0, values="values"))
    lines += [f"{INDENT}return object_0"]
    create: Build = compiled(lines, {"model_0": model})["create"]

    def build(alias: str, values: Sequence[Any]) -> Model:
        if is_untouched(model):
            return create(alias, values)
        return model.from_db(alias, attnames, values)

    return build


def creation_lines(
    model: type[Model],
    attnames: Sequence[str],
    *,
    number: int,
    values: str,
    gets_relations: bool = False,
    fetch_mode: bool = False,
) -> Iterator[str]:
    """Yield the source that makes `object_<number>` and its `state_<number>`, as `from_db` leaves them.

    But for an empty cache of relations: Django's `ModelState` makes it when it is first asked for.
    Only for what `has_plain_columns` lets pass; the source uses `model_<number>`, `alias` and `values`.

    Args:
        gets_relations: Whether related objects are put into that cache next.
        fetch_mode: Whether they get one, from Django 6.1 on; the source uses `fetch_mode`.
    """
    yield f"object_{number} = new(model_{number})"
    yield f"object_{number}._state = state_{number} = State()"
    if any(has_setter(model, attname) for attname in attnames):
        yield f"columns = object_{number}.__dict__"
        targets = [f"columns[{attname!r}]" for attname in attnames]
    else:
        # A dict of its own for each instance would be one object more for the garbage collector.
        targets = [f"object_{number}.{attname}" for attname in attnames]
    yield f"{', '.join(targets)}, = {values}"
    if gets_relations:
        yield f"state_{number}.fields_cache = {{}}"
    yield f"state_{number}.adding = False"
    yield f"state_{number}.db = alias"
    if fetch_mode and FETCH_MODE is not None:
        yield f"state_{number}.fetch_mode = fetch_mode"


def compiled(lines: Sequence[str], names: dict[str, Any]) -> dict[str, Any]:
    """Run generated source over `names` and return what it defined.

    The source holds numbers, the identifiers that `has_plain_columns` let pass, and `repr` of strings.
    """
    namespace = {"new": object.__new__, "State": ModelState, **names}
    exec("\n".join(lines), namespace)  # noqa: S102  # nothing in it comes from outside, see above
    return namespace


def indented(lines: Sequence[str] | Iterator[str]) -> Iterator[str]:
    """Yield `lines` one level deeper."""
    return (f"{INDENT}{line}" for line in lines)
