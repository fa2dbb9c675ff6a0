"""The cache in the hands of people: what a name stands for, and how to void it for every process."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from django.apps import apps
from django.db import Error, connections, router, transaction
from django.db.models import Model

from perfkit.caching.coherence import breaker, outbox
from perfkit.caching.databases import is_watchable, tag_scope
from perfkit.caching.memory import memory
from perfkit.caching.named.names import EVERYTHING, project_tag, tag_of_pattern
from perfkit.caching.outbox import MOST_TAGS, OutboxMissingError
from perfkit.caching.registry import cached_models, owners, table_name, tracked_tables
from perfkit.caching.scope import forget_all_everywhere, forget_everywhere
from perfkit.caching.store import Store, StoreError, current_store
from perfkit.caching.tags import database_of, table_tag, with_any_write
from perfkit.caching.tokens import new_writer
from perfkit.errors import CacheUnreachableError, UnknownTagError

SPELLINGS: Final = {"tag:": project_tag, "key:": tag_of_pattern}
"""How people write tags of their own, and keys of functions or patterns of them; and what these are as tags."""

OF_TABLES: Final = re.compile(r"[abcr]:[0-9a-f]{12}:.+", re.DOTALL)
OF_PEOPLE: Final = re.compile(r"[tkn]:.*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Invalidation:
    """How what was to be voided was told.

    Args:
        is_told: Whether the cache server has heard of it: every read that starts from now on sees it.
        kept_in: The databases in whose outbox it waits instead, by their aliases.
            Every process finds it there within a second, and voids it before it trusts the cache again.
        problem: Why the server has not heard of it.
    """

    is_told: bool
    kept_in: tuple[str, ...] = ()
    problem: str = ""


def tags_named(name: str) -> frozenset[str]:
    """Return the tags that everything which is meant by `name` depends on.

    Args:
        name: A model as `app_label.Model`, `tag:NAME`, `key:PATH` or `key:PATTERN`, or a tag as the cache has it.

    Raises:
        UnknownTagError: It is none of these.
        CacheKeyError: What follows `key:` is no key path.
    """
    for spelling, tag_of in SPELLINGS.items():
        if name.startswith(spelling) and name != spelling:
            return frozenset([tag_of(name.removeprefix(spelling))])
    if OF_TABLES.fullmatch(name) or OF_PEOPLE.fullmatch(name):
        return frozenset([name])
    model = model_named(name)
    if model is None:
        raise UnknownTagError(name, cached_labels())
    return tags_of_model(model)


def model_named(name: str) -> type[Model] | None:
    """Return the model of that label, None where there is none."""
    try:
        return apps.get_model(name)
    except (LookupError, ValueError):
        return None


def cached_labels() -> list[str]:
    """Return the labels of the models that have a `CachedManager`, sorted."""
    return sorted(model._meta.label for model in cached_models())


def databases_of(model: type[Model]) -> list[str]:
    """Return the aliases of the databases that rows of a model may be in."""
    return [alias for alias in _watchable() if router.allow_migrate_model(alias, model)]


def tags_of_model(model: type[Model]) -> frozenset[str]:
    """Return the tags of all tables that hold rows of a model, in every database that it lives in."""
    tables = {
        table_tag(tag_scope(connections[alias]), table_name(owner))
        for alias in databases_of(model)
        for owner in owners(model)
    }
    return frozenset(with_any_write(tables))


def tags_of_tables() -> frozenset[str]:
    """Return the tags of all tables that cached reads look into, in every database."""
    tables = {table_tag(scope, name) for scope in _aliases() for name in tracked_tables()}
    return frozenset(with_any_write(tables))


def invalidate(tags: Collection[str]) -> Invalidation:
    """Void everything that depends on one of `tags`, for every process.

    Queries:
        None, and one round trip for each thousand tags.
        Where the server does not answer, one INSERT in each database that the tags are of.
    """
    ordered = sorted(tags)

    def void(store: Store) -> None:
        for start in range(0, len(ordered), MOST_TAGS):
            store.void(ordered[start : start + MOST_TAGS])

    try:
        problem = _told(void)
    finally:
        forget_everywhere(ordered)
    return _kept(ordered, problem) if problem else Invalidation(is_told=True)


def invalidate_all() -> Invalidation:
    """Void everything that is cached, for every process.

    Queries:
        None, and two round trips for each thousand keys on the server; else as `invalidate`.
    """
    try:
        problem = _told(lambda store: store.void_all())
    finally:
        memory.clear()
        forget_all_everywhere()
    return _kept(sorted(tags_of_tables() | {EVERYTHING}), problem) if problem else Invalidation(is_told=True)


def drain() -> list[str]:
    """Tell the cache server what waits in the outbox of each database; return the aliases of those that have one.

    Raises:
        CacheUnreachableError: It does not answer; what waits goes on waiting.

    Queries:
        One for each database and 500 notices, and one that removes them.
    """
    store = current_store()
    if store is None:
        return []
    drained = []
    for alias in _watchable():
        try:
            outbox.tell(connections[alias], store)
        except OutboxMissingError:
            continue
        except StoreError as error:
            breaker.failed(str(error))
            raise CacheUnreachableError(f"{error}; what waits in the outbox goes on waiting.") from error
        drained.append(alias)
    return drained


def _told(void: Callable[[Store], None]) -> str:
    """Have the store void something; return why it has not heard, an empty text where it has."""
    store = current_store()
    if store is None:
        return ""  # nothing is stored anywhere
    if not breaker.allows():
        return "it has not answered lately"
    try:
        void(store)
    except StoreError as error:
        breaker.failed(str(error))
        return str(error)
    breaker.succeeded()
    return ""


def _kept(tags: Collection[str], problem: str) -> Invalidation:
    """Leave tags in the outbox of each database that they are of, in transactions of their own.

    Where there is no outbox yet (its migration has not run) no reader trusts the cache, so none need be told.
    """
    kept = []
    for scope, aliases in _aliases().items():
        own = [tag for tag in tags if not OF_TABLES.fullmatch(tag) or database_of(tag) == scope]
        if own and (alias := _kept_in_one(aliases, own, problem)):
            kept.append(alias)
    return Invalidation(is_told=False, kept_in=tuple(kept), problem=problem)


def _kept_in_one(aliases: Sequence[str], tags: Iterable[str], problem: str) -> str:
    """Leave tags in the outbox of a database, by the first of the ways to it that takes them; return that.

    Raises:
        CacheUnreachableError: None does.
    """
    refusal: Error | None = None
    for alias in aliases:
        try:
            with transaction.atomic(using=alias):
                outbox.put(connections[alias], tags, writer=new_writer())
        except OutboxMissingError:
            return ""
        except Error as error:  # a replica, say
            refusal = error
        else:
            outbox.look_again(alias)
            return alias
    raise CacheUnreachableError(f"{problem}; nor could it be left in the outbox: {refusal}") from refusal


def _aliases() -> dict[str, list[str]]:
    """Return the ways to each database, by what tags call it."""
    aliases: dict[str, list[str]] = {}
    for alias in _watchable():
        aliases.setdefault(tag_scope(connections[alias]), []).append(alias)
    return aliases


def _watchable() -> list[str]:
    return [alias for alias in connections if is_watchable(connections[alias])]
