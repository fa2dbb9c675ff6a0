"""`cached`: functions and methods whose answers are kept, and never stale."""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, Final, Generic, ParamSpec, Protocol, TypeVar, overload

from asgiref.sync import async_to_sync, iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.db import connections, router
from django.db.models import Model

from perfkit.caching.databases import tag_scope
from perfkit.caching.functions.arguments import Bound, Parameters, mark_of
from perfkit.caching.functions.renewal import renew
from perfkit.caching.functions.results import FunctionCodec, Raised
from perfkit.caching.functions.templates import Template
from perfkit.caching.locks import fork_safe_lock
from perfkit.caching.named.answers import Kept, aanswer, akept, answer, aremade, kept, remade
from perfkit.caching.named.contexts import Context, context_name, current_context
from perfkit.caching.named.held import MISSING, known_value
from perfkit.caching.named.invalidation import void_with_transaction
from perfkit.caching.named.names import (
    KEY_TEXT,
    LONGEST_NAME,
    checked_path,
    namespace_tag,
    own_tag,
    path_part,
    project_tag,
    tags_of_path,
    within_length,
)
from perfkit.caching.named.reads import NamedRead
from perfkit.caching.named.recipes import Named, Recipe, named_key
from perfkit.caching.named.standing import Standing, current_standing
from perfkit.caching.queryset import checked_ttl
from perfkit.caching.registry import owners, table_name, tracked_tables
from perfkit.caching.tags import any_write_tag
from perfkit.conf import options
from perfkit.errors import CacheKeyError, UnsupportedModelError

P = ParamSpec("P")
R = TypeVar("R")

MOST_CALLS: Final = 5_000
"""Of one function, whose names are kept in a process; beyond, all are forgotten and found anew."""

_PLAIN: Final = frozenset({str, int, bool, type(None)})
"""Of these, equal values of one type are one argument."""

KeyBuilder = Callable[..., str]

_IS_ASKED_BY_CLASS_METHODS: Final = sys.version_info < (3, 13)
"""Whether `classmethod` asks what it wraps for a method of the class; since 3.13 it only makes calls of it."""


class CachedFunction(Generic[P, R]):
    """A function whose answers are kept; see `cached`.

    Attributes:
        name: Dotted; what statistics and keys call it.

    Args:
        is_class_method: Whether its first argument is the class that it is found on.
    """

    def __init__(
        self,
        function: Callable[P, R],
        *,
        recipe: Recipe,
        naming: Naming,
        errors: tuple[type[Exception], ...],
        is_class_method: bool = False,
    ) -> None:
        functools.update_wrapper(self, function)
        self.name = naming.name
        self._function = function
        self._naming = naming
        self._recipe = recipe
        self._errors = errors
        self._is_class_method = is_class_method
        self._body = {} if _IS_ASKED_BY_CLASS_METHODS or is_class_method else _class_body_of(function)
        recipe.sender = self
        if iscoroutinefunction(function):
            markcoroutinefunction(self)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Return the answer, from the cache where it holds."""
        standing = current_standing()
        named = self._naming.named(args, kwargs, standing)
        known = known_value(self._recipe, named, standing)
        if known is MISSING:
            make = partial(self._make, *args, **kwargs)
            due = self._renewal(named, make) if self._recipe.refreshes_ahead else None
            known = answer(self._recipe, named, make, standing, due)
        return self._shown(known)

    def __reduce__(self) -> str:
        """Be found by name, as functions are: in pickles, copies and migrations."""
        return str(vars(self)["__qualname__"])

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        """Return the method of `instance`; of a class, the function, unless it is a class method."""
        if self._is_class_method:
            return BoundFunction(self, type(instance) if owner is None else owner)
        return self if instance is None else BoundFunction(self, instance)

    def key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """Return the key path of a call, as `cache` and `invalidate` take it."""
        self._require_class()
        return self._naming.named(args, kwargs).path

    def invalidate(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Void the answer to a call, and without arguments all answers of the function.

        Inside a transaction that happens with its COMMIT.
        """
        if args or kwargs:
            self._require_class()
        void_with_transaction(self._naming.tags_to_void(args, kwargs))

    async def ainvalidate(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Void answers as `invalidate` does."""
        await sync_to_async(self.invalidate)(*args, **kwargs)

    def refresh(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function, keep what it returns in the place of what is there, and return it."""
        self._require_class()
        named = self._naming.named(args, kwargs)
        return self._shown(remade(self._recipe, named, partial(self._make, *args, **kwargs)))

    def kept_answer(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Return the answer if the cache has one that holds, else `MISSING`; the function is not called.

        Queries:
            At most two round trips.
        """
        self._require_class()
        standing = current_standing()
        named = self._naming.named(args, kwargs, standing)
        known = known_value(self._recipe, named, standing)
        if known is MISSING:
            read = NamedRead(self._recipe, named)
            read.glance()
            known = read.value
        return MISSING if isinstance(known, Raised) else known

    @property
    def recipe(self) -> Recipe:
        """What all answers of the function have in common."""
        return self._recipe

    def named(self, *args: P.args, **kwargs: P.kwargs) -> Named:
        """Return what a call is named, and where its answer is kept, for warming."""
        self._require_class()
        return self._naming.named(args, kwargs)

    def kept(self, named: Named, args: Any, kwargs: Any, *, replaces: bool) -> Kept:
        """Call the function and keep what it returns, for warming; a call whose answer cannot be kept is not made.

        Args:
            named: What the call is named.
            replaces: Whether what other processes hold of it is void.
        """
        return kept(self._recipe, named, partial(self._make, *args, **kwargs), replaces=replaces)

    def uncached(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself."""
        self._require_class()
        return self._function(*args, **kwargs)

    def _require_class(self) -> None:
        """Raise TypeError where `@classmethod` stands above, and so nobody has said of which class the call is."""
        if self._is_below_class_method:
            raise TypeError(
                f"Put @cached above @classmethod: from Python 3.13, what is below @classmethod does not learn "
                f"which class {self.name} is asked of, except when it is called."
            )

    @cached_property
    def _is_below_class_method(self) -> bool:
        body, self._body = self._body, {}
        return any(isinstance(each, classmethod) and each.__func__ is self for each in body.values())

    def _make(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return self._function(*args, **kwargs)
        except self._errors as error:
            return Raised.kept(error, self._errors)

    def _shown(self, value: Any) -> R:
        if isinstance(value, Raised):
            raise value.error
        return value  # type: ignore[no-any-return]  # it is what the function has returned

    def _renewal(self, named: Named, make: Callable[[], Any]) -> Callable[[], None]:
        return partial(
            renew, named.key, self.name, partial(remade, self._recipe, named, make, replaces=False)
        )


class AsyncCachedFunction(CachedFunction[P, Any]):
    """A coroutine function whose answers are kept; see `cached`."""

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Return the answer, from the cache where it holds."""
        name = partial(self._naming.named, args, kwargs)
        make = partial(self._make, *args, **kwargs)
        renewal = partial(self._renewal, make=make) if self._recipe.refreshes_ahead else None
        return self._shown(await aanswer(self._recipe, name, make, renewal))

    async def refresh(self, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Call the function, keep what it returns in the place of what is there, and return it."""
        self._require_class()
        named = await sync_to_async(self._naming.named)(args, kwargs)
        return self._shown(await aremade(self._recipe, named, partial(self._make, *args, **kwargs)))

    def kept(self, named: Named, args: Any, kwargs: Any, *, replaces: bool) -> Kept:
        """Have the coroutine run, and keep what it returns, as `CachedFunction.kept` does."""
        make = partial(self._make, *args, **kwargs)
        return async_to_sync(akept)(self._recipe, named, make, replaces=replaces)

    async def _make(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return await self._function(*args, **kwargs)
        except self._errors as error:
            return Raised.kept(error, self._errors)

    def _renewal(self, named: Named, make: Callable[[], Awaitable[Any]]) -> Callable[[], None]:
        def made() -> Any:
            # Not `asyncio.run`: the steps that ask the database are to run in this thread, which closes what they
            # open, and not in one of the request whose context this is.
            return async_to_sync(aremade)(self._recipe, named, make, replaces=False)

        return partial(renew, named.key, self.name, made)


class BoundFunction:
    """A cached method of one instance, or one class: the function with its first argument given."""

    __slots__ = ("__self__", "__weakref__", "_cached")

    def __init__(self, cached: CachedFunction[..., Any], instance: object) -> None:
        self._cached = cached
        self.__self__ = instance

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the answer, from the cache where it holds."""
        return self._cached(self.__self__, *args, **kwargs)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BoundFunction):
            return NotImplemented
        return self.__self__ is other.__self__ and self._cached is other._cached

    def __hash__(self) -> int:
        return hash((id(self.__self__), id(self._cached)))

    def __reduce__(self) -> Any:
        """Be the method of a copy of the instance."""
        return getattr, (self.__self__, self._cached.__name__)  # type: ignore[attr-defined]  # as functions have it

    def invalidate(self, *args: Any, **kwargs: Any) -> None:
        """Void the answer to a call, and without arguments all answers of the method, whosever they are."""
        self._cached.invalidate(*((self.__self__, *args) if args or kwargs else ()), **kwargs)

    async def ainvalidate(self, *args: Any, **kwargs: Any) -> None:
        """Void answers as `invalidate` does."""
        await sync_to_async(self.invalidate)(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        """Return what the function has, with the instance as its first argument where it is called."""
        found = getattr(self._cached, name)
        if name in {"key", "refresh", "uncached"}:
            return partial(found, self.__self__)
        return found


class Naming:
    """What calls of one function are named, and what they depend on by declaration."""

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        key: str | KeyBuilder | None,
        tags: Sequence[str],
        depends_on: Sequence[type[Model]],
        version: object,
    ) -> None:
        self._parameters = Parameters(function)
        self.name = self._parameters.function
        self._version = version
        self._depends_on = tuple(depends_on)
        self._builder = key if callable(key) else None
        self._template: Template | None = None
        self._unnamed = list(self._parameters.names)
        if isinstance(key, str):
            self._template = self._fitting(key, KEY_TEXT)
            self._unnamed = [name for name in self._unnamed if name not in self._template.parameters]
        self._own_mark = mark_of(function)
        # Without a key, the namespace of its paths is the function's alone.
        self._own_path = path_part(self.name, longest=LONGEST_NAME)
        own_namespace = namespace_tag(self._own_path)
        self._function_tag = own_namespace if key is None else project_tag(f"function:{self.name}")
        self._tags = [self._fitting(tag) for tag in tags]
        self._calls: dict[Any, Named] = {}
        self._lock = fork_safe_lock()

    def named(self, args: tuple[Any, ...], kwargs: dict[str, Any], standing: Standing | None = None) -> Named:
        """Return what a call is named.

        Args:
            standing: How the thread stands, where that is known.

        Raises:
            TypeError: The function does not take these arguments.
            UncacheableArgumentError: One of them names no call.
            UnsupportedModelError: Nobody watches what is written to a model that the function depends on.
        """
        context, short = current_context() if standing is None else standing.context, None
        if (
            self._builder is None
            and _PLAIN.issuperset(map(type, args))
            and (not kwargs or _PLAIN.issuperset(map(type, kwargs.values())))
        ):
            short = (args, *map(type, args), context)
            if kwargs:
                short = (*short, *kwargs.items(), *map(type, kwargs.values()))
            known = self._calls.get(short)
            if known is not None:
                return known
        named = self._found(args, kwargs, context)
        if short is not None:
            with self._lock:
                if len(self._calls) >= MOST_CALLS:
                    self._calls.clear()
                self._calls[short] = named
        return named

    def tags_to_void(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[str]:
        """Return the tag of a call's answer; without arguments, that of all answers of the function."""
        if args or kwargs or not self._parameters.names:
            return [self.named(args, kwargs).tags[0]]
        return [self._function_tag]

    def _found(self, args: tuple[Any, ...], kwargs: dict[str, Any], context: Context) -> Named:
        bound = self._parameters.bound(args, kwargs)
        path, template_path, row_tags = self._path(bound, args, kwargs)
        tags = (
            *tags_of_path(path),
            own_tag(within_length(template_path)),
            self._function_tag,
            *[project_tag(tag.text_of(bound.arguments)) for tag in self._tags],
            *self._declared_tags(),
            *row_tags,
        )
        path = within_length(path)
        key = named_key(path, context_name(context, self.name, self._version, self._own_mark))
        return Named(path, key, tuple(dict.fromkeys(tags)))

    def _path(
        self, bound: Bound, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[str, str, tuple[str, ...]]:
        """Return the path of a call, the part of it that the template says, and the tags of rows in arguments.

        Paths of any length.
        """
        if self._builder is not None:
            path = checked_path(self._builder(*args, **kwargs))
            return path, path, ()
        path = self._own_path if self._template is None else self._template.path(bound.arguments)
        if not self._unnamed:
            return path, path, ()
        digest, row_tags = bound.digest(self._unnamed)
        return f"{path}:{digest}", path, row_tags

    def _declared_tags(self) -> Iterable[str]:
        for model in self._depends_on:
            scope = tag_scope(connections[router.db_for_write(model)])
            for owner in owners(model):
                if table_name(owner) not in tracked_tables():
                    raise UnsupportedModelError(
                        model._meta.label,
                        f"cached(depends_on=…) of {self.name}",
                        f"nobody watches what is written to {owner._meta.db_table}: give its model a "
                        "CachedManager, or name it in PERFKIT['CACHE_MODELS'].",
                    )
                yield any_write_tag(scope, table_name(owner))

    def _fitting(self, text: str, literal: re.Pattern[str] | None = None) -> Template:
        return Template(text, function=self.name, parameters=self._parameters.names, literal=literal)


class _Decorator(Protocol):
    @overload
    def __call__(self, function: Callable[P, R], /) -> CachedFunction[P, R]: ...

    @overload
    def __call__(self, function: classmethod[Any, P, R], /) -> CachedFunction[P, R]: ...


def cached(
    key: str | KeyBuilder | None = None,
    *,
    ttl: int | None = None,
    tags: Sequence[str] = (),
    depends_on: Sequence[type[Model]] = (),
    records: bool = True,
    keep_none: bool = False,
    keep_errors: Sequence[type[Exception]] = (),
    negative_ttl: int | None = None,
    refresh_ahead: bool = False,
    stale_ttl: int = 0,
    pickle: bool = False,
    version: object = "",
) -> _Decorator:
    """Keep what a function or a method returns, until something that it was made from is written.

    What it reads while it runs is seen, cached functions within it included, and the tables become its tags:
    a call that starts after a commit has returned to its writer never yields an older answer.
    Of many that miss a slow answer together one computes it, and the others wait for it.
    The answer is a new object for each caller, unless nobody can change it.
    It is kept apart for each language and time zone that Django has active.

    Args:
        key: A template of key paths, `"airport:stats:{airport_id}"`, or what makes a path of the arguments.
            Parameters that a template does not name are told apart all the same, by a digest.
            Where left out, all are.
        ttl: Seconds an answer lives; `PERFKIT["CACHE_DEFAULT_TTL"]` where left out.
        tags: Names by which answers can be voided, templates like `key`.
        depends_on: Models of whose tables each answer depends besides; see `CACHE_MODELS` for those without a
            `CachedManager`.
        records: Whether what it reads becomes its tags; else only `depends_on`, `tags` and `ttl` end answers.
        keep_none: Whether None is kept.
        keep_errors: Errors that are kept as answers when they are raised, and raised again.
        negative_ttl: Seconds that None and errors live; `ttl` where left out.
        refresh_ahead: Whether one caller of all processes has the answer made anew in the background in the last
            fifth of its time, while all others get the present one.
        stale_ttl: Seconds for which others get the former answer while one makes a new one, rather than wait.
            Within them the promise does not hold.
        pickle: Whether results that are not plain are pickled, and signed with `SECRET_KEY`.
        version: Another one is another function: what was kept before is not read.

    Raises:
        KeyTemplateError: A template does not fit the function, or holds what a key may not.
        ValueError: A number of seconds is not a whole one, at least 1 (`stale_ttl`: 0).

    Queries:
        None on a hit (one round trip to the cache server, none where the request knows the answer),
        else those of the function.

    Example:
        @cached("airport:stats:{airport_id}", ttl=TTL.MEDIUM)
        def airport_stats(airport_id: int) -> dict[str, float]:
            return Flight.objects.filter(origin=airport_id).aggregate(mean=Avg("dep_delay"))

        airport_stats(7)
        airport_stats.refresh(7)
        airport_stats.invalidate(7)
    """
    if isinstance(tags, str):
        raise CacheKeyError(tags, f"tags are a list of texts, such as [{tags!r}]")
    seconds = None if ttl is None else checked_ttl(ttl)
    negative_seconds = seconds if negative_ttl is None else checked_ttl(negative_ttl)
    stale_seconds = checked_ttl(stale_ttl) if stale_ttl else 0
    errors = tuple(keep_errors)

    def ttl_seconds(value: Any) -> int:
        wanted = negative_seconds if value is None or isinstance(value, Raised) else seconds
        return options.CACHE_DEFAULT_TTL if wanted is None else wanted

    def decorate(function: Any = None, /, *others: object, **named: object) -> CachedFunction[Any, Any]:
        if not (callable(function) or isinstance(function, classmethod | staticmethod)) or others or named:
            raise TypeError("cached takes a function after its options: write @cached(), with parentheses.")
        if isinstance(function, staticmethod):
            raise TypeError("Put @staticmethod above @cached, not below.")
        is_class_method = isinstance(function, classmethod)
        if is_class_method:
            function = function.__func__
        naming = Naming(function, key=key, tags=tags, depends_on=depends_on, version=version)
        recipe = Recipe(
            naming.name,
            sender=function,
            ttl_seconds=ttl_seconds,
            stale_seconds=stale_seconds,
            refreshes_ahead=refresh_ahead,
            records=records,
            wants=lambda value: keep_none or value is not None,
            codec=FunctionCodec(function, name=naming.name, errors=errors, pickles=pickle),
        )
        kind: Any = AsyncCachedFunction if iscoroutinefunction(function) else CachedFunction
        made: CachedFunction[Any, Any] = kind(
            function, recipe=recipe, naming=naming, errors=errors, is_class_method=is_class_method
        )
        return made

    return decorate


def _class_body_of(function: Callable[..., Any]) -> Mapping[str, Any]:
    """Return the names of the class body in which a function is being decorated; none where it is in none."""
    body = function.__qualname__.rpartition(".")[0]
    frame = sys._getframe(1) if body and not body.endswith(">") else None  # noqa: SLF001  # no public name
    while frame is not None:
        if frame.f_code.co_qualname == body:
            return frame.f_locals
        frame = frame.f_back
    return {}
