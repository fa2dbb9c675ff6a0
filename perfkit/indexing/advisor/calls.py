"""Functions that an index may have, since they always give the same for the same row. Pure.

Source:
    PostgreSQL manual, "Function Volatility Categories".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from perfkit.indexing.advisor.grammar import CoercionForm
from perfkit.indexing.advisor.written import INTEGERS, NUMBERS, STRINGS, Written, as_type, literal, made

INSTANT: Final = "timestamp with time zone"
MOMENT: Final = "timestamp without time zone"

_PARTS_OF_TIME: Final = frozenset(
    {"century", "day", "decade", "dow", "doy", "epoch", "hour", "isodow", "isoyear", "julian", "microseconds",
     "millennium", "milliseconds", "minute", "month", "quarter", "second", "timezone", "timezone_hour",
     "timezone_minute", "week", "year"}
)  # fmt: skip
"""What EXTRACT takes; it stands there without quotes, though any text is parsed in its place."""

_TEXT_FUNCTIONS: Final = {
    **dict.fromkeys(
        ("upper", "lower", "btrim", "ltrim", "rtrim", "replace", "substr", "substring", "left", "right",
         "md5", "reverse", "lpad", "rpad", "initcap", "split_part"),
        "text",
    ),
    **dict.fromkeys(("length", "char_length", "strpos", "ascii"), "integer"),
}  # fmt: skip
_NUMBER_FUNCTIONS: Final = frozenset({"abs", "round", "floor", "ceil", "ceiling", "mod", "sign", "trunc"})


def written_call(name: str, parts: list[Written], node: Any) -> Written | None:
    """Return the call of a function; None of one that an index may not have."""
    first, last = parts[0], parts[-1]
    if name in _TEXT_FUNCTIONS and all(part.type in STRINGS | INTEGERS | {""} for part in parts):
        texts = ", ".join(as_type(part, "text") for part in parts)
        return made(f"{name}({texts})", _TEXT_FUNCTIONS[name], *parts)
    if name in _NUMBER_FUNCTIONS and first.type in NUMBERS:
        return made(f"{name}({', '.join(part.text for part in parts)})", first.type, *parts)
    if name in _PAIR_FUNCTIONS and len(parts) == 2:  # noqa: PLR2004  # as its name says
        return _PAIR_FUNCTIONS[name](first, last, node.funcformat == CoercionForm.COERCE_SQL_SYNTAX)
    return None


def _timezone(zone: Written, moment: Written, is_syntax: bool) -> Written | None:
    if not zone.is_literal or moment.type not in {INSTANT, MOMENT}:
        return None
    name = as_type(zone, "text")
    text = f"({moment.text} AT TIME ZONE {name})" if is_syntax else f"timezone({name}, {moment.text})"
    return made(text, MOMENT if moment.type == INSTANT else INSTANT, moment)


def _extract(part: Written, moment: Written, _: bool) -> Written | None:
    name = (part.value or "").lower()
    if name not in _PARTS_OF_TIME or moment.type not in {MOMENT, "date", "time without time zone"}:
        return None
    return made(f"EXTRACT({name} FROM {moment.text})", "numeric", moment)


def _date_part(part: Written, moment: Written, _: bool) -> Written | None:
    is_fixed = part.value is not None and moment.type in {MOMENT, "date", "time without time zone"}
    text = f"date_part({as_type(part, 'text')}, {moment.text})"
    return made(text, "double precision", moment) if is_fixed else None


def _date_trunc(part: Written, moment: Written, _: bool) -> Written | None:
    if part.value is None or moment.type != MOMENT:
        return None
    return made(f"date_trunc({as_type(part, 'text')}, {moment.text})", MOMENT, moment)


def _to_tsvector(config: Written, text: Written, _: bool) -> Written | None:
    if config.value is None or text.type not in STRINGS:
        return None
    written = f"to_tsvector({literal(config.value)}::regconfig, {as_type(text, 'text')})"
    return made(written, "tsvector", text)


def _setweight(vector: Written, weight: Written, _: bool) -> Written | None:
    if vector.type != "tsvector" or weight.value is None:
        return None
    return made(f'setweight({vector.text}, {literal(weight.value)}::"char")', "tsvector", vector)


_PAIR_FUNCTIONS: Final[dict[str, Callable[[Written, Written, bool], Written | None]]] = {
    "timezone": _timezone,
    "extract": _extract,
    "date_part": _date_part,
    "date_trunc": _date_trunc,
    "to_tsvector": _to_tsvector,
    "setweight": _setweight,
}
"""Functions of two arguments; the third says whether it was written in SQL's words, not as a call."""
