"""`invalidate`, and `invalidates`: what a call, or the success of a function, makes void."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ParamSpec, TypeVar, cast

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.db import connections, router
from django.db.models import Model

from perfkit.caching.databases import tag_scope
from perfkit.caching.functions.arguments import Parameters
from perfkit.caching.functions.templates import Template
from perfkit.caching.named.invalidation import void_with_transaction
from perfkit.caching.named.names import (
    PATTERN_TEXT,
    project_tag,
    project_tags,
    tag_of_pattern,
    tag_of_written,
)
from perfkit.caching.registry import owners, table_name
from perfkit.caching.tags import any_write_tag, table_tag

P = ParamSpec("P")
R = TypeVar("R")

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
    What can be no name is refused before it is called; what comes of its result is not known then, and all else is
    void.

    Args:
        patterns: As `invalidate` has them. Placeholders name parameters of the function or attributes of them,
            before it is called and when it has returned, and `{result.…}` what it has returned.
        tags: With placeholders likewise.
        models: As `invalidate` has them.

    Raises:
        KeyTemplateError: A placeholder does not fit the function, or a pattern holds what none may.
        CacheKeyError: Of a call: a pattern or a tag is none.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        named = _Voided(function, patterns, tags)
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(f"{named.function} is a generator, which has succeeded only when it ends.")

        def void(before: list[str], args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> None:
            wanted = [*before, *_tags_of_models(models)]
            try:
                wanted.extend(named.tags(args, kwargs, result=result))  # as far as they have names
            finally:
                void_with_transaction(wanted)

        if iscoroutinefunction(function):
            call: Callable[P, Any] = function

            @functools.wraps(function)
            async def invalidating_async(*args: P.args, **kwargs: P.kwargs) -> Any:
                before = list(named.tags(args, kwargs))
                result = await call(*args, **kwargs)
                await sync_to_async(void)(before, args, kwargs, result)
                return result

            return cast("Callable[P, R]", invalidating_async)

        @functools.wraps(function)
        def invalidating(*args: P.args, **kwargs: P.kwargs) -> R:
            before = list(named.tags(args, kwargs))
            result = function(*args, **kwargs)
            void(before, args, kwargs, result)
            return result

        return invalidating

    return decorate


class _Voided:
    """What calls of one function make void.

    Attributes:
        function: Its dotted name.

    Raises:
        KeyTemplateError: A placeholder does not fit the function.
    """

    def __init__(self, function: Callable[..., Any], patterns: Sequence[str], tags: Sequence[str]) -> None:
        self._parameters = Parameters(function)
        self.function = self._parameters.function
        self._patterns = [self._fitting(pattern, PATTERN_TEXT) for pattern in patterns]
        self._tags = [self._fitting(tag) for tag in tags]

    def tags(self, args: tuple[Any, ...], kwargs: dict[str, Any], **result: Any) -> Iterator[str]:
        """Yield the tags of what a call names; an attribute that is not there (yet, any more) names nothing."""
        values: Mapping[str, Any] = {**result, **self._parameters.bound(args, kwargs).arguments}
        for pattern in self._patterns:
            if (path := _written(pattern.path, pattern, values)) is not None:
                yield tag_of_written(path)
        for tag in self._tags:
            if (text := _written(tag.text_of, tag, values)) is not None:
                yield project_tag(text)

    def _fitting(self, text: str, literal: re.Pattern[str] | None = None) -> Template:
        parameters = [*self._parameters.names, RESULT]
        return Template(text, function=self.function, parameters=parameters, literal=literal)


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
