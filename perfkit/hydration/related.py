"""The tree of models that one row of a SELECT holds, and the function that makes its instances."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple

from django.db.models import Model, query
from django.db.models.fields.mixins import FieldCacheMixin
from django.db.models.signals import post_init, pre_init

from perfkit.hydration.eligibility import has_plain_columns, is_untouched
from perfkit.hydration.instances import FETCH_MODE, compiled, creation_lines, indented

Row = Sequence[Any]
Setter = Callable[[Any, Any], None]
FromDb = Callable[[str, Sequence[str], Sequence[Any]], Model]
Program = Callable[[str, Iterable[Row], dict[int, FromDb], Any, list[list[Any]]], Any]


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One model of the tree: which columns of the row are its own, and how it hangs on its parent.

    `positions` says where each of `attnames` stands in the row, which has `width` columns.
    `set_local(parent, child)` and `set_remote(child, parent)` are Django's; the root has neither.
    """

    number: int
    model: type[Model]
    attnames: list[str]
    positions: list[int]
    width: int
    children: list[Node]
    set_local: Setter | None = None
    set_remote: Setter | None = None

    @property
    def key_position(self) -> int:
        """Where a part of the primary key stands; NULL there means that there is no such row."""
        return self.positions[self.attnames.index(self.model._meta.pk_fields[0].attname)]

    @property
    def values(self) -> str:
        """The source of this model's values."""
        first = self.positions[0]
        if self.positions == list(range(self.width)):
            return "row"
        if self.positions == list(range(first, first + len(self.positions))):
            return f"row[{first}:{first + len(self.positions)}]"
        return f"pick_{self.number}(row)"

    def walk(self) -> Iterator[Node]:
        """Yield this node and all below it, in the order of their numbers."""
        yield self
        for child in self.children:
            yield from child.walk()


def tree_of(klass_info: dict[str, Any], select: Sequence[Any]) -> Node:
    """Return the tree of a compiled SELECT, from what the compiler holds as `klass_info` and `select`."""
    targets = [getattr(column, "target", None) for column, *_ in select]
    attnames = ["" if target is None else target.attname for target in targets]
    return _node(klass_info, attnames, numbers=iter(range(len(attnames))))  # each model has a column at least


def _node(klass_info: dict[str, Any], attnames: Sequence[str], *, numbers: Iterator[int]) -> Node:
    number = next(numbers)
    model: type[Model] = klass_info["model"]
    places = klass_info["select_fields"]
    if klass_info.get("from_parent"):
        # A child class shares its parent's columns, which stand apart from its own.
        place_of = {attnames[place]: place for place in places}
        order = (field.attname for field in model._meta.concrete_fields)
        positions = [place_of[attname] for attname in order if attname in place_of]
    else:
        positions = list(range(places[0], places[-1] + 1))
    has_no_remote = "field" in klass_info and not klass_info["reverse"] and not klass_info["field"].unique
    return Node(
        number=number,
        model=model,
        attnames=[attnames[position] for position in positions],
        positions=positions,
        width=len(attnames),
        children=[
            _node(info, attnames, numbers=numbers) for info in klass_info.get("related_klass_infos", ())
        ],
        set_local=klass_info.get("local_setter"),
        set_remote=None if has_no_remote else klass_info.get("remote_setter"),
    )


class Variant(NamedTuple):
    """Which function serves: the numbers of the nodes that `from_db` makes, and how it is called."""

    by_from_db: frozenset[int]
    has_peers: bool
    is_lazy: bool


class ModelRows:
    """Makes the instances of rows whose values are converted; safe to share between threads.

    Which models of the tree have to be made by their `from_db` is asked at each call,
    and a function is kept for each answer. There are few: receivers come and go rarely.
    """

    def __init__(self, root: Node, annotations: dict[str, int]) -> None:
        self._root = root
        self._nodes = list(root.walk())
        self._models = {node.model for node in self._nodes}
        self._annotations = dict(annotations)
        self._never_plain = frozenset(
            node.number for node in self._nodes if not has_plain_columns(node.model, node.attnames)
        )
        self._programs: dict[Variant, Program] = {}

    def __call__(self, alias: str, rows: Iterable[Row], *, fetch_mode: Any = FETCH_MODE) -> list[Model]:
        """Return one instance for each row, with its relations and annotations.

        Args:
            fetch_mode: The queryset's, from Django 6.1 on.
        """
        variant = self._variant(fetch_mode, is_lazy=False)
        from_db = self._from_db(variant, fetch_mode)
        objects: list[Model] = self._program(variant)(alias, rows, from_db, fetch_mode, self._peers(variant))
        return objects

    def lazily(self, alias: str, rows: Iterable[Row], *, fetch_mode: Any = FETCH_MODE) -> Iterator[Model]:
        """Yield the instances, each row taken and each instance made when it is asked for.

        What the caller does meanwhile has an effect as it has with Django:
        a receiver that it connects gets the signals of the next instance.
        """
        rows = iter(rows)
        peers: list[list[Any]] | None = None
        for row in rows:  # the program ends early where receivers have come or gone
            variant = self._variant(fetch_mode, is_lazy=True)
            from_db = self._from_db(variant, fetch_mode)
            peers = self._peers(variant) if peers is None else peers
            yield from self._program(variant)(alias, chain((row,), rows), from_db, fetch_mode, peers)

    def why_from_db(self) -> str:
        """Return why some of the models, as of now, are made by their `from_db`; an empty text where none is."""
        numbers = self._variant(FETCH_MODE, is_lazy=False).by_from_db
        reasons = {
            self._nodes[number].model._meta.label: (
                "sets columns in a way of its own"
                if number in self._never_plain
                else "makes instances in a way of its own (__init__, from_db, pre_init or post_init)"
            )
            for number in sorted(numbers)
        }
        return "; ".join(f"{label} {why}" for label, why in reasons.items())

    def _variant(self, fetch_mode: Any, *, is_lazy: bool) -> Variant:
        by_from_db = self._never_plain
        for model in self._models:
            if not is_untouched(model):
                by_from_db |= {node.number for node in self._nodes if node.model is model}
        return Variant(by_from_db, getattr(fetch_mode, "track_peers", False), is_lazy)

    def _from_db(self, variant: Variant, fetch_mode: Any) -> dict[int, FromDb]:
        if not variant.by_from_db:
            return {}
        return {number: _from_db(self._nodes[number].model, fetch_mode) for number in variant.by_from_db}

    def _peers(self, variant: Variant) -> list[list[Any]]:
        """Return a list for each node, to which its instances of one read are added."""
        return [[] for _ in self._nodes] if variant.has_peers else []

    def _program(self, variant: Variant) -> Program:
        program = self._programs.get(variant)
        if program is None:
            program = self._programs[variant] = self._compile(variant)
        return program

    def _compile(self, variant: Variant) -> Program:
        names: dict[str, Any] = {"pre_init": pre_init, "post_init": post_init, "reference": weakref.ref}
        for node in self._nodes:
            names[f"model_{node.number}"] = node.model
            names[f"names_{node.number}"] = node.attnames
            names[f"pick_{node.number}"] = itemgetter(*node.positions)
            names[f"set_local_{node.number}"] = node.set_local
            names[f"set_remote_{node.number}"] = node.set_remote
        body = [*_object_lines(self._root, variant)]
        body += [f"setattr(object_0, {name!r}, row[{place}])" for name, place in self._annotations.items()]
        if variant.is_lazy:
            before = ["seen = pre_init.receivers[:], post_init.receivers[:]"]
            body += ["yield object_0", "if seen != (pre_init.receivers, post_init.receivers):"]
            body += indented(["return"])
            after = []
        else:
            before, after = ["objects = []"], ["return objects"]
            body += ["objects.append(object_0)"]
        lines = [*before, "for row in rows:", *indented(body), *after]
        lines = ["def program(alias, rows, from_db, fetch_mode, peers):", *indented(lines)]
        program: Program = compiled(lines, names)["program"]
        return program


def _object_lines(node: Node, variant: Variant) -> Iterator[str]:
    """Yield the source that makes a node's instance and everything below it, in Django's order."""
    number = node.number
    if number in variant.by_from_db:
        yield f"object_{number} = from_db[{number}](alias, names_{number}, {node.values})"
    else:
        yield from creation_lines(
            node.model,
            node.attnames,
            number=number,
            values=node.values,
            gets_relations=bool(node.children),
            fetch_mode=True,
        )
    if variant.has_peers:
        yield f"peers[{number}].append(reference(object_{number}))"
        yield f"object_{number}._state.peers = peers[{number}]"
    for child in node.children:
        yield f"if row[{child.key_position}] is None:"
        yield from indented([f"object_{child.number} = None"])
        yield "else:"
        yield from indented(_object_lines(child, variant))
        yield _setting_line(node, child, child.set_local, f"set_local_{child.number}", variant)
        if child.set_remote is not None:
            yield f"if object_{child.number} is not None:"
            remote = _setting_line(child, node, child.set_remote, f"set_remote_{child.number}", variant)
            yield from indented([remote])


def _setting_line(owner: Node, value: Node, setter: Setter | None, name: str, variant: Variant) -> str:
    """Return the source of `setter(owner, value)`: an assignment, where the setter would do just that."""
    is_djangos = getattr(setter, "__func__", None) is FieldCacheMixin.set_cached_value
    key = getattr(getattr(setter, "__self__", None), "cache_name", None)
    if is_djangos and isinstance(key, str) and owner.number not in variant.by_from_db:
        return f"state_{owner.number}.fields_cache[{key!r}] = object_{value.number}"
    return f"{name}(object_{owner.number}, object_{value.number})"


def _from_db(model: type[Model], fetch_mode: Any) -> FromDb:
    """Return the model's `from_db` as a queryset of this Django calls it."""
    if FETCH_MODE is None:
        from_db: FromDb = model.from_db
    else:
        from_db = query._get_from_db(model, fetch_mode)  # type: ignore[attr-defined]  # noqa: SLF001
    return from_db
