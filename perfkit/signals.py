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
    Sender: None. Arguments: `using` (the alias), `sql` (without its values), `seconds`; also where it failed.

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
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.dispatch import Signal


class ReadSignal(Signal):
    """A signal of what happens at every read.

    Beside the receivers that are connected it has one that is called directly, if somebody has put one there:
    Django's own way to a receiver takes ten times as long.

    Attributes:
        counter: Called with the sender, the outcome and the reason.
    """

    counter: Callable[[Any, str, str], None] | None = None

    def send(
        self, sender: Any, *, outcome: str = "", reason: str = "", **named: Any
    ) -> list[tuple[Callable[..., Any], Any]]:
        """Tell the counter and the receivers; what one of them raises comes out here."""
        if self.counter is not None:
            self.counter(sender, outcome, reason)
        return super().send(sender, outcome=outcome, reason=reason, **named) if self.receivers else []


rows_written = Signal()
cache_read = ReadSignal()
cache_outage = Signal()
query_timed = Signal()
n_plus_one_found = Signal()
job_ended = Signal()
task_ended = Signal()
