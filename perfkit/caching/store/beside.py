"""What is kept beside a store: on its server where it has one, else inside the process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from perfkit.caching.locks import fork_safe_lock
from perfkit.caching.store import ScriptedStore, Store, current_store

T = TypeVar("T")


class Beside(Generic[T]):
    """One thing for each store.

    Args:
        on_server: Makes what speaks to the store's server.
        in_process: Makes what has all of it in this process.
    """

    def __init__(self, *, on_server: Callable[[ScriptedStore], T], in_process: Callable[[], T]) -> None:
        self._on_server = on_server
        self._in_process = in_process
        self._nowhere = in_process()
        self._local: WeakKeyDictionary[Store, T] = WeakKeyDictionary()
        self._lock = fork_safe_lock()

    def current(self) -> T:
        """Return that of the cache alias.

        Raises:
            SettingsError: The alias does not exist, or its back end is none that perfkit speaks to.
        """
        store = current_store()
        if isinstance(store, ScriptedStore):
            return self._on_server(store)
        if store is None:  # Django's dummy cache
            return self._nowhere
        with self._lock:
            found = self._local.get(store)
            if found is None:
                found = self._local[store] = self._in_process()
            return found
