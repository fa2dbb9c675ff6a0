"""Spans of OpenTelemetry for what `perfkit.signals.work` tells, where its API is installed.

# Note [What a span has]
Names and numbers: which model, function, job or operation, how many rows, what came of it. No keys, parameters or
arguments, and of an error its class, for its text may have values.

What the process's own memory knew makes no span: that takes a microsecond, a span twenty.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from perfkit.conf import options
from perfkit.modules import loaded
from perfkit.signals import NOBODYS, Doing, cache_read, work
from perfkit.tracing.ids import valid_traceparent
from perfkit.tracing.origins import current

if TYPE_CHECKING:
    from opentelemetry.trace import Span, SpanContext, Tracer, TracerProvider

TRACER: Final = "perfkit"
READ: Final = "cache.read"
TRACEPARENT: Final = "traceparent"
_API: Final = "opentelemetry.trace"
_PROVIDER: Final = "OTEL_PYTHON_TRACER_PROVIDER"

_is_named: Final = _PROVIDER in os.environ
"""Whether the environment names a provider, which the API makes when it is asked for one."""

IS_INSTALLED: Final = find_spec("opentelemetry") is not None and find_spec(_API) is not None
"""Whether there is an API; it is not imported until there is something to tell."""


def install() -> None:
    """Listen to work, where the API is installed; until somebody sets a provider, that makes no span."""
    if IS_INSTALLED:
        if _is_named:
            import_module(_API)
        work.listener = _begin
        cache_read.tracer = _read


def current_traceparent() -> str:
    """Return the span that this code is in, as the W3C writes it, else that of who has sent it; or nothing."""
    span = current_span()
    if span is not None:
        return traceparent_of(span)
    origin = current.get()
    return "" if origin is None else origin.traceparent


def current_span() -> SpanContext | None:
    """Return the span that this code is in, None outside of spans; a span's is always the same object."""
    # Where nobody has imported the API nobody has begun a span.
    trace: Any = loaded(_API)
    if trace is None or not options.TRACING:
        return None
    told: SpanContext = trace.get_current_span().get_span_context()
    return told if told.is_valid else None


def traceparent_of(span: SpanContext) -> str:
    """Return a span as the W3C writes it."""
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"


@contextmanager
def attached(headers: MutableMapping[str, Any]) -> Iterator[None]:
    """Have the block's spans, everybody's, belong to the one that headers name, unless they do to another one."""
    traceparent = valid_traceparent(headers.get(TRACEPARENT))
    if not traceparent or not IS_INSTALLED or not options.TRACING:
        yield
        return
    from opentelemetry import context

    if current_span() is not None:
        yield
        return
    token = context.attach(_context_of(traceparent))
    try:
        yield
    finally:
        context.detach(token)


def _context_of(traceparent: str) -> Any:
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({TRACEPARENT: traceparent}, context=Context())


class _Traced(Doing):
    """Work with a span."""

    __slots__ = ("_has_outcome", "_span", "_token", "kind", "sender")

    def __init__(self, span: Span, kind: str, sender: Any) -> None:
        self._span = span
        self._token: Any = None
        self._has_outcome = False
        self.kind = kind
        self.sender = sender

    def tell(self, **facts: str | float | bool) -> None:
        for name, value in facts.items():
            self._span.set_attribute(f"perfkit.{name}", value)

    def read(self, outcome: str, reason: str) -> None:
        """Note what a cached read came to; one that is told twice was a miss, and then could not be kept."""
        if not self._has_outcome:
            self.tell(outcome=outcome)
            self._has_outcome = True
        if reason:
            self.tell(reason=reason)

    def current(self) -> Any:
        from opentelemetry import trace

        return trace.use_span(
            self._span, end_on_exit=False, record_exception=False, set_status_on_exception=False
        )

    def end(self, error: BaseException | None = None) -> None:
        if error is not None:
            from opentelemetry.trace import StatusCode

            self._span.set_attribute("error.type", type(error).__qualname__)
            self._span.set_status(StatusCode.ERROR)
        self._span.end()

    def __enter__(self) -> Any:
        from opentelemetry import context, trace

        within = trace.set_span_in_context(self._span)
        if self.kind == READ:
            within = context.set_value(READ, self, within)
        self._token = context.attach(within)
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        from opentelemetry import context

        context.detach(self._token)
        self.end(error)


def _begin(kind: str, sender: Any, facts: dict[str, str | float | bool]) -> Doing:
    """Begin a span; receiver of `work`."""
    provider = _provider()
    if provider is None:
        return NOBODYS
    name = _name_of(sender)
    told = {f"perfkit.{fact}": value for fact, value in facts.items()}
    told["perfkit.name"] = name
    parent, origin = None, current.get()
    if origin is not None:
        told["perfkit.request_id"] = origin.request_id
        if origin.traceparent and current_span() is None:
            parent = _context_of(origin.traceparent)
    span = _tracer(provider).start_span(f"{kind} {name}", context=parent, attributes=told)
    return _Traced(span, kind, sender)


def _provider() -> TracerProvider | None:
    """Return who records spans, None where nobody does."""
    trace: Any = loaded(_API)
    if trace is None or not options.TRACING:  # where nobody has imported the API nobody has set a provider
        return None
    # To ask it takes longer than all else here, so that the place where it keeps the one is looked at first.
    if getattr(trace, "_TRACER_PROVIDER", trace) is None and not _is_named:
        return None
    provider: TracerProvider = trace.get_tracer_provider()
    is_nobody = isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider)
    return None if is_nobody else provider


@lru_cache(maxsize=1)
def _tracer(provider: TracerProvider) -> Tracer:
    return provider.get_tracer(TRACER)


def _read(sender: Any, outcome: str, reason: str) -> None:
    """Note what the cached read came to that this code is in; `cache_read` calls it."""
    if _provider() is None:
        return
    from opentelemetry import context

    reading: Any = context.get_value(READ)
    if reading is not None and reading.sender is sender:
        reading.read(outcome, reason)


def _name_of(sender: Any) -> str:
    if isinstance(sender, str):
        return sender
    meta = getattr(sender, "_meta", None)
    return str(getattr(sender, "name", "") or type(sender).__name__) if meta is None else str(meta.label)
