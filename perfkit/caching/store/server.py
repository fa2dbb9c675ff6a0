"""One run of one cache server, and the connections that reach it."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from importlib.resources import files
from typing import Any, Final, TypeVar

import redis

from perfkit.caching.locks import fork_safe_lock

T = TypeVar("T")

# Note [Speaking without redis-py's client]
# The connection is redis-py's, with its TLS, its credentials and its parser.
# Its client and its pool are left out: for one command they take longer than the way to the server and back.

# Note [No generation is sent twice]
# A command whose answer is lost with its connection is sent once more, though the server may have run it.
# If DONE set the same generation then, and another write had come in between, it would bring back to life
# what was filled before that write.


class ServerChangedError(redis.ConnectionError):
    """A new connection reached another server, or the same one restarted: older keys mean nothing there."""


def packed(*command: str | bytes | int) -> bytes:
    """Return a command as the server reads it: an array of strings.

    redis-py does the same in three times the time; answers, which have many forms, are left to it.
    Source: the Redis serialization protocol, https://redis.io/docs/latest/develop/reference/protocol-spec/
    """
    parts = [b"*%d\r\n" % len(command)]
    for part in command:
        text = part if isinstance(part, bytes) else str(part).encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(text), text))
    return b"".join(parts)


SILENTLY: Final = packed("CLIENT", "REPLY", "SKIP")
"""Before a command: it gets no answer."""


class Script:
    """A Lua script, known to the server by its digest once it has run there."""

    __slots__ = ("digest", "text")

    def __init__(self, name: str) -> None:
        self.text = (files(__package__) / "lua" / f"{name}.lua").read_text(encoding="utf-8")
        self.digest = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


SCRIPTS: Final = {name: Script(name) for name in ("mark", "read", "take", "void")}


class Server:
    """One run of one server: every connection to it reaches that run and no other.

    Safe in threads and after a fork. See Note [Speaking without redis-py's client].

    Args:
        connection_class: A class of redis-py's connections.
        settings: What it is made with.
        prefix: Begins every key, before the run id.
    """

    def __init__(self, connection_class: type[Any], settings: Mapping[str, Any], *, prefix: str) -> None:
        self._connection_class = connection_class
        self._settings = {**settings, "redis_connect_func": self._greet}
        self._namespace = prefix
        self._lock = fork_safe_lock()
        self._run_id = ""
        self._may_be_silent = True
        self._idle: deque[Any] = deque()
        self._pid = os.getpid()

    @property
    def prefix(self) -> str:
        """What every key of this run begins with; known once it has been met."""
        return f"{self._namespace}:{self._run_id}:"

    def meet(self) -> None:
        """Learn the run id, unless it is known."""
        if not self._run_id:
            self.ask("PING")  # opens a connection, which greets

    def run(
        self, name: str, keys: Sequence[str], *arguments: Any, generation: Callable[[], Any] | None = None
    ) -> Any:
        """Run one of `SCRIPTS` on keys that get the prefix, and return its answer.

        Args:
            generation: Makes the first argument, anew each time the script is sent.
                See Note [No generation is sent twice].
        """
        script = SCRIPTS[name]
        prefix = self.prefix
        operands: tuple[Any, ...] = (len(keys), *[prefix + key for key in keys])

        def run(connection: Any, command: str, body: str) -> Any:
            first = () if generation is None else (generation(),)
            connection.send_packed_command([packed(command, body, *operands, *first, *arguments)])
            return connection.read_response()

        try:
            return self._speak(lambda connection: run(connection, "EVALSHA", script.digest))
        except redis.exceptions.NoScriptError:
            return self._speak(lambda connection: run(connection, "EVAL", script.text))

    def ask(self, *command: Any, is_repeatable: bool = True) -> Any:
        """Send one command and return its answer.

        Args:
            is_repeatable: Whether it does the same if it is sent twice.
        """

        def ask(connection: Any) -> Any:
            connection.send_packed_command([packed(*command)])
            return connection.read_response()

        return self._speak(ask, is_repeatable=is_repeatable)

    def ask_all(self, commands: Collection[Sequence[Any]]) -> list[Any]:
        """Send commands that may be repeated in one go, and return their answers.

        Raises:
            ResponseError: The server refused one; all were sent.
        """

        def ask_all(connection: Any) -> list[Any]:
            connection.send_packed_command([packed(*command) for command in commands])
            answers = [_answer_or_refusal(connection) for _ in commands]
            for answer in answers:
                if isinstance(answer, redis.ResponseError):
                    raise answer
            return answers

        return self._speak(ask_all)

    def tell(self, *command: Any) -> None:
        """Send one command that may be repeated, and do not wait to hear how it went."""

        def tell(connection: Any) -> None:
            connection.send_packed_command([SILENTLY + packed(*command)])

        if self._may_be_silent:
            self._speak(tell)
        else:
            self.ask(*command)

    def _speak(self, speak: Callable[[Any], T], *, is_repeatable: bool = True) -> T:
        """Let `speak` have a connection for itself.

        One that broke while nobody used it is replaced, and `speak` called once more, where that is the same.
        """
        connection = self._taken()
        is_used = connection.is_connected
        try:
            answer = speak(connection)
        except redis.ResponseError:
            self._idle.append(connection)  # all answers were read to their end
            raise
        except redis.ConnectionError as error:
            connection.disconnect()
            if not is_used or not is_repeatable or isinstance(error, ServerChangedError):
                raise
        except BaseException:
            connection.disconnect()
            raise
        else:
            self._idle.append(connection)
            return answer
        self._close_idle()  # what has cut one of them off has cut off the others too
        return self._speak(speak, is_repeatable=False)

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
        commands = [SILENTLY, packed("PING"), packed("INFO", "server")]
        connection.send_packed_command(commands, check_health=False)
        answer = _answer_or_refusal(connection)
        if isinstance(answer, redis.ResponseError):
            self._may_be_silent = False
            _answer_or_refusal(connection)
            answer = _answer_or_refusal(connection)
        run_id = _run_id_of(answer)
        with self._lock:
            self._run_id = self._run_id or run_id
        if self._run_id != run_id:
            raise ServerChangedError("the cache server is another one, or was restarted")


def _answer_or_refusal(connection: Any) -> Any:
    try:
        return connection.read_response()
    except redis.ResponseError as refusal:
        return refusal


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
