"""Problems with a request that belong to one of its parameters, as pydantic tells them."""

from __future__ import annotations

from typing import Any, NoReturn, cast

from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError


def refuse(title: str, parameter: str, problem: PydanticCustomError, value: object) -> NoReturn:
    """Raise a problem with one parameter, from where pydantic would lay it on all of them together.

    Raises:
        ValidationError: It, always.
    """
    details = InitErrorDetails(type=problem, loc=(parameter,), input=value)
    raise ValidationError.from_exception_data(title, [details])


def laid_on_list(title: str, error: ValidationError, values: list[Any]) -> ValidationError:
    """Return the problems with values of a list as problems of their parameter, each with its value before it."""
    details = []
    for each in error.errors(include_url=False):
        place = each["loc"][0] if each["loc"] else None
        named = f"{values[place]!r}: " if isinstance(place, int) and place < len(values) else ""
        # Braces of a message that is finished would be taken for names of its context.
        text = "{named}{problem}"
        context = {"named": named, "problem": each["msg"], **each.get("ctx", {})}
        context = {
            name: str(value) if isinstance(value, Exception) else value for name, value in context.items()
        }
        problem = PydanticCustomError(cast("Any", each["type"]), cast("Any", text), context)
        details.append(InitErrorDetails(type=problem, loc=(), input=each["input"]))
    return ValidationError.from_exception_data(title, details)
