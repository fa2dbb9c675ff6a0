"""Single flight: of all who ask the same at the same time one asks the model, and the others get what came of it.

The lease is renewed by a thread while the call goes on, however long that takes.
A dead process leaves it for seconds.
What came of a flight is told, for a while, to those who waited for it, by its own id.
Nobody who comes later sees it.
"""

from __future__ import annotations

import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from perfkit.caching.coherence import breaker
from perfkit.caching.locks import fork_safe_lock
from perfkit.caching.store import ScriptedStore, StoreError, current_store
from perfkit.caching.store.packing import Words
from perfkit.caching.store.scripts import ScriptForms

LEASE_SECONDS: Final = 6.0
RENEWALS_IN_A_LEASE: Final = 3
TOLD_SECONDS: Final = 20.0
GOES_ON: Final = ""
GONE: Final = "-"

_JOIN, _RENEW, _LAND, _LOOK = (
    ScriptForms.loaded(name, package=__package__) for name in ("join", "renew", "land", "look")
)


class Flights(ABC):
    """Who asks what at this moment. Each method may raise StoreError where it is one round trip."""

    @abstractmethod
    def join(self, name: str, own_id: str) -> str:
        """Return the id of who has the flight: one's own where nobody had it."""

    @abstractmethod
    def renew(self, name: str, own_id: str) -> None:
        """Keep the flight for another lease, if it is still one's own."""

    @abstractmethod
    def land(self, name: str, own_id: str, outcome: str) -> None:
        """End one's flight, and tell those who wait what came of it; nothing where they are to ask themselves."""

    @abstractmethod
    def look(self, name: str, leader: str) -> str:
        """Return what came of a flight, `GOES_ON`, or `GONE` where nobody will tell."""


class ServerFlights(Flights):
    """Those of all processes."""

    def __init__(self, store: ScriptedStore) -> None:
        self._store = store

    def join(self, name: str, own_id: str) -> str:
        """Join as the contract says."""
        words = Words.of(own_id, int(LEASE_SECONDS * 1000))
        return _text(self._store.run_script(_JOIN, [_key(name)], words))

    def renew(self, name: str, own_id: str) -> None:
        """Renew as the contract says."""
        self._store.run_script(_RENEW, [_key(name)], Words.of(own_id, int(LEASE_SECONDS * 1000)))

    def land(self, name: str, own_id: str, outcome: str) -> None:
        """Land as the contract says."""
        words = Words.of(own_id, outcome, int(TOLD_SECONDS * 1000))
        self._store.run_script(_LAND, [_key(name), f"{_key(name)}:{own_id}"], words)

    def look(self, name: str, leader: str) -> str:
        """Look as the contract says."""
        return _text(self._store.run_script(_LOOK, [_key(name), f"{_key(name)}:{leader}"], Words.of(leader)))


class LocalFlights(Flights):
    """Those of this process; its leader cannot die alone, so there are no leases."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock = fork_safe_lock()
        self._leaders: dict[str, str] = {}
        self._outcomes: dict[tuple[str, str], tuple[str, float]] = {}
        self._clock = clock

    def join(self, name: str, own_id: str) -> str:
        """Join as the contract says."""
        with self._lock:
            return self._leaders.setdefault(name, own_id)

    def renew(self, name: str, own_id: str) -> None:
        """Do nothing."""

    def land(self, name: str, own_id: str, outcome: str) -> None:
        """Land as the contract says."""
        with self._lock:
            now = self._clock()
            self._outcomes = {key: told for key, told in self._outcomes.items() if told[1] > now}
            if outcome:
                self._outcomes[name, own_id] = outcome, now + TOLD_SECONDS
            if self._leaders.get(name) == own_id:
                del self._leaders[name]

    def look(self, name: str, leader: str) -> str:
        """Look as the contract says."""
        with self._lock:
            outcome = self._outcomes.get((name, leader))
            if outcome is not None:
                return outcome[0]
            return GOES_ON if self._leaders.get(name) == leader else GONE


_local: Final = LocalFlights()


def current_flights() -> Flights:
    """Return those of all processes where the cache server answers, else those of this one."""
    store = current_store()
    return ServerFlights(store) if isinstance(store, ScriptedStore) and breaker.allows() else _local


class Flight:
    """One's own part in one flight; where the server fails meanwhile it goes on alone."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._id = uuid.uuid4().hex
        self._flights: Flights = _local
        self._leader = ""

    def join(self) -> bool:
        """Return whether one has to ask the model oneself."""
        self._flights = current_flights()
        try:
            self._leader = self._flights.join(self._name, self._id)
        except StoreError as error:
            breaker.failed(str(error))
            self._flights = _local
            self._leader = self._flights.join(self._name, self._id)
        return self._leader == self._id

    def look(self) -> str:
        """Return what came of the flight of another one; see `Flights.look`."""
        try:
            return self._flights.look(self._name, self._leader)
        except StoreError as error:
            breaker.failed(str(error))
            return GONE

    def land(self, outcome: str) -> None:
        """End one's own flight."""
        try:
            self._flights.land(self._name, self._id, outcome)
        except StoreError as error:
            breaker.failed(str(error))  # the lease ends by itself

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Renew the lease within the block, by a thread."""
        is_over = threading.Event()
        thread = threading.Thread(target=self._renew, args=(is_over,), name="perfkit-flight", daemon=True)
        thread.start()
        try:
            yield
        finally:
            is_over.set()

    def _renew(self, is_over: threading.Event) -> None:
        while not is_over.wait(LEASE_SECONDS / RENEWALS_IN_A_LEASE):
            try:
                self._flights.renew(self._name, self._id)
            except StoreError as error:
                breaker.failed(str(error))


def _key(name: str) -> str:
    return f"flight:{{{name}}}"


def _text(answer: bytes | str) -> str:
    return answer.decode() if isinstance(answer, bytes) else answer
