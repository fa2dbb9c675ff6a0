"""`invalidate`, and `invalidates`: what a call, or the success of a function, makes void."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar, cast

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.db import connections, router
from django.db.models import Model

from perfkit.caching.databases import tag_scope
from perfkit.caching.functions.arguments import Parameters
from perfkit.caching.functions.templates import Template
from perfkit.caching.named.invalidation import void_with_transaction
from perfkit.caching.named.names import project_tags, tag_of_pattern
from perfkit.caching.registry import owners, table_name
from perfkit.caching.tags import any_write_tag, table_tag

P = ParamSpec("P")
R = TypeVar("R")

Voided = tuple[list[str], list[str]]
"""Key paths, or patterns of them, and tags."""

RESULT = "result"
"""What the function has returned, in templates."""


def invalidate(*patterns: str, tags: Iterable[str] = (), models: Iterable[type[Model]] = ()) -> None:
    """Void what is kept under key paths, with tags, or of the rows of models.

    Inside a transaction that happens with its COMMIT; a rollback leaves everything as it was.

    Args:
        patterns: Key paths, or patterns of them: `"airport:*"`.
            Where a wildcard stands elsewhere than at the end, all below the parts before it is void.
        tags: Of functions and of `cache`.
        models: Whatever depends on their tables, for those who have written these past Django.

    Raises:
        CacheKeyError: A pattern or a tag is none; nothing is void.
        CacheUnavailableError: The server cannot be told, and the setting refuses that.

    Queries:
        One round trip outside of transactions. In an outage one INSERT.
    """
    void_with_transaction([*map(tag_of_pattern, patterns), *project_tags(tags), *_tags_of_models(models)])


async def ainvalidate(*patterns: str, tags: Iterable[str] = (), models: Iterable[type[Model]] = ()) -> None:
    """Void what is kept, as `invalidate` does."""
    await sync_to_async(invalidate)(*patterns, tags=tags, models=models)


def invalidates(
    *patterns: str, tags: Sequence[str] = (), models: Sequence[type[Model]] = ()
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Void answers when a function has succeeded: `@invalidates("airports:*", "airport:{airport.code}")`.

    Inside a transaction that happens with its COMMIT.
    Where the function raises nothing is void.

    Args:
        patterns: As `invalidate` has them. Placeholders name parameters of the function or attributes of them,
            before it is called and when it has returned, and `{result.…}` what it has returned.
        tags: With placeholders likewise.
        models: As `invalidate` has them.

    Raises:
        KeyTemplateError: A placeholder does not fit the function.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        parameters = Parameters(function)

        def fitting(text: str) -> Template:
            return Template(text, function=parameters.function, parameters=[*parameters.names, RESULT])

        keys, names = [fitting(pattern) for pattern in patterns], [fitting(tag) for tag in tags]

        def void(before: Voided, after: Voided) -> None:
            invalidate(*before[0], *after[0], tags=[*before[1], *after[1]], models=models)

        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(f"{parameters.function} is a generator, which has succeeded only when it ends.")

        def named(args: tuple[Any, ...], kwargs: dict[str, Any], **result: Any) -> Voided:
            """Return what a call names; an attribute that is not there (yet, or any more) names nothing."""
            values: Mapping[str, Any] = {**result, **parameters.bound(args, kwargs).arguments}
            return (
                [path for key in keys if (path := _written(key.path, key, values)) is not None],
                [text for name in names if (text := _written(name.text_of, name, values)) is not None],
            )

        if iscoroutinefunction(function):
            call: Callable[P, Any] = function

            @functools.wraps(function)
            async def invalidating_async(*args: P.args, **kwargs: P.kwargs) -> Any:
                before = named(args, kwargs)
                result = await call(*args, **kwargs)
                await sync_to_async(void)(before, named(args, kwargs, result=result))
                return result

            return cast("Callable[P, R]", invalidating_async)

        @functools.wraps(function)
        def invalidating(*args: P.args, **kwargs: P.kwargs) -> R:
            before = named(args, kwargs)
            result = function(*args, **kwargs)
            void(before, named(args, kwargs, result=result))
            return result

        return invalidating

    return decorate


def _written(
    write: Callable[[Mapping[str, Any]], str], template: Template, values: Mapping[str, Any]
) -> str | None:
    """Return the text of a template, None where a value that it names is not there."""
    if not template.parameters <= values.keys():
        return None
    try:
        return write(values)
    except AttributeError:
        return None


def _tags_of_models(models: Iterable[type[Model]]) -> list[str]:
    tags = []
    for model in models:
        scope = tag_scope(connections[router.db_for_write(model)])
        for owner in owners(model):
            tags += [kind(scope, table_name(owner)) for kind in (any_write_tag, table_tag)]
    return tags
