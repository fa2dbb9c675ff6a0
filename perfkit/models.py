"""perfkit's own tables."""

from __future__ import annotations

import datetime as dt
import secrets
import uuid

from django.db import models
from django.db.models import Q
from django.db.models.functions import Coalesce
from django.utils import timezone

from perfkit.conf import options


class PendingInvalidation(models.Model):
    """The outbox: what a committed write could not tell the cache server, or did not, for it was not Django's.

    Written in the transaction of that write, in its database, and removed once the server knows.
    It is the tags of that write alone, or a notice: until it ends, its writer writes under the tags in silence.
    """

    tags = models.TextField(help_text="JSON list of tags.")
    writer = models.CharField(
        max_length=16, help_text="Its id, in case the server hears late of a MARK that was thought lost."
    )
    holds_until = models.DateTimeField(null=True, help_text="When a notice ends, on the database's clock.")
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.created_at:%Y-%m-%d %H:%M:%S} {self.tags[:60]}"


class PendingImport(models.Model):
    """A file that somebody has uploaded in the admin, until they confirm its import or upload another one.

    It is in the database so that each process of the site finds it, and nobody else does.
    """

    token = models.CharField(max_length=43, primary_key=True, default=secrets.token_urlsafe)
    user_key = models.CharField(max_length=64, help_text="The primary key of the user.")
    model_label = models.CharField(max_length=255, help_text="Such as flights.Airline.")
    file_name = models.CharField(max_length=255)
    content = models.BinaryField()
    delimiter = models.CharField(max_length=1)
    choices = models.JSONField(null=True, help_text="What was checked last, of the form of columns.")
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.file_name} into {self.model_label}"


class IdempotentAnswer(models.Model):
    """The answer to a request with an idempotency key, written in the transaction of what that request wrote.

    See Note [Why a request runs once] in `perfkit.api.writing.answers`.
    """

    scope = models.CharField(max_length=64, help_text="SHA-256 of who sent it, and to which route.")
    key = models.CharField(max_length=255)
    request_digest = models.CharField(max_length=64, help_text="SHA-256 of its address and its body.")
    status = models.SmallIntegerField()
    headers = models.JSONField(default=dict)
    content = models.BinaryField()
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["scope", "key"], name="perfkit_idempotent_answer_key"),
        )

    def __str__(self) -> str:
        return f"{self.created_at:%Y-%m-%d %H:%M:%S} {self.status} {self.key[:60]}"

    @staticmethod
    def oldest() -> dt.datetime:
        """Return when the oldest answer was kept that still holds."""
        return timezone.now() - dt.timedelta(seconds=options.IDEMPOTENCY_TTL)


class JobState(models.TextChoices):
    """Where a job stands; the last three are its ends."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    DEAD = "dead"
    CANCELLED = "cancelled"


class Job(models.Model):
    """Work that was asked for, and what came of it; written in the transaction of whoever asks.

    See Note [Why a job has one effect] in `perfkit.jobs.rows`.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=255, help_text="Of its function.")
    queue = models.CharField(max_length=64)
    key = models.CharField(max_length=64, null=True, help_text="SHA-256 of its name and its key.")
    arguments = models.JSONField(help_text="A list of two: positional ones, and named ones.")
    state = models.CharField(max_length=9, choices=JobState.choices, default=JobState.QUEUED)
    fence = models.IntegerField(
        default=0, help_text="How often it was taken; who took it before may not end it."
    )
    failures = models.IntegerField(default=0, help_text="Declared errors that it was tried again after.")
    losses = models.IntegerField(default=0, help_text="How often its worker was lost.")
    sent = models.IntegerField(default=0, help_text="How often it was sent to a queue since it was queued.")
    lease_seconds = models.FloatField(
        help_text="For how long it is taken, unless whoever took it renews that."
    )
    worker = models.CharField(max_length=255, default="", help_text="Who took it last.")
    enqueued_at = models.DateTimeField(db_index=True)
    not_before = models.DateTimeField(null=True)
    due_at = models.DateTimeField(
        null=True, help_text="When it is sent again if nobody has taken it, or when its lease ends."
    )
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(
        null=True, help_text="Until when its result is kept, and holds its key."
    )
    current = models.BigIntegerField(null=True)
    total = models.BigIntegerField(null=True)
    message = models.CharField(max_length=255, default="")
    request_id = models.CharField(
        max_length=128, default="", db_default="", help_text="Of the request or task that has enqueued it."
    )
    traceparent = models.CharField(
        max_length=55, default="", db_default="", help_text="Of the span that has enqueued it."
    )
    checkpoint = models.JSONField(null=True, help_text="What its last committed step has yielded.")
    result = models.JSONField(null=True)
    error = models.TextField(
        default="", help_text="Of its last failure, without the values of its arguments."
    )
    is_cancel_wanted = models.BooleanField(default=False)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["key"], condition=Q(state__in=["queued", "running", "done"]), name="perfkit_job_key"
            ),
        )
        indexes = (
            models.Index(fields=["due_at"], condition=Q(due_at__isnull=False), name="perfkit_job_due"),
            models.Index(fields=["finished_at"], condition=Q(state="dead"), name="perfkit_job_dead"),
            models.Index(
                Coalesce("expires_at", "finished_at"),
                condition=Q(state__in=["done", "cancelled"]),
                name="perfkit_job_over",
            ),
        )
        permissions = (("replay_job", "Can queue jobs once more"), ("cancel_job", "Can cancel jobs"))

    def __str__(self) -> str:
        return f"{self.name} {self.id}"


class JobSchedule(models.Model):
    """When a schedule is to enqueue its job next; who moves that on is who enqueues it."""

    name = models.CharField(max_length=255, primary_key=True, help_text="In PERFKIT['SCHEDULES'].")
    text = models.CharField(max_length=255, help_text="How often it was when it was due last.")
    next_at = models.DateTimeField()
    last_at = models.DateTimeField(null=True)
    job_id = models.UUIDField(null=True, help_text="Of the job that was enqueued last.")

    def __str__(self) -> str:
        return f"{self.name} {self.text}"


class Cache(PendingInvalidation):
    """What the admin shows the cache by, and what the permissions to look at it and to void it hang on.

    It has no table of its own, so that nothing is dumped, flushed or read for it.
    """

    class Meta:
        proxy = True
        verbose_name = "cache"
        verbose_name_plural = "cache"
        default_permissions = ("view",)
        permissions = (("invalidate_cache", "Can invalidate the cache"),)


class Monitoring(PendingInvalidation):
    """What the admin shows the measurements by, and what its permissions hang on; it has no table of its own."""

    class Meta:
        proxy = True
        verbose_name = "monitoring"
        verbose_name_plural = "monitoring"
        default_permissions = ("view",)
        permissions = (
            ("explain_monitoring", "Can have statements explained"),
            ("warm_monitoring", "Can warm the cache"),
        )


class AdviceState(models.TextChoices):
    """What became of an advice; the last two are its ends."""

    OPEN = "open"
    ACCEPTED = "accepted"
    DISMISSED = "dismissed"
    WRITTEN = "written"
    APPLIED = "applied"
    GONE = "gone"


class IndexAdvice(models.Model):
    """What the index advisor has found, once however often it finds it, and what people have decided about it.

    No values of statements are in it, but for those by which a partial index chooses its rows.
    """

    key = models.CharField(
        max_length=64,
        primary_key=True,
        help_text="SHA-256 of the database, the table and what is to be done.",
    )
    alias = models.CharField(max_length=64, help_text="Of the database.")
    table = models.CharField(max_length=255)
    model_label = models.CharField(max_length=255, default="", help_text="Such as flights.Flight.")
    kind = models.CharField(max_length=16)
    index_name = models.CharField(max_length=128)
    is_addition = models.BooleanField()
    reason = models.TextField()
    statement = models.TextField(help_text="What does it in the database.")
    meta_line = models.TextField(default="", help_text="To write into Meta.indexes, or to take out.")
    by_hand = models.TextField(default="", help_text="What no migration does.")
    confidence = models.CharField(max_length=16)
    gain = models.FloatField(default=0.0, help_text="The part of the workload's cost that it saves.")
    size_bytes = models.BigIntegerField(null=True)
    write_cost = models.FloatField(null=True, help_text="How much longer a written row takes, as a part.")
    kept_by = models.CharField(max_length=128, default="")
    evidence = models.JSONField(
        default=list, help_text="For each shape its costs and plans, before and after."
    )
    before = models.JSONField(default=dict, help_text="Mean seconds of each shape while it was open.")
    outcome = models.JSONField(null=True, help_text="The same, since it was applied.")
    state = models.CharField(max_length=9, choices=AdviceState.choices, default=AdviceState.OPEN)
    note = models.TextField(default="", help_text="Why it was dismissed.")
    decided_by = models.CharField(max_length=150, default="", help_text="The name of a user.")
    decided_at = models.DateTimeField(null=True)
    migration = models.CharField(
        max_length=255, default="", help_text="That does it, such as flights.0007_x."
    )
    first_seen_at = models.DateTimeField()
    last_seen_at = models.DateTimeField()
    applied_at = models.DateTimeField(null=True)

    class Meta:
        verbose_name = "index advice"
        verbose_name_plural = "index advice"
        default_permissions = ("view", "delete")
        permissions = (("decide_indexadvice", "Can accept and dismiss index advice"),)
        indexes = (models.Index(fields=["state", "-gain"], name="perfkit_advice_state"),)

    def __str__(self) -> str:
        return f"{self.kind} {self.index_name}"


class SeenIndex(models.Model):
    """An index that a run of the advisor has seen, for PostgreSQL does not say since when one is there."""

    alias = models.CharField(max_length=64, help_text="Of the database.")
    index_name = models.CharField(max_length=128)
    oid = models.BigIntegerField(help_text="Of the index: another one of its name has another.")
    scans = models.BigIntegerField(help_text="How often it was read until then.")
    table_reads = models.BigIntegerField(null=True, help_text="How often its table was.")
    first_seen_at = models.DateTimeField()

    class Meta:
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(fields=["alias", "index_name"], name="perfkit_seen_index_key"),
        )

    def __str__(self) -> str:
        return self.index_name


class WorkloadShape(models.Model):
    """Statements that differ only in their values, and were sent to the database that this table is in."""

    digest = models.CharField(max_length=32, primary_key=True, help_text="Of the fingerprint.")
    fingerprint = models.TextField()
    first_at = models.DateTimeField()
    last_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.fingerprint[:80]


class WorkloadCount(models.Model):
    """How often a shape ran within one hour, and how long it took."""

    shape_digest = models.CharField(max_length=32)
    hour = models.IntegerField(db_index=True, help_text="Since 1970.")
    calls = models.BigIntegerField()
    microseconds = models.BigIntegerField()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["shape_digest", "hour"], name="perfkit_workload_count_key"),
        )

    def __str__(self) -> str:
        return f"{self.calls} calls"


class WorkloadSample(models.Model):
    """One statement of a shape as it was sent, and the line that sent it; a later one takes its slot."""

    shape_digest = models.CharField(max_length=32)
    slot = models.SmallIntegerField()
    statement = models.TextField(help_text="With its values; empty where these are not kept.")
    caller = models.CharField(max_length=255)
    taken_at = models.DateTimeField()
    takings = models.BigIntegerField(
        db_default=1, help_text="How often in a row the statement was what came into this slot."
    )

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["shape_digest", "slot"], name="perfkit_workload_sample_key"),
        )

    def __str__(self) -> str:
        return self.caller
