"""Python values as bytes that can never run code: which are kept exactly, and how each is told apart.

Plain values are MessagePack's own; others are its extensions, whose code is a letter, as in `caching/values.py`.
Only exact types are kept, down to the keys of dictionaries: what comes back equals what was given, type by type.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

import msgspec
from django.apps import apps
from django.db import models
from django.db.models import Model, QuerySet
from django.db.models.fields.files import FieldFile
from django.utils.safestring import SafeString

from perfkit.caching.queries import model_fingerprint
from perfkit.caching.values import UnstorableError, tagged_scalar, untagged

LARGEST_INT: Final = 2**64
SMALLEST_INT: Final = -(2**63)

_TUPLE, _SET, _FROZENSET, _DICT, _INT, _MODEL, _SAFE_TEXT = map(ord, "TSFDIMH")

_FETCH_MODES: Final = tuple(
    name for name in ("FETCH_ONE", "FETCH_PEERS", "FETCH_RAISE") if hasattr(models, name)
)
"""Those that Django has from 6.1 on."""

_encode: Final = msgspec.msgpack.Encoder(uuid_format="bytes").encode
_UNTAGGED: Final = frozenset({type(None), bool, float, str, bytes})


def packed_value(value: Any) -> bytes:
    """Return the bytes of a value.

    Raises:
        UnstorableError: It, or a part of it, would not come back the same.
    """
    try:
        return _encode(_tagged(value))
    except UnicodeEncodeError as error:  # a lone surrogate
        raise UnstorableError("value of type str with half a character") from error
    except RecursionError as error:
        raise UnstorableError("value nested too deeply") from error


def _tagged(value: Any) -> Any:
    kind = type(value)
    if kind in _UNTAGGED:
        return value
    tag = _TAGGED.get(kind)
    if tag is not None:
        return tag(value)
    if isinstance(value, Model):
        return msgspec.msgpack.Ext(_MODEL, _encode(_parts_of(value)))
    if isinstance(value, QuerySet):
        raise UnstorableError(f"value of type {kind.__name__} (return a list of it, or use cached_query)")
    return tagged_scalar(value)


def _tagged_int(value: int) -> Any:
    if SMALLEST_INT <= value < LARGEST_INT:
        return value
    return msgspec.msgpack.Ext(_INT, hex(value).encode())


def _tagged_dict(value: dict[Any, Any]) -> Any:
    if all(type(key) is str for key in value):
        return {key: _tagged(part) for key, part in value.items()}
    pairs = [[_tagged(key), _tagged(part)] for key, part in value.items()]
    return msgspec.msgpack.Ext(_DICT, _encode(pairs))


def _tagged_items(code: int, value: Iterable[Any]) -> Any:
    return msgspec.msgpack.Ext(code, _encode([_tagged(part) for part in value]))


_TAGGED: Final[dict[type, Callable[[Any], Any]]] = {
    int: _tagged_int,
    dict: _tagged_dict,
    list: lambda value: [_tagged(part) for part in value],
    tuple: partial(_tagged_items, _TUPLE),
    set: partial(_tagged_items, _SET),
    frozenset: partial(_tagged_items, _FROZENSET),
    SafeString: lambda value: msgspec.msgpack.Ext(_SAFE_TEXT, str.__str__(value).encode()),
}


def _parts_of(instance: Model) -> list[Any]:
    """Return what makes an instance: its model, where it is from, its values, and the instances it refers to."""
    state = instance._state
    values = dict(vars(instance))
    values.pop("_state")
    if values.pop("_prefetched_objects_cache", None):
        raise UnstorableError(
            f"{instance._meta.label} with prefetched relations (return it without them, or plain values)"
        )
    related = {name: _tagged(other) for name, other in state.fields_cache.items() if not name.startswith("_")}
    return [
        instance._meta.label,
        model_fingerprint(type(instance)),
        state.db,
        state.adding,
        _mode_name(vars(state).get("fetch_mode")),
        {name: _tagged(_plain(value)) for name, value in values.items()},
        related,
    ]


def _mode_name(mode: Any) -> str | None:
    """Return the name of a fetch mode, None where there is none, as before Django 6.1.

    What it has loaded for is not kept: each row that comes back is alone.
    """
    if mode is None:
        return None
    for name in _FETCH_MODES:
        if mode is getattr(models, name):
            return name
    raise UnstorableError(f"value of type {type(mode).__name__}")


def _plain(value: Any) -> Any:
    return value.name if isinstance(value, FieldFile) else value


def _instance_of(parts: list[Any]) -> Model:
    label, form, alias, is_adding, mode, values, related = parts
    model = apps.get_model(label)
    if model_fingerprint(model) != form:
        raise ValueError(label)
    names = [field.attname for field in model._meta.concrete_fields if field.attname in values]
    instance: Model = model.from_db(alias, names, [values.pop(name) for name in names])
    instance._state.adding = is_adding
    vars(instance).update(values)
    if related:
        instance._state.fields_cache.update(related)
    if mode in _FETCH_MODES:
        instance._state.fetch_mode = getattr(models, mode)
    return instance


def _untagged(code: int, data: memoryview) -> Any:
    restore = _RESTORED.get(code)
    return untagged(code, data) if restore is None else restore(data)


unpacked_value: Final = msgspec.msgpack.Decoder(ext_hook=_untagged).decode
"""Returns the value that `packed_value` made bytes of, new down to its lists.

Foreign bytes raise one of `entries.FAULTS`.
"""

_RESTORED: Final[dict[int, Callable[[memoryview], Any]]] = {
    _TUPLE: lambda data: tuple(unpacked_value(data)),
    _SET: lambda data: set(unpacked_value(data)),
    _FROZENSET: lambda data: frozenset(unpacked_value(data)),
    _DICT: lambda data: dict(unpacked_value(data)),
    _INT: lambda data: int(bytes(data), 16),
    _MODEL: lambda data: _instance_of(unpacked_value(data)),
    _SAFE_TEXT: lambda data: SafeString(bytes(data).decode()),
}
