"""What a job is called with: bound to its function, kept as JSON, and shown without its values."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from perfkit.errors import JobArgumentError, JobResultError

LEAST_HIDDEN: Final = 4
"""Shorter texts are not looked for in the texts of errors: they would be found in other words."""


def bound(
    name: str, signature: inspect.Signature, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the arguments of a call by the names of the parameters, defaults included.

    Raises:
        JobArgumentError: The function cannot be called with them.
    """
    try:
        call = signature.bind(*args, **kwargs)
    except TypeError as error:
        raise JobArgumentError(name, f"{error}") from error
    call.apply_defaults()
    return dict(call.arguments)


def arguments_text(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """Return the JSON that a call is kept as.

    Raises:
        JobArgumentError: It would not come back the same.
    """
    try:
        return _json([list(args), dict(kwargs)])
    except (TypeError, ValueError) as error:
        raise JobArgumentError(name, f"{error}. Pass what JSON can hold: keys of rows, not rows.") from error


def result_text(name: str, result: Any) -> str:
    """Return the JSON that a result is kept as.

    Raises:
        JobResultError: It would not come back the same.
    """
    try:
        return _json(result)
    except (TypeError, ValueError) as error:
        raise JobResultError(name, str(error)) from error


def shown_arguments(
    args: Sequence[Any], kwargs: Mapping[str, Any], *, parameters: Sequence[str], shown: frozenset[str]
) -> dict[str, str]:
    """Return the arguments for people: the values only of parameters that are declared to be shown.

    Example:
        >>> shown_arguments([7, "a secret"], {}, parameters=["pk", "token"], shown=frozenset({"pk"}))
        {'pk': '7', 'token': 'str of 8'}
    """
    names = [
        *parameters[: len(args)],
        *(f"argument {number}" for number in range(len(parameters), len(args))),
    ]
    named = {**dict(zip(names, args, strict=True)), **kwargs}
    return {name: json.dumps(value) if name in shown else _outline(value) for name, value in named.items()}


def hidden(text: str, values: object) -> str:
    """Return the text of an error without the texts that a job was called with.

    Example:
        >>> hidden("no user 'anna@example.org'", [["anna@example.org"], {}])
        "no user '…'"
    """
    written = {
        form for value in _texts(values) for form in (value, repr(value)[1:-1], json.dumps(value)[1:-1])
    }
    for form in sorted(written, key=len, reverse=True):
        text = text.replace(form, "…")
    return text


def _json(value: Any) -> str:
    if value is None:
        return "null"
    text = json.dumps(value, allow_nan=False)
    if "\\u0000" in text and "\0" in "".join(_all_texts(value)):
        raise ValueError("a text contains the character NUL, which a database does not keep")
    if json.loads(text) != _as_lists(value):
        raise TypeError("a dictionary has keys that are no texts")
    return text


def _as_lists(value: Any) -> Any:
    """Return a value with lists for its tuples, which JSON does not tell apart."""
    if isinstance(value, list | tuple):
        return [_as_lists(item) for item in value]
    if isinstance(value, dict):
        return {key: _as_lists(item) for key, item in value.items()}
    return value


def _all_texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _all_texts(key)
            yield from _all_texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _all_texts(item)


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts among the values, not the names, that are long enough to be found again."""
    if isinstance(value, str):
        if len(value) >= LEAST_HIDDEN:
            yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def _outline(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return type(value).__name__
    if isinstance(value, str | list | tuple | dict):
        return f"{type(value).__name__} of {len(value)}"
    return type(value).__name__
