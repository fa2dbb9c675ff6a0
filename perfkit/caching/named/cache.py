"""`cache`: values kept by hand under key paths, with tags, on the same terms as everything else in the cache.

A value that was replaced, deleted or voided is not shown by any process from then on.
While the cache server does not answer there is nothing: `get` returns its default, and `set` returns False.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.db import transaction

from perfkit.caching.coherence import breaker
from perfkit.caching.named.answers import aanswer, answer
from perfkit.caching.named.entries import NamedEntry, body_of
from perfkit.caching.named.glances import glances
from perfkit.caching.named.held import MISSING, known_value
from perfkit.caching.named.invalidation import open_transactions, void_now, void_with_transaction
from perfkit.caching.named.names import (
    checked_path,
    own_tag,
    project_tag,
    project_tags,
    tag_of_pattern,
    tags_of_path,
)
from perfkit.caching.named.packing import packed_value
from perfkit.caching.named.reads import NamedRead
from perfkit.caching.named.recipes import Named, Recipe, named_key
from perfkit.caching.named.standing import Standing, current_standing
from perfkit.caching.named.straight import straight
from perfkit.caching.queryset import checked_ttl
from perfkit.caching.recorder import current_recorder
from perfkit.caching.scope import forget_everywhere
from perfkit.caching.store import Put, StoreError, current_store
from perfkit.caching.telling import read_begins, tell_read
from perfkit.caching.trust import warn_once
from perfkit.caching.values import UnstorableError
from perfkit.conf import options
from perfkit.errors import UncacheableResultError
from perfkit.signals import NOBODYS, work

CONTEXT: Final = "hand"
"""Stands in the keys where functions have their languages and databases: these values are the same in all."""

NAME: Final = "perfkit.cache"


class Cache:
    """Values by key path; see the module. `perfkit.caching.cache` is the one there is."""

    name = NAME

    def get(self, key: str, default: Any = None) -> Any:
        """Return what is kept under a key, else `default`.

        Raises:
            CacheKeyError: It is no key path.

        Queries:
            One round trip, none where the request knows the value.
        """
        named = named_by_hand(key)
        recipe = _recipe(options.CACHE_DEFAULT_TTL)
        standing = current_standing()
        known = known_value(recipe, named, standing)
        if known is MISSING:
            known = _glanced(recipe, named, standing)
        return default if known is MISSING else known

    def get_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """Return what is kept under keys, by key; those under which nothing is are left out.

        Queries:
            One round trip, however many keys.
        """
        begun = read_begins()
        names = {key: named_by_hand(key).key for key in keys}
        with work.begin("cache.read", self, keys=len(names)) as doing:
            found = glances(names) if names else {}
            doing.tell(hits=len(found))
        for key, name in names.items():
            if key in found:
                tell_read(self, "hit", key=name, tags=(own_tag(key),), tier="store", begun=begun)
            else:
                tell_read(self, "miss", key=name, tags=(own_tag(key),), begun=begun)
        recorder = current_recorder()
        if recorder is not None and len(found) < len(names):
            recorder.refuse("missing key")  # nobody tells when it is set
        return found

    def set(self, key: str, value: Any, *, ttl: int | None = None, tags: Iterable[str] = ()) -> bool:
        """Keep a value under a key; return whether it is kept.

        It is replaced at once, also inside a transaction.

        Args:
            ttl: Seconds it lives; `PERFKIT["CACHE_DEFAULT_TTL"]` where left out.
            tags: Names by which it can be voided.

        Raises:
            CacheKeyError: It is no key path, or a tag is none.
            UncacheableResultError: The value would not come back the same.

        Queries:
            One round trip.
        """
        return self.set_many({key: value}, ttl=ttl, tags=tags)

    def set_many(
        self, values: Mapping[str, Any], *, ttl: int | None = None, tags: Iterable[str] = ()
    ) -> bool:
        """Keep values by key, as `set` does, all with the same tags; return whether they are kept.

        Queries:
            One round trip, however many values.
        """
        seconds = options.CACHE_DEFAULT_TTL if ttl is None else checked_ttl(ttl)
        puts = {}
        for key, value in values.items():
            named = named_by_hand(key, tags)
            try:
                ends = time.time() + seconds
                entry = NamedEntry("v", packed_value(value), named.tags, ends, ends, 0.0)
                puts[named.key] = Put(named.tags[0], named.tags, body_of(named.key, entry))
            except UnstorableError as error:
                if error.reason != "size":
                    raise UncacheableResultError(f"{NAME}.set({key!r})", error.reason) from error
                warn_once(f"the value of {key} cannot be kept: it is larger than a megabyte.")
                void_now([named.tags[0]])
                tell_read(self, "bypass", "size", key=named.key, tags=named.tags)
        store = current_store() if options.CACHE_ENABLED else None
        if store is None or not puts:
            return False
        own_tags = [put.own_tag for put in puts.values()]
        if not breaker.allows():
            void_now(own_tags)
            return False
        try:
            store.put(puts, ttl_seconds=seconds)
        except StoreError as error:
            breaker.failed(str(error))
            void_now(own_tags)  # of what was there before, for nothing has taken its place
            return False
        forget_everywhere([put.own_tag for put in puts.values()])
        return len(puts) == len(values)

    def get_or_set(
        self, key: str, make: Callable[[], Any], *, ttl: int | None = None, tags: Iterable[str] = ()
    ) -> Any:
        """Return what is kept under a key; where nothing is, call `make`, keep what it returns, and return it.

        Of many that miss it together one calls it, and the others wait.
        What `make` reads becomes its tags, as in a cached function; what is there keeps the tags that it has.

        Queries:
            None where the request knows the value, one round trip on a hit.
        """
        seconds = options.CACHE_DEFAULT_TTL if ttl is None else checked_ttl(ttl)
        recipe, named = _recipe(seconds), named_by_hand(key, tags)
        standing = current_standing()
        known = known_value(recipe, named, standing)
        return answer(recipe, named, make, standing) if known is MISSING else known

    def delete(self, key: str) -> None:
        """Forget what is kept under a key, of functions with that key too.

        Inside a transaction that happens with its COMMIT.

        Queries:
            One round trip outside of transactions.
        """
        void_with_transaction([own_tag(checked_path(key))])

    def delete_many(self, keys: Iterable[str]) -> None:
        """Forget what is kept under keys, as `delete` does."""
        void_with_transaction([own_tag(checked_path(key)) for key in keys])

    def delete_pattern(self, pattern: str) -> int:
        """Forget what is kept under all keys that match a pattern; return how many there were on the server.

        What matches `airport:*` is void with one round trip, of functions with such keys too.
        Where a wildcard stands elsewhere, all below the parts before it is void.
        The memory that it took is given back by a SCAN; inside a transaction after its COMMIT, and 0 is returned.
        """
        void_with_transaction([tag_of_pattern(pattern)])
        aliases = open_transactions()
        for alias in aliases:
            transaction.on_commit(partial(self._drop, pattern), using=alias)
        return 0 if aliases else self._drop(pattern)

    def _drop(self, pattern: str) -> int:
        store = current_store() if options.CACHE_ENABLED and breaker.allows() else None
        if store is None:
            return 0
        try:
            return sum(store.drop(_matching(keys, pattern)) for keys in store.find(f"v:*:{pattern}"))
        except StoreError as error:
            breaker.failed(str(error))
            return 0

    def invalidate_tags(self, *tags: str) -> None:
        """Void everything that was kept with one of these tags, here or by functions.

        Inside a transaction that happens with its COMMIT.

        Queries:
            One round trip outside of transactions, however many tags and values.
        """
        void_with_transaction(map(project_tag, tags))

    async def aget(self, key: str, default: Any = None) -> Any:
        """Return what is kept under a key, as `get` does."""
        return await sync_to_async(self.get)(key, default)

    async def aget_many(self, keys: Iterable[str]) -> dict[str, Any]:
        """Return what is kept under keys, as `get_many` does."""
        return await sync_to_async(self.get_many)(list(keys))

    async def aset(self, key: str, value: Any, *, ttl: int | None = None, tags: Iterable[str] = ()) -> bool:
        """Keep a value, as `set` does."""
        return await sync_to_async(self.set)(key, value, ttl=ttl, tags=tags)

    async def aset_many(
        self, values: Mapping[str, Any], *, ttl: int | None = None, tags: Iterable[str] = ()
    ) -> bool:
        """Keep values, as `set_many` does."""
        return await sync_to_async(self.set_many)(values, ttl=ttl, tags=tags)

    async def aget_or_set(
        self,
        key: str,
        make: Callable[[], Awaitable[Any]],
        *,
        ttl: int | None = None,
        tags: Iterable[str] = (),
    ) -> Any:
        """Return what is kept under a key, as `get_or_set` does; `make` is a coroutine function."""
        seconds = options.CACHE_DEFAULT_TTL if ttl is None else checked_ttl(ttl)
        return await aanswer(_recipe(seconds), partial(named_by_hand, key, tags), make)

    async def adelete(self, key: str) -> None:
        """Forget what is kept under a key, as `delete` does."""
        await sync_to_async(self.delete)(key)

    async def adelete_many(self, keys: Iterable[str]) -> None:
        """Forget what is kept under keys, as `delete_many` does."""
        await sync_to_async(self.delete_many)(list(keys))

    async def adelete_pattern(self, pattern: str) -> int:
        """Forget what matches a pattern, as `delete_pattern` does."""
        return await sync_to_async(self.delete_pattern)(pattern)

    async def ainvalidate_tags(self, *tags: str) -> None:
        """Void what was kept with one of these tags, as `invalidate_tags` does."""
        await sync_to_async(self.invalidate_tags)(*tags)


cache: Final = Cache()


def _recipe(ttl_seconds: int) -> Recipe:
    return Recipe(
        NAME, sender=cache, ttl_seconds=lambda _: ttl_seconds, wants=lambda _: True, needs_tags=False
    )


def _glanced(recipe: Recipe, named: Named, standing: Standing | None) -> Any:
    """Return what the store has, MISSING where that is nothing that holds."""
    doing, looked = work.begin("cache.read", recipe.sender), None
    if doing is NOBODYS:
        known, looked = straight(recipe, named, standing)
        if known is not MISSING:
            return known
    read = NamedRead(recipe, named, looked=looked)
    with doing:
        read.glance()
    return read.value


def named_by_hand(key: str, tags: Iterable[str] = ()) -> Named:
    """Return where a value is that is kept by hand.

    Raises:
        CacheKeyError: It is no key path, or a tag is none.
    """
    path = checked_path(key)
    every = (*tags_of_path(path), *project_tags(tags))
    return Named(path, named_key(path, CONTEXT), tuple(dict.fromkeys(every)))


def _matching(keys: list[str], pattern: str) -> list[str]:
    return [key for key in keys if fnmatchcase(key.split(":", 2)[2], pattern)]
