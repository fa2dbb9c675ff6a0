"""What one request, or one task, knows of tokens: asked once, then remembered until it ends.

# Note [The promise within a scope]
Within a scope, a read yields nothing older than what was committed when the scope first asked for the tokens it
depends on; a write of this process makes every scope in it forget what it wrote, so that a request sees its own:
before the write, for an exception may come between its COMMIT and its end, and after it.
What it knows it shows again without looking whether the cache may be trusted.
So it remembers what was asked for after such a look (`Question`), and of what that look was for (`late_tags`).
Outside of any scope each read asks for its tokens anew.
"""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, NamedTuple

from perfkit.caching.locks import fork_safe_lock
from perfkit.caching.tokens import is_in_flight
from perfkit.making import own_of_a_run

MOST_RECENT: Final = 64
"""Tags of late reads whose tokens a scope asks for along with those of its first."""

MOST_PROVED: Final = 1_000
"""Entries of which a scope knows that it has compared their tokens."""


class TokenScope:
    """Tokens by tag, as one request has seen them."""

    def __init__(self) -> None:
        self._tokens: dict[str, bytes] = {}
        self._forgotten = 0
        self._proved: dict[str, Sequence[bytes | None]] = {}
        self.is_open = True

    @property
    def is_new(self) -> bool:
        """Whether nothing is remembered."""
        return not self._tokens

    @property
    def moment(self) -> int:
        """A number that changes when something is forgotten; what was asked for before is not remembered after."""
        return self._forgotten

    def knows(self, tags: Sequence[str], tokens: Sequence[bytes | None]) -> bool:
        """Say whether these are the tokens of the first of `tags`."""
        known = self._tokens
        for tag, token in zip(tags, tokens, strict=False):
            if token is None or known.get(tag) != token:
                return False
        return True

    def knows_of(self, key: str, tags: Sequence[str], tokens: Sequence[bytes | None]) -> bool:
        """Say what `knows` says of an entry; nothing is compared again until something changes.

        Args:
            key: Of the entry.
            tokens: The same object each time, as long as the entry is the same.
        """
        if self._proved.get(key) is tokens:
            return True
        moment = self._forgotten
        if not self.knows(tags, tokens):
            return False
        with _lock:
            if moment == self._forgotten:
                if len(self._proved) >= MOST_PROVED:
                    self._proved.clear()
                self._proved[key] = tokens
        return True

    def remember(self, tags: Iterable[str], tokens: Iterable[bytes | None], *, moment: int) -> None:
        """Keep tokens that were asked for at `moment`; those with a writer in flight say nothing yet."""
        found = {
            tag: token for tag, token in zip(tags, tokens, strict=True) if token and not is_in_flight(token)
        }
        with _lock:
            if moment == self._forgotten:
                self._tokens.update(found)
                self._proved.clear()

    def forget(self, tags: Iterable[str]) -> None:
        """Drop what is known of `tags`, and all that is being asked for at this moment."""
        with _lock:
            self._forgotten += 1
            self._proved.clear()
            for tag in tags:
                self._tokens.pop(tag, None)

    def forget_all(self) -> None:
        """Drop everything that is known or being asked for."""
        with _lock:
            self._forgotten += 1
            self._proved.clear()
            self._tokens.clear()


class Question(NamedTuple):
    """One read of a scope, which may have to ask for tokens.

    It is begun before the read looks whether the cache may be trusted:
    what is written between that look and the answer is not remembered, whoever has told of it and how.
    """

    scope: TokenScope
    moment: int

    def remember(self, tags: Iterable[str], tokens: Iterable[bytes | None]) -> None:
        """Have the scope keep the tokens that were answered."""
        self.scope.remember(tags, tokens, moment=self.moment)


_current: Final[ContextVar[TokenScope | None]] = own_of_a_run(ContextVar("perfkit_token_scope", default=None))
_open: Final[set[weakref.ref[TokenScope]]] = set()
"""Scopes that somebody may still read in. A plain set, for each write goes through it: a `WeakSet` takes ten times
as long."""

_recent: Final[OrderedDict[str, None]] = OrderedDict()
_lock: Final = fork_safe_lock()


def current_scope() -> TokenScope | None:
    """Return the scope that this code runs in, None outside of requests and tasks, and after their end."""
    scope = _current.get()
    return scope if scope is not None and scope.is_open else None


def begin_question() -> Question | None:
    """Return what may be remembered of the answer, None outside of scopes."""
    scope = current_scope()
    return None if scope is None else Question(scope, scope.moment)


def begin_scope() -> TokenScope | None:
    """Begin a scope, for this thread or coroutine and what it starts; return the one that it was in."""
    scope, before = TokenScope(), _current.get()
    _open.add(weakref.ref(scope, _open.discard))
    _current.set(scope)
    return before


def end_scope(before: TokenScope | None = None) -> None:
    """End the scope, also for what it has started and left running; go on in the one that was open before it."""
    scope = _current.get()
    if scope is not None:
        scope.is_open = False
    _current.set(before)


@contextmanager
def token_scope() -> Iterator[None]:
    """Ask for the tokens of cached reads once within the block, as a request does.

    See Note [The promise within a scope].
    """
    before = begin_scope()
    try:
        yield
    finally:
        end_scope(before)


def forget_everywhere(tags: Iterable[str]) -> None:
    """Make every scope of the process forget what it knows of `tags`, for they were written."""
    written = tuple(tags)
    # Of a copy, for others begin scopes meanwhile; `set.copy` runs no code of theirs, and so is whole.
    for found in _open.copy():
        scope = found()
        if scope is not None:
            scope.forget(written)


def forget_all_everywhere() -> None:
    """Make every scope of the process forget all that it knows, for something was written."""
    for found in _open.copy():
        scope = found()
        if scope is not None:
            scope.forget_all()


def note_recent(tags: Sequence[str]) -> None:
    """Keep in mind that cached reads depend on `tags`."""
    with _lock:
        for tag in tags:
            _recent[tag] = None
            _recent.move_to_end(tag)
        while len(_recent) > MOST_RECENT:
            _recent.popitem(last=False)


def recent_tags() -> list[str]:
    """Return the tags that late reads of this process depended on."""
    with _lock:
        return list(_recent)


def request_began(**_: Any) -> None:
    """Receiver of Django's `request_started`."""
    begin_scope()


def request_ended(**_: Any) -> None:
    """Receiver of Django's `request_finished`."""
    end_scope()
