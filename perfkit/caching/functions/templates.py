"""Templates of key paths: `airport:stats:{airport_id}`, `{self.code}`, `{flight.origin.code}`.

Pure. A placeholder names a parameter, or an attribute of one; its value stands as one part of the path.
"""

from __future__ import annotations

import datetime
import enum
import re
import string
import uuid
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple

from perfkit.caching.named.names import PATTERN_TEXT, path_part
from perfkit.errors import KeyTemplateError, UncacheableArgumentError, nearest

_formatter: Final = string.Formatter()
_WRITTEN: Final = (
    str | int | float | Decimal | uuid.UUID | datetime.date | datetime.time | datetime.timedelta | None
)
"""What a value in a path may be; of other objects the text may be an address, or the same for two."""


class _Piece(NamedTuple):
    """A text, and the placeholder after it: a parameter and attributes, empty at the end."""

    text: str
    parameter: str
    attributes: tuple[str, ...]


class Template:
    """A template that fits one function.

    Attributes:
        parameters: The names that stand in it.

    Args:
        function: Its dotted name, for errors.
        parameters: What may stand in it.
        literal: Matches what the text between placeholders may be; any where left out.

    Raises:
        KeyTemplateError: A placeholder is none, or names no parameter, or the text is none that a key may have.
    """

    def __init__(
        self,
        text: str,
        *,
        function: str,
        parameters: Sequence[str],
        literal: re.Pattern[str] | None = None,
    ) -> None:
        self.text = text
        self._function = function
        self._pieces = list(_pieces(text, function, parameters))
        if literal is not None:
            self._require(literal)
        self.parameters = {piece.parameter for piece in self._pieces if piece.parameter}

    def path(self, arguments: Mapping[str, Any], *, quote: Callable[[str], str] = path_part) -> str:
        """Return the path for the arguments of a call.

        Raises:
            AttributeError: A value does not have an attribute that the template names.
            UncacheableArgumentError: A value is no text, number, date, UUID or enumeration.
        """
        parts = []
        for text, parameter, attributes in self._pieces:
            parts.append(text)
            if parameter:
                value = arguments[parameter]
                for attribute in attributes:
                    value = getattr(value, attribute)
                parts.append(quote(self._text_of(parameter, value)))
        return "".join(parts)

    def text_of(self, arguments: Mapping[str, Any]) -> str:
        """Return the text for the arguments of a call, in which values stand as they are: what tags are."""
        return self.path(arguments, quote=str)

    def _require(self, literal: re.Pattern[str]) -> None:
        if not self._pieces:
            raise KeyTemplateError(self._function, self.text, "a key is not empty.")
        for piece in self._pieces:
            if piece.text and not literal.fullmatch(piece.text):
                problem = f"{piece.text!r} is no text of a key, which is printable ASCII without spaces"
                wildcards = "." if literal is PATTERN_TEXT else "; * ? [ are for patterns."
                raise KeyTemplateError(self._function, self.text, problem + wildcards)

    def _text_of(self, parameter: str, value: Any) -> str:
        if isinstance(value, enum.Enum):
            value = value.value
        if not isinstance(value, _WRITTEN):
            kind = f"of type {type(value).__module__}.{type(value).__qualname__}"
            raise UncacheableArgumentError(self._function, parameter, kind)
        return str.__str__(value) if isinstance(value, str) else str(value)


def _pieces(text: str, function: str, parameters: Sequence[str]) -> list[_Piece]:
    try:
        parsed = list(_formatter.parse(text))
    except ValueError as error:
        raise KeyTemplateError(function, text, f"{error}.") from error
    pieces = []
    for literal, field, form, conversion in parsed:
        if field is None:
            pieces.append(_Piece(literal, "", ()))
            continue
        if form or conversion:
            raise KeyTemplateError(function, text, f"{{{field}}} takes no format and no conversion.")
        parameter, *attributes = field.split(".")
        if parameter not in parameters:
            raise KeyTemplateError(
                function, text, f"it has no parameter {parameter!r}.{nearest(parameter, list(parameters))}"
            )
        if not all(name.isidentifier() for name in attributes):
            raise KeyTemplateError(function, text, f"{{{field}}} names no attribute.")
        pieces.append(_Piece(literal, parameter, tuple(attributes)))
    return pieces
