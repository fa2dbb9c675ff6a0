"""A value that is made elsewhere than in a database, and kept where that can be done.

A hit by its key path is `cache.get`.
Unlike `cache.set`, an offer takes nothing's place: where it cannot be kept, what is there stands, and no write is
needed to say so.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable

from perfkit.caching.coherence import breaker
from perfkit.caching.named.cache import cache, named_by_hand
from perfkit.caching.named.entries import NamedEntry, body_of
from perfkit.caching.named.heads import head_of
from perfkit.caching.named.packing import packed_value
from perfkit.caching.store import StoreError, current_store
from perfkit.caching.telling import tell_read
from perfkit.caching.values import UnstorableError
from perfkit.conf import options


class Offer:
    """One value, from before it is made until it is kept: what was voided meanwhile is not shown.

    Attributes:
        standing: The same for all who have begun since the last voiding; empty where nobody can be asked.

    Args:
        key: The key path.
        tags: Names by which it can be voided.

    Raises:
        CacheKeyError: It is no key path, or a tag is none.
    """

    def __init__(self, key: str, *, tags: Iterable[str]) -> None:
        self.standing = ""
        self._named = named_by_hand(key, tags)
        self._tokens: tuple[bytes, ...] = ()

    def begin(self) -> None:
        """Take the tokens of its tags; one round trip, none in an outage."""
        store = current_store() if options.CACHE_ENABLED and not breaker.rests else None
        if store is None:
            return
        try:
            self._tokens = store.take(self._named.tags)
        except StoreError as error:
            breaker.failed(str(error))
            return
        self.standing = hashlib.blake2b(b" ".join(self._tokens), digest_size=8).hexdigest()

    def keep(self, value: object, *, ttl_seconds: int) -> bool:
        """Keep the value, if that can be done; return whether it was sent to the store. Two round trips.

        What was voided since `begin` is not sent: a newer one may stand there.
        """
        store = current_store() if options.CACHE_ENABLED and not breaker.rests else None
        if store is None or not self._tokens:
            return False
        key, tags = self._named.key, self._named.tags
        ends = time.time() + ttl_seconds
        try:
            body = body_of(key, NamedEntry("v", packed_value(value), tags, ends, ends, 0.0))
            if store.tokens(tags) != self._tokens:
                return False
            store.fill({key: head_of(tags, self._tokens) + body}, ttl_seconds=ttl_seconds)
        except UnstorableError as error:
            tell_read(cache, "bypass", error.reason, key=key, tags=tags)
            return False
        except StoreError as error:
            breaker.failed(str(error))
            return False
        return True
