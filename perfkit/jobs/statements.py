"""The statements that write rows of jobs, as a kind of database has them: made once, sent often. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

from django.db.backends.base.base import BaseDatabaseWrapper

SEND_AGAIN_SECONDS: Final = 30
SEND_AGAIN_FACTOR: Final = 2
"""Nobody knows whether a message was lost or the queue is long, so each wait is longer than the one before."""

MOST_SENT: Final = 9
"""Longer than after so many the wait does not become: 4 hours."""

_HELD: Final = "id = %s AND fence = %s AND state = 'running'"

_ADD: Final = (
    "INSERT INTO perfkit_job (id, name, queue, key, arguments, lease_seconds, enqueued_at, not_before, due_at, "
    "request_id, traceparent, state, fence, failures, losses, sent, worker, message, error, is_cancel_wanted) "
    "VALUES "
)
_ADDED: Final = "(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'queued', 0, 0, 0, 0, '', '', '', FALSE)"


@dataclass(frozen=True, slots=True)
class Statements:
    """What is sent for each of the methods of `JobRows`, by their names."""

    add: str
    add_done: str
    holder: str
    release_key: str
    take: str
    renew: str
    step: str
    finish: str
    give_up: str
    stop: str
    put_back: str
    claim_due: str
    want_cancelled: str
    _given_back: str

    def give_back(self, number: int) -> str:
        """Return the statement that undoes the claims of so many jobs."""
        return self._given_back.format(", ".join(["%s"] * number))

    @staticmethod
    def add_many(number: int) -> str:
        """Return the statement that writes so many rows."""
        return _ADD + ", ".join([_ADDED] * number)


def statements_of(connection: BaseDatabaseWrapper) -> Statements:
    """Return the statements for a connection."""
    return _statements(connection.vendor, connection.features.has_select_for_update_skip_locked)


@cache
def _statements(vendor: str, has_skip_locked: bool) -> Statements:
    now = "CLOCK_TIMESTAMP()" if vendor == "postgresql" else "STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'NOW')"
    """This moment on the database's clock, also within a transaction."""
    lease_ends, in_seconds = _after(vendor, "lease_seconds"), _after(vendor, "%s")
    told = "current = %s, total = %s, message = %s"
    longest = SEND_AGAIN_SECONDS * SEND_AGAIN_FACTOR**MOST_SENT
    waits = " ".join(
        f"WHEN sent = {sent} THEN {SEND_AGAIN_SECONDS * SEND_AGAIN_FACTOR**sent}" for sent in range(MOST_SENT)
    )

    def ended(state: str, assignments: str) -> str:
        return (
            f"UPDATE perfkit_job SET state = '{state}', {assignments}, due_at = NULL, finished_at = {now}, "
            f"expires_at = {in_seconds} WHERE {_HELD} RETURNING 1"
        )

    return Statements(
        add=f"{_ADD}{_ADDED} ON CONFLICT DO NOTHING RETURNING 1",
        add_done=f"""
            INSERT INTO perfkit_job (id, name, queue, arguments, lease_seconds, enqueued_at, result, finished_at,
                expires_at, state, fence, failures, losses, sent, worker, message, error, is_cancel_wanted)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s, {in_seconds}, 'done', 0, 0, 0, 0, '', '', '', FALSE)
            RETURNING 1
            """,
        holder=f"""
            SELECT id, name, state, state = 'done' AND expires_at <= {now}, {_since(vendor, "started_at")},
                current, total, message, result, error, fence
            FROM perfkit_job WHERE key = %s AND state IN ('queued', 'running', 'done')
            """,
        release_key=f"""
            UPDATE perfkit_job SET key = NULL
            WHERE id = %s AND state = 'done' AND expires_at <= {now} RETURNING 1
            """,
        take=f"""
            UPDATE perfkit_job
            SET state = 'running', fence = fence + 1, worker = %s, sent = 0,
                losses = losses + CASE WHEN state = 'running' THEN 1 ELSE 0 END,
                started_at = COALESCE(started_at, {now}), due_at = {lease_ends}
            WHERE id = %s AND (
                state = 'queued' AND (not_before IS NULL OR not_before <= {now})
                OR state = 'running' AND due_at < {now}
            )
            RETURNING name, queue, fence, failures, losses, arguments, checkpoint, current, total, message,
                is_cancel_wanted, request_id, traceparent, {_since(vendor, "COALESCE(not_before, enqueued_at)")}
            """,
        renew=f"""
            UPDATE perfkit_job SET due_at = {lease_ends}, {told} WHERE {_HELD} RETURNING is_cancel_wanted
            """,
        step=f"""
            UPDATE perfkit_job SET checkpoint = %s, due_at = {lease_ends}, losses = 0, {told}
            WHERE {_HELD} RETURNING is_cancel_wanted
            """,
        finish=ended(
            "done",
            f"result = %s, error = '', {told}, key = CASE WHEN %s THEN NULL ELSE key END, "
            "arguments = CASE WHEN %s THEN '[[], {}]' ELSE arguments END",
        ),
        give_up=ended("dead", "error = %s"),
        stop=ended("cancelled", "error = ''"),
        put_back=f"""
            UPDATE perfkit_job
            SET state = 'queued', failures = failures + %s, losses = losses + %s, error = %s, sent = 0,
                not_before = {in_seconds}, due_at = {in_seconds}
            WHERE {_HELD} RETURNING 1
            """,
        claim_due=f"""
            UPDATE perfkit_job
            SET due_at = {_after(vendor, f"CASE {waits} ELSE {longest} END")}, sent = sent + 1,
                losses = losses + CASE WHEN state = 'running' THEN 1 ELSE 0 END,
                state = 'queued'
            WHERE id IN (
                SELECT id FROM perfkit_job WHERE due_at < {now} ORDER BY due_at LIMIT %s
                {"FOR UPDATE SKIP LOCKED" if has_skip_locked else ""}
            )
            RETURNING id, name, queue
            """,
        want_cancelled=f"""
            UPDATE perfkit_job
            SET is_cancel_wanted = (state IN ('queued', 'running')),
                finished_at = CASE WHEN state = 'queued' THEN {now} ELSE finished_at END,
                due_at = CASE WHEN state = 'queued' THEN NULL ELSE due_at END,
                state = CASE WHEN state = 'queued' THEN 'cancelled' ELSE state END
            WHERE id = %s RETURNING state
            """,
        _given_back=f"""
            UPDATE perfkit_job SET due_at = {in_seconds}, sent = sent - 1
            WHERE id IN ({{}}) AND state = 'queued' AND sent > 0
            """,
    )


def _after(vendor: str, seconds: str) -> str:
    """Return SQL of the moment in so many seconds, which are SQL themselves."""
    if vendor == "postgresql":
        return f"CLOCK_TIMESTAMP() + ({seconds}) * INTERVAL '1 second'"
    return f"STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'NOW', ({seconds}) || ' seconds')"


def _since(vendor: str, moment: str) -> str:
    """Return SQL of the seconds between a moment and this one."""
    if vendor == "postgresql":
        return f"EXTRACT(EPOCH FROM CLOCK_TIMESTAMP() - {moment})::float8"
    return f"(JULIANDAY('NOW') - JULIANDAY({moment})) * 86400.0"
