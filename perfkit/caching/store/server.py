"""One run of one cache server, and the connections that reach it."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from time import perf_counter
from typing import Any, Final

import redis

from perfkit.caching.locks import fork_safe_lock
from perfkit.caching.store.packing import Words, packed
from perfkit.caching.store.reigns import STANDING, Reign
from perfkit.caching.store.scripts import Script
from perfkit.signals import cache_server_asked

# Note [Speaking without redis-py's client]
# The connection is redis-py's, with its TLS, its credentials and its parser.
# Its client and its pool are left out: for one command they take longer than the way to the server and back.
# So is, for one command, what the connection puts around its parser, which returns refusals and raises none.

# Note [No generation is sent twice]
# A command whose answer is lost with its connection is sent once more, though the server may have run it.
# If DONE set the same generation then, and another write had come in between, it would bring back to life
# what was filled before that write.


class ServerChangedError(redis.ConnectionError):
    """A new connection reached another server, or the same one restarted: older keys mean nothing there."""


SILENTLY: Final = packed("CLIENT", "REPLY", "SKIP")
"""Before a command: it gets no answer."""


Exchange = Generator[None, None, list[Any]]
"""Commands under way: it stops when they are sent, and returns their answers when it is resumed.

Closed before that, it gives up the connection, whose answers nobody has read.
"""


def heard(exchange: Exchange) -> list[Any]:
    """Return the answers of an exchange; commands that must be sent again are."""
    while True:
        try:
            next(exchange)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


class Call:
    """One command on keys, or a script; how it is written down depends on the server.

    Args:
        what: A script, or the words of a command that stand before its key.
        keys: Names of keys that get the server's prefix.
        arguments: Follow them.
        generation: Makes an argument before these, anew each time the command is sent.
            See Note [No generation is sent twice].
    """

    __slots__ = ("arguments", "generation", "keys", "what")

    def __init__(
        self,
        what: Script | tuple[str, ...],
        keys: Sequence[str],
        *arguments: Any,
        generation: Callable[[], Any] | None = None,
    ) -> None:
        self.what = what
        self.keys = keys
        self.arguments = arguments
        self.generation = generation

    def packed(self, key_of: Callable[[str], str], *, by_text: bool = False) -> bytes:
        """Return what is sent; of a script its digest alone, unless the server does not know that yet."""
        keys = [key_of(key) for key in self.keys]
        first = () if self.generation is None else (self.generation(),)
        if isinstance(self.what, Script):
            script = ("EVAL", self.what.text) if by_text else (self.what.by_digest,)
            return packed(*script, len(keys), *keys, *first, *self.arguments)
        return packed(*self.what, *keys, *first, *self.arguments)


class Server:
    """One run of one server: every connection to it reaches that run and no other.

    Safe in threads and after a fork. See Note [Speaking without redis-py's client].

    Args:
        connection_class: A class of redis-py's connections.
        settings: What it is made with.
        prefix: Begins every key, before the run.
        reign: How to tell apart the times at which it is in charge.
    """

    def __init__(
        self,
        connection_class: type[Any],
        settings: Mapping[str, Any],
        *,
        prefix: str,
        reign: Reign = STANDING,
    ) -> None:
        self._connection_class = connection_class
        self._settings = {**settings, "redis_connect_func": self._greet}
        self._namespace = prefix
        self._reign = reign
        self._lock = fork_safe_lock()
        self._run_id = ""
        self._may_be_silent = True
        self._idle: deque[Any] = deque()
        self._pid = os.getpid()
        self.has_changed = False

    @property
    def prefix(self) -> str:
        """What every key of this run begins with; known once it has been met."""
        return f"{self._namespace}:{self._run_id}:"

    def key(self, name: str) -> str:
        """Return the key by which `name` is known here."""
        return self.prefix + name

    def meet(self) -> None:
        """Learn the run, unless it is known."""
        if not self._run_id:
            self.ask("PING")  # opens a connection, which greets

    def run(
        self,
        script: Script,
        keys: Sequence[str],
        *arguments: Any,
        generation: Callable[[], Any] | None = None,
    ) -> Any:
        """Run a script on keys that get the prefix, and return its answer.

        Args:
            generation: As in `Call`.
        """
        [answer] = heard(self.calls([Call(script, keys, *arguments, generation=generation)]))
        return answer

    def run_whole(self, script: Script, keys: Sequence[str], arguments: Words) -> Any:
        """Run a script that may run twice on keys that are sent as they are, and return its answer."""
        text = packed(script.by_digest, len(keys), *keys, arguments)
        answers = heard(self._exchange(lambda: [text]))
        if isinstance(answers[0], redis.exceptions.NoScriptError):
            whole = packed("EVAL", script.text, len(keys), *keys, arguments)
            answers = heard(self._exchange(lambda: [whole]))
        [answer] = _accepted(answers)
        return answer

    def ask(self, *command: Any, is_repeatable: bool = True) -> Any:
        """Send one command and return its answer.

        Args:
            is_repeatable: Whether it does the same if it is sent twice.
        """
        text = packed(*command)
        if not self._idle or self._reign.questions or self._pid != os.getpid():
            [answer] = _accepted(heard(self._exchange(lambda: [text], is_repeatable=is_repeatable)))
            return answer
        try:
            return self._asked(text)
        except ServerChangedError:
            raise
        except redis.ConnectionError:
            if not is_repeatable:
                raise
        self._close_idle()  # what has cut one of them off has cut off the others too
        [answer] = _accepted(heard(self._exchange(lambda: [text], is_repeatable=False)))
        return answer

    def ask_all(self, commands: Collection[Sequence[Any]]) -> list[Any]:
        """Send commands that may be repeated in one go, and return their answers.

        Raises:
            ResponseError: The server refused one; all were sent.
        """
        texts = [packed(*command) for command in commands]
        return _accepted(heard(self._exchange(lambda: texts)))

    def tell(self, *command: Any) -> None:
        """Send one command that may be repeated, and do not wait to hear how it went."""
        if self._may_be_silent:
            text = SILENTLY + packed(*command)
            heard(self._exchange(lambda: [text], is_silent=True))
        else:
            self.ask(*command)

    def calls(self, calls: Sequence[Call], *, is_repeatable: bool = True) -> Exchange:
        """Send calls in one go; the answers are those to them, in order.

        Raises:
            ResponseError: The server refused one; all were sent.
        """
        answers = yield from self._exchange(
            lambda: [call.packed(self.key) for call in calls], is_repeatable=is_repeatable
        )
        if any(isinstance(answer, redis.exceptions.NoScriptError) for answer in answers):
            answers = yield from self._exchange(
                lambda: [call.packed(self.key, by_text=True) for call in calls]
            )
        return _accepted(answers)

    def _exchange(
        self, commands: Callable[[], list[bytes]], *, is_repeatable: bool = True, is_silent: bool = False
    ) -> Exchange:
        """Send commands on a connection of their own; refusals are among the answers.

        A connection that broke while nobody used it is replaced, and the commands sent once more, where that is
        the same.

        Args:
            is_silent: Whether they get no answers.
        """
        connection = self._taken()
        is_used = connection.is_connected
        begun = perf_counter() if cache_server_asked.receivers else 0.0
        answers: list[Any] = []
        try:
            if not is_used:
                connection.connect()  # sending would do so too, but not ask sentinels
            texts = commands()
            if is_silent:
                connection.send_packed_command(texts)
                yield
            else:
                connection.send_packed_command([b"".join([*texts, *self._reign.questions])])  # in one packet
                yield
                answers = [_answer_or_refusal(connection) for _ in texts]
                self._require_reign(connection, is_refused=any(map(_is_refusal, answers)))
        except redis.ConnectionError as error:
            self._tell_asked(begun, is_awaited=not is_silent, has_failed=True)
            connection.disconnect()
            if isinstance(error, ServerChangedError):
                self.has_changed = True
                raise
            if not is_used or not is_repeatable:
                raise
        except BaseException:
            self._tell_asked(begun, is_awaited=not is_silent, has_failed=True)
            connection.disconnect()
            raise
        else:
            self._tell_asked(begun, is_awaited=not is_silent)
            self._idle.append(connection)
            return answers
        self._close_idle()  # what has cut one of them off has cut off the others too
        return (yield from self._exchange(commands, is_repeatable=False, is_silent=is_silent))

    def _asked(self, text: bytes) -> Any:
        """Do what `_exchange` does with one command, where no reign is asked for, in fewer steps."""
        connection = self._taken()
        begun = perf_counter() if cache_server_asked.receivers else 0.0
        try:
            connection.send_packed_command([text])
            answer = _parsed_answer(connection)
        except BaseException:
            self._tell_asked(begun, is_awaited=True, has_failed=True)
            connection.disconnect()
            raise
        self._tell_asked(begun, is_awaited=True)
        self._idle.append(connection)
        if _is_refusal(answer):
            raise answer
        return answer

    def _tell_asked(self, begun: float, *, is_awaited: bool, has_failed: bool = False) -> None:
        if begun:
            seconds = perf_counter() - begun
            cache_server_asked.send(type(self), seconds=seconds, is_awaited=is_awaited, has_failed=has_failed)

    def leave(self) -> None:
        """Close the idle connections; one in use goes when its command has ended and nobody holds it."""
        self._close_idle()

    def _taken(self) -> Any:
        """Return a connection that nobody else uses, the one used last before others."""
        if self._pid != os.getpid():  # a hook of `os.fork` would miss forks that C code makes
            self._idle.clear()  # they are the parent's
            self._pid = os.getpid()
        try:
            return self._idle.pop()
        except IndexError:
            return self._connection_class(**self._settings)

    def _close_idle(self) -> None:
        while self._idle:
            try:
                self._idle.pop().disconnect()
            except IndexError:  # another thread was quicker
                return

    def _greet(self, connection: Any) -> None:
        """Open a connection as redis-py does, and learn which run of which server is at its other end."""
        connection.on_connect()
        # Of three commands the first asks for no answer to the second: some proxies and access lists forbid it.
        commands = [SILENTLY, packed("PING"), packed("INFO", "server"), *self._reign.questions]
        connection.send_packed_command(commands, check_health=False)
        answer = _answer_or_refusal(connection)
        if _is_refusal(answer):
            self._may_be_silent = False
            _answer_or_refusal(connection)
            answer = _answer_or_refusal(connection)
        told = [_answer_or_refusal(connection) for _ in self._reign.questions]
        run_id = _run_id_of(answer) + self._reign.read(told)
        with self._lock:
            self._run_id = self._run_id or run_id
        if self._run_id != run_id:
            raise ServerChangedError("the cache server is another one, or was restarted")

    def _require_reign(self, connection: Any, *, is_refused: bool) -> None:
        """See that what was just answered was answered in the reign that the connection was opened in.

        Args:
            is_refused: Whether the answers say more than the reign does: where a slot is now.
        """
        told = [_answer_or_refusal(connection) for _ in self._reign.questions]
        if told and not is_refused and not self._run_id.endswith(self._reign.read(told)):
            raise ServerChangedError("the cache server has not been in charge all the time")


def _accepted(answers: list[Any]) -> list[Any]:
    for answer in answers:
        if _is_refusal(answer):
            raise answer
    return answers


def _is_refusal(answer: Any) -> bool:
    return isinstance(answer, redis.ResponseError)


def _answer_or_refusal(connection: Any) -> Any:
    try:
        return connection.read_response()
    except redis.ResponseError as refusal:
        return refusal


def _parsed_answer(connection: Any) -> Any:
    """Return what `_answer_or_refusal` does, of a connection that Sentinel does not manage, in fewer steps.

    One that it manages reads in its own way: what a former primary refuses ends the connection.
    """
    try:
        return connection._parser.read_response()  # noqa: SLF001  # see Note [Speaking without redis-py's client]
    except OSError as error:
        raise redis.ConnectionError(f"the connection was lost: {type(error).__name__}") from error


def _run_id_of(answer: Any) -> str:
    """Return the beginning of the run id in an answer to INFO.

    Raises:
        ConnectionError: There is none.
    """
    text = answer.decode() if isinstance(answer, bytes) else str(answer)
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    run_id = fields.get("run_id", "")[:16]
    if not run_id:
        raise redis.ConnectionError(f"the server does not tell its run_id (INFO server): {text[:80]}")
    return run_id
