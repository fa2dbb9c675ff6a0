"""What perfkit tells outward, so that one room need not know another.

`rows_written`
    Rows of a table are being written past Django's cursor (a COPY, a trigger).
    Send it inside the transaction that writes them; perfkit's own writes do so when their first rows are there.
    Sender: the model. Arguments: `using` (the alias), `operation` (`"insert"`, `"update"`, `"delete"`),
    `pks` (the primary keys of existing rows that change, or None where they are not known).

`cache_read`
    A cached read was answered. Sender: the model, the cached function, or `perfkit.cache`; the last two have a
    `name`. Arguments: `outcome` (`"hit"`, `"miss"`, `"bypass"`),
    `reason` (why the database was asked and nothing stored, else an empty string).
    An answer that turns out not to be storable is told twice: as a miss, and as a bypass.
    A hit with the reason `"stale"` is a former value, which a function with `stale_ttl` allows.

`cache_outage`
    The cache server stopped answering, or answers again. Sender: the store's class.
    Arguments: `is_down`, `problem` (text).

`query_timed`
    A statement was run past Django's connections, whose execute wrappers have not seen it: by the async pool.
    Sender: None. Arguments: `using` (the alias), `sql` (without its values), `seconds`, `values` (those of its
    placeholders, which may be secret), `has_failed`.

`n_plus_one_found`
    Queries were sent in a loop, where one for all rows would do. Sender: the model, None for raw SQL.
    Argument: `finding` (a `perfkit.loading.Finding`).

`job_ended`
    A run of a job has come to its end. Sender: the function under `perfkit.jobs.job`.
    Arguments: `outcome` (`"done"`, `"failed"`, `"retried"`, `"cancelled"`, or `"fenced"`, where somebody else had
    taken the job), `wait_seconds` (since it could have begun), `run_seconds`, `failures` (before this run).

`task_ended`
    A run of a Celery task has come to its end, told in the worker; jobs have `job_ended` instead.
    Sender: the task's name, the same object as `task.name`.
    Arguments: `outcome` (`"success"`, `"failure"`, `"retry"`, `"revoked"`, `"rejected"`),
    `run_seconds` (0 where it never began), `wait_seconds` (from when it was sent, or from its `eta` on, until it
    began; None where it never began, or whoever sent it did not say when), `retries` (before this run), `queue`.
    A receiver that fails is logged, and fails no task.

`model_answered`
    A prompt has come to its end. Sender: the class of the adapter. Arguments: `model` (as the call named it),
    `outcome` (`"hit"`, an answer that was kept or that of another one's call; `"miss"`, one that the model was
    asked for; `"limited"`, where a limit or a budget has refused it; `"failure"`; `"abandoned"`, where who asked
    read no further), `seconds` (from its begin to its end, the reading of a stream included), `usage` (a
    `perfkit.inference.TokenUsage`; None where it is not known; of a `"hit"` it is what was saved).
    A receiver that fails is logged, and fails no prompt.

`work`
    Something that takes a while begins, and later ends. It is no signal of Django's, for it has one listener,
    which is told of the whole: see `WorkSignal`.
    Kinds: `"cache.read"` (a cached read that asks more than the process's memory; the sender is that of
    `cache_read`), `"bulk.insert"`, `"bulk.update"`, `"bulk.upsert"`, `"bulk.delete"` and `"bulk.copy_out"` (the
    model), `"list"` (a compiled list or page; the model), `"job"` (the function under `perfkit.jobs.job`),
    `"model"` (an answer of a language model; the model's name), `"timed"` (what stands under
    `perfkit.monitoring.timed`; its name).

What only those want to know who look at one request in detail, as the panel of the debug toolbar does, has
signals of its own. Nothing is made for them unless somebody listens: until then a place that tells one looks at an
empty list, and the quickest cached reads do not even that. They are told in the thread or task that did the work,
so that a `ContextVar` says whose it was. Receivers must not fail: what they raise comes out of the work.

`cache_read_detailed`
    The same as `cache_read`, as often, with where and how. Sender, `outcome` and `reason` as there. Arguments:
    `key` (of the entry, with the values that it is named by; empty where none was looked for), `tags` (what the
    answer depends on, as far as it is known), `tier` (of a hit: `"request"`, known without a round trip,
    `"process"`, held here and asked whether it holds, `"store"`; else empty), `seconds` (since the read began;
    None where that is not known, and of hits in the tier `"request"`), `rebuild_seconds` (how long the answer
    takes to make, as this process has measured it, or who has stored it; None where nobody has).

`cache_server_asked`
    The cache server was spoken to, once. Sender: the class of the connection's server. Arguments: `seconds`,
    `is_awaited` (False where no answer was waited for), `has_failed`.

`limit_applied`
    A request was counted against a limit. Sender: the limiter's class. Arguments: `scope` (what is limited),
    `rates` (`Rate`s), `verdict` (a `perfkit.limiting.limiter.Verdict`; None where nobody was counted), `reason`
    (why not: `"off"`, `"free"` for a cost of 0, `"outage"`; else empty), `seconds`. Who was counted is not told.

`relations_planned`
    A plan was put onto a queryset. Sender: the model. Argument: `plan` (a `perfkit.loading.EagerPlan`).

`rows_hydrated`
    A queryset of perfkit's has made its instances, or begins to where it yields them one by one. Sender: the
    model. Arguments: `queryset` (not to be evaluated), `rows` (None where they are yielded), `reason` (why Django
    makes all of them, or those of some models of the row; empty where it makes none).

`answer_made`
    A list or an object of an API was written. Sender: None. Arguments: `route` (the operation's path, or the
    schema's name), `reason` (why by instances; empty where it was compiled), `columns` (read of each row; 0 where
    by instances).

`bulk_written`
    A bulk call has done its work, in a transaction that may yet be rolled back. Sender: the model. Arguments:
    `call` (`"insert"`, `"update"`, `"upsert"`, `"delete"`), `result` (what the call returns).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from django.dispatch import Signal


class ReadSignal(Signal):
    """A signal of what happens at every read.

    Beside the receivers that are connected it has one that is called directly, if somebody has put one there:
    Django's own way to a receiver takes ten times as long.

    Attributes:
        counter: Called with the sender, the outcome and the reason.
        tracer: Called with the same, but not of what the process's memory knew.
    """

    counter: Callable[[Any, str, str], None] | None = None
    tracer: Callable[[Any, str, str], None] | None = None

    def send(
        self, sender: Any, *, outcome: str = "", reason: str = "", **named: Any
    ) -> list[tuple[Callable[..., Any], Any]]:
        """Tell the counter and the receivers; what one of them raises comes out here."""
        if self.counter is not None:
            self.counter(sender, outcome, reason)
        if self.tracer is not None:
            self.tracer(sender, outcome, reason)
        return super().send(sender, outcome=outcome, reason=reason, **named) if self.receivers else []


class Doing:
    """Work that is under way. This one is nobody's: what it is told goes nowhere.

    As a context manager it is what the block is done for, and ends with it.
    Work that is done in pieces is `current()` in each, and told its `end`.
    """

    __slots__ = ()

    def tell(self, **facts: str | float | bool) -> None:
        """Note facts about it: numbers and names, never values of the project's."""

    def current(self) -> Any:
        """Return a context manager: what is done in its block belongs to this work."""
        return self

    def end(self, error: BaseException | None = None) -> None:
        """Note that it has come to its end."""

    def __enter__(self) -> Any:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        return None


NOBODYS: Final = Doing()


class WorkSignal:
    """A signal of work that may hold other work.

    Attributes:
        listener: Called with the kind, the sender and the first facts, where somebody has put one there.
    """

    listener: Callable[[str, Any, dict[str, str | float | bool]], Doing] | None = None

    def begin(self, kind: str, sender: Any, **facts: str | float | bool) -> Doing:
        """Tell that work begins, and return what is told the rest."""
        listener = self.listener
        return NOBODYS if listener is None else listener(kind, sender, facts)


class DetailedReadSignal(Signal):
    """A signal of what happens at every read, with all that is known of it.

    Whoever listens is made known to `cache_read` too, for the quickest reads look at its receivers and no others.
    """

    def connect(self, *args: Any, **options: Any) -> None:
        """Connect a receiver, as of any signal."""
        super().connect(*args, **options)
        cache_read.connect(_let_it_be, dispatch_uid=_HEARD)

    def disconnect(self, *args: Any, **options: Any) -> bool:
        """Disconnect a receiver, as of any signal."""
        was_connected = super().disconnect(*args, **options)
        if not self.receivers:
            cache_read.disconnect(dispatch_uid=_HEARD)
        return was_connected


_HEARD: Final = "perfkit.signals.cache_read_detailed"


def _let_it_be(**_: Any) -> None:
    """Stand among the receivers of `cache_read`."""


rows_written = Signal()
cache_read = ReadSignal()
cache_read_detailed = DetailedReadSignal()
cache_outage = Signal()
query_timed = Signal()
n_plus_one_found = Signal()
job_ended = Signal()
task_ended = Signal()
model_answered = Signal()
work: Final = WorkSignal()
cache_server_asked = Signal()
limit_applied = Signal()
relations_planned = Signal()
rows_hydrated = Signal()
answer_made = Signal()
bulk_written = Signal()
