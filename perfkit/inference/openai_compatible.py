"""Servers that speak OpenAI's chat completions, through httpx: the shell around `protocol`."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from typing import Any, Final
from urllib.parse import urlsplit

from perfkit.caching.locks import fork_safe_lock
from perfkit.errors import ModelAnswerError, ModelUnavailableError, UsageError
from perfkit.inference.adapters import ModelAdapter
from perfkit.inference.answers import ModelAnswer
from perfkit.inference.prompts import Prompt
from perfkit.inference.protocol import CUT, Assembly, answer_of, body_of, is_passing_status, require_success
from perfkit.inference.retries import UNREACHABLE, retry_after_seconds

try:
    import httpx
except ImportError as error:  # the extra is not installed
    raise UsageError("OpenAICompatibleAdapter needs httpx: install django-perfkit[inference].") from error

MOST_BYTES: Final = 4 * 1024 * 1024
MOST_ERROR_BYTES: Final = 64 * 1024
UNREADABLE: Final = (httpx.TransportError, httpx.DecodingError, ModelAnswerError, ModelUnavailableError)
"""Raised of a reason that is cut off, too long or late: the status says enough."""

LATE: Final = "has not answered in time"
HEADERS: Final = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
"""Uncompressed, for a few bytes could become any number of them."""


class _Key(httpx.Auth):
    """Puts the key into requests, and shows it nowhere else."""

    def __init__(self, key: str) -> None:
        self._key = key

    def auth_flow(self, request: httpx.Request) -> Any:
        request.headers["Authorization"] = f"Bearer {self._key}"
        yield request


class _Reading:
    """How much of one answer has come, and since when."""

    def __init__(self, *, most_bytes: int, seconds: float) -> None:
        self.has_begun = False
        self._left = most_bytes
        self._most = most_bytes
        self._ends = time.monotonic() + seconds

    def in_time(self) -> asyncio.Timeout:
        """Return what ends an `async with` when the whole call must have ended."""
        return asyncio.timeout(self._ends - time.monotonic())

    def begins(self, response: httpx.Response) -> None:
        """Note that a response has begun.

        Raises:
            ModelAnswerError: It is compressed.
        """
        self.has_begun = True
        if response.is_success and response.headers.get("Content-Encoding", "identity") != "identity":
            raise ModelAnswerError("is compressed, which was not asked for")

    def took(self, part: bytes) -> bytes:
        """Count a part.

        Raises:
            ModelAnswerError: The answer is too large.
            ModelUnavailableError: It takes too long.
        """
        self._left -= len(part)
        if self._left < 0:
            raise ModelAnswerError(f"is larger than {self._most:,} bytes, the adapter's most_bytes")
        if time.monotonic() > self._ends:
            raise ModelUnavailableError(LATE)
        return part

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn httpx's errors within the block into perfkit's."""
        try:
            yield
        except httpx.ConnectError as error:
            raise ModelUnavailableError(UNREACHABLE) from error
        except (httpx.TimeoutException, TimeoutError) as error:
            raise ModelUnavailableError(LATE) from error
        except (httpx.TransportError, httpx.DecodingError) as error:
            if self.has_begun:
                raise ModelAnswerError(CUT) from error
            raise ModelUnavailableError("has closed the connection") from error


class OpenAICompatibleAdapter(ModelAdapter):
    """Asks `POST <base_url>/chat/completions`, as OpenAI, vLLM, llama.cpp, Ollama and many others take it.

    Args:
        base_url: Up to and without `/chat/completions`, such as `https://api.openai.com/v1`.
        api_key: Sent as a bearer token, and shown in no repr, log or error; none where empty.
        timeout: Seconds that a whole call may take, its pieces and who reads them included. Plain code notices at
            the next bytes, or after as long again without any.
        most_bytes: Largest answer that is read.
        asks_usage: Whether streams are asked for their tokens, which some servers refuse.

    Raises:
        UsageError: The address or the key cannot be used.
    """

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str = "",
        timeout: float = 60.0,
        most_bytes: int = MOST_BYTES,
        asks_usage: bool = True,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise UsageError("base_url must begin with http:// or https://, and name a server.")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise UsageError("base_url may hold neither a password nor parameters: give api_key.")
        if not (api_key.isascii() and (api_key.isprintable())) or " " in api_key:
            raise UsageError("api_key may hold printable ASCII without spaces only.")
        self.name = base_url.rstrip("/")
        self._url = f"{self.name}/chat/completions"
        self._auth = _Key(api_key) if api_key else None
        self._timeout = timeout
        self._most_bytes = most_bytes
        self._asks_usage = asks_usage
        self._lock = fork_safe_lock()
        self._client: tuple[int, httpx.Client] | None = None
        self._tls: ssl.SSLContext | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def complete(self, prompt: Prompt) -> ModelAnswer:
        """Ask as `ModelAdapter.complete` says."""
        reading = self._reading()
        with reading.translated(), self._shared_client().stream(**self._request(prompt)) as response:
            reading.begins(response)
            _require_success(response, _reason(response, reading))
            return answer_of(b"".join(map(reading.took, response.iter_raw())))

    def stream(self, prompt: Prompt) -> Iterator[str | ModelAnswer]:
        """Ask as `ModelAdapter.stream` says."""
        reading, assembly = self._reading(), Assembly()
        request = self._request(prompt, is_stream=True)
        with reading.translated(), self._shared_client().stream(**request) as response:
            reading.begins(response)
            _require_success(response, _reason(response, reading))
            for part in response.iter_raw():
                yield from assembly.texts(reading.took(part))
                if assembly.is_done:
                    break
            yield assembly.answer()

    async def acomplete(self, prompt: Prompt) -> ModelAnswer:
        """Ask as `complete` does, on the event loop."""
        reading = self._reading()
        with reading.translated():
            async with (
                reading.in_time(),
                httpx.AsyncClient(**self._options()) as client,
                client.stream(**self._request(prompt)) as response,
            ):
                reading.begins(response)
                _require_success(response, await _areason(response, reading))
                return answer_of(b"".join([reading.took(part) async for part in response.aiter_raw()]))

    async def astream(self, prompt: Prompt) -> AsyncIterator[str | ModelAnswer]:
        """Ask as `stream` does, on the event loop."""
        reading, assembly = self._reading(), Assembly()
        request = self._request(prompt, is_stream=True)
        with reading.translated():
            async with httpx.AsyncClient(**self._options()) as client, AsyncExitStack() as stack:
                async with reading.in_time():
                    response = await stack.enter_async_context(client.stream(**request))
                    reading.begins(response)
                    _require_success(response, await _areason(response, reading))
                parts = response.aiter_raw()
                while not assembly.is_done:
                    async with reading.in_time():  # not while a piece is with who reads
                        part = await anext(parts, None)
                    if part is None:
                        break
                    for text in assembly.texts(reading.took(part)):
                        yield text
                yield assembly.answer()

    def _request(self, prompt: Prompt, *, is_stream: bool = False) -> dict[str, Any]:
        body = body_of(prompt, is_stream=is_stream, asks_usage=self._asks_usage)
        return {
            "method": "POST",
            "url": self._url,
            "content": body,
            "headers": HEADERS,
            "auth": self._auth,
        }

    def _reading(self) -> _Reading:
        return _Reading(most_bytes=self._most_bytes, seconds=self._timeout)

    def _options(self) -> dict[str, Any]:
        with self._lock:
            if self._tls is None:
                self._tls = httpx.create_ssl_context()
        return {"timeout": self._timeout, "verify": self._tls}

    def _shared_client(self) -> httpx.Client:
        """Return the client of this process; a forked one has its own, for sockets cannot be shared."""
        options = self._options()
        with self._lock:
            if self._client is None or self._client[0] != os.getpid():
                self._client = os.getpid(), httpx.Client(**options)
            return self._client[1]

    def close(self) -> None:
        """Close the connections that nobody uses; a later call opens others."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None and client[0] == os.getpid():
            client[1].close()


def _reason(response: httpx.Response, reading: _Reading) -> bytes:
    """Return the beginning of what is said about a request that is refused; nothing of other responses."""
    body = b""
    if _is_refusal(response):
        with suppress(*UNREADABLE):
            for part in response.iter_raw():
                body += reading.took(part)
                if len(body) > MOST_ERROR_BYTES:
                    break
    return body


async def _areason(response: httpx.Response, reading: _Reading) -> bytes:
    body = b""
    if _is_refusal(response):
        with suppress(*UNREADABLE):
            async for part in response.aiter_raw():
                body += reading.took(part)
                if len(body) > MOST_ERROR_BYTES:
                    break
    return body


def _is_refusal(response: httpx.Response) -> bool:
    return not response.is_success and not is_passing_status(response.status_code)


def _require_success(response: httpx.Response, body: bytes) -> None:
    told = retry_after_seconds(response.headers.get("Retry-After"), now=dt.datetime.now(dt.UTC))
    require_success(response.status_code, body, retry_after=told)
