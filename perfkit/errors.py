"""Every error perfkit raises, in families by what the reader should do.

PerfkitError
├── SettingsError            fix the settings (also Django's ImproperlyConfigured)
├── UsageError               fix the call; do not catch
│   ├── RelationPathError    a relation path that the model does not have
│   ├── NPlusOneError        queries were sent in a loop, where one for all rows would do
│   ├── RelatedRowsError     some rows of a relation are asked for in a way that cannot be
│   ├── SchemaFieldError     a schema or a declared need reads what the model does not have
│   ├── SchemaPlanError      no plan can be made for a schema
│   ├── BatchSizeError       one row alone does not fit one statement
│   ├── UnsupportedModelError  a model the called function cannot serve
│   ├── RowShapeError        a row of a bulk call is not one of the model's
│   ├── CacheKeyError        a key, a pattern or a tag that the cache cannot take
│   ├── KeyTemplateError     a template of keys that does not fit its function
│   ├── UncacheableArgumentError  an argument that names no call
│   ├── UncacheableResultError    a result that would not come back the same
│   ├── UnknownWarmerError   no warmer of that name
│   ├── BenchmarkError       what is to be measured is not there, or cannot be measured
│   ├── UnknownTagError      neither a model nor a tag of the cache
│   ├── NotExplainableError  a measured statement has no plan that may be shown
│   ├── NoIndexAdviceError   nothing can be said of the indexes of such a database
│   ├── UnwritableIndexError  an index for which Django has no words
│   ├── NoIndexMigrationError  no migration can be written for what is advised
│   ├── AdviceDecisionError  nothing can be decided of an index advice in its state
│   ├── WorkloadFileError    a file is no workload that can be read
│   ├── UnwarmableError      a warmer wants what cannot be warmed
│   ├── JobDeclarationError  a job that is declared in a way that cannot be
│   ├── JobArgumentError     a job cannot be called with these arguments
│   ├── JobResultError       a job has returned what JSON cannot hold
│   ├── JobActionError       nothing of that kind can be done to a job in its state
│   ├── UnknownJobError      no job of that name, or of that id
│   ├── UnknownScheduleError  no schedule of that name
│   ├── MailArgumentError    a mail that cannot be left to a worker
│   ├── TaskInTransactionError  a task is sent within a transaction
│   ├── AtomicMigrationError  an index operation that must not run inside a transaction
│   ├── IndexConflictError   another index or constraint has that name
│   ├── FieldChangeError     a field is to become a foreign key, and its column to become another one
│   ├── ConstraintViolatedError  rows do not meet a constraint that is to be added
│   ├── KeysetOrderError     an order in which no row has a place that can be found again
│   ├── ListDeclarationError  filters or a sorting that are declared in a way that cannot be
│   ├── PreparedTransactionError  PREPARE TRANSACTION stood in one text with other statements
│   ├── PartitionedTableError  some partitions of a table can have no index
│   ├── TriggersUnsupportedError  outside writes to a model cannot be told by triggers
│   ├── RateError            a rate of requests that is none
│   ├── ModelRequestError    a language model cannot be asked so
│   ├── SamplingPolicyError  nobody has said whether answers that are drawn by lot are kept
│   ├── AdvisorError         the index advisor cannot work here
│   ├── TriggerRightsError   the database role lacks a right that triggers need
│   └── VisibilityTimeoutError  tasks would be delivered twice
├── UnavailableError         the world failed; retry or go without
│   ├── MailDelayedError     a mail server does not take a mail now
│   ├── MailUnansweredError  a mail server does not say whether it has a mail
│   ├── JobKeyBusyError      another transaction enqueues a job under the same key
│   ├── JobFencedError       somebody else has the job that ran here
│   ├── JobCancelledError    somebody has cancelled the job that runs here
│   ├── TaskStatusUnavailableError  the store of task results does not answer
│   ├── WarmingError         some cache warmers failed
│   ├── CacheUnavailableError  the cache server did not take an invalidation
│   ├── CacheUnreachableError  the cache server does not answer somebody who looks into it
│   ├── PoolBusyError        no connection of the async pool was free in time
│   ├── LimiterUnavailableError  a rate limit cannot be counted, and the request is refused
│   ├── ModelLimitError      more prompts than a rate admits
│   ├── ModelBudgetError     the budget of the day does not reach for a prompt
│   ├── ModelUnavailableError  the server of a language model does not answer, or answers with an error
│   ├── ModelRefusedError    the server of a language model does not take a request
│   ├── ModelAnswerError     an answer of a language model is malformed, cut off or too large
│   ├── IndexLockedError     an index or constraint could not be had for a lock that others hold
│   └── TriggersLockedError  triggers could not be made or dropped for a lock that others hold
├── MailRefusedError         a mail server will not take a mail; look at the dead letter
└── RequestError             a request was bad; becomes a 4xx
    ├── PageError            a page or size out of range
    └── CursorError          a cursor of another list, or one that was changed

Arguments are positional and passed to `super().__init__`, the text is made in `__str__`,
so that each error survives pickling, for example through Celery.
Errors about rows that the database refuses are Django's own classes, see `perfkit.bulk`.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from django.core.exceptions import ImproperlyConfigured


def nearest(wrong: str, right: Sequence[str]) -> str:
    """Return ` Did you mean 'x'?`, or a list of what is allowed where nothing is near.

    A name that has all the wrong one's words and more is nearest (`CACHE_TTL`: `CACHE_DEFAULT_TTL`).
    """
    words = set(wrong.split("_"))
    longer = [name for name in right if words < set(name.split("_"))]
    close = longer if len(longer) == 1 else get_close_matches(wrong, right, n=1)
    if close:
        return f" Did you mean {close[0]!r}?"
    return f" Allowed: {', '.join(sorted(right))}." if right else ""


class PerfkitError(Exception):
    """The root of all errors of perfkit."""


class SettingsError(PerfkitError, ImproperlyConfigured):
    """An option of `PERFKIT` is unknown, of the wrong type, or out of range.

    `manage.py check` finds it before anything runs.
    """

    def __init__(self, option: str, problem: str) -> None:
        super().__init__(option, problem)
        self.option = option
        self.problem = problem

    def __str__(self) -> str:
        return f"PERFKIT[{self.option!r}] {self.problem}"


class UsageError(PerfkitError):
    """The call itself is wrong: change the code, do not catch this."""


class RelationPathError(UsageError):
    """A relation path names something the model does not have; raised before any query."""

    def __init__(self, model: str, path: str, part: str, allowed: Sequence[str]) -> None:
        super().__init__(model, path, part, allowed)
        self.model = model
        self.path = path
        self.part = part
        self.allowed = allowed

    def __str__(self) -> str:
        where = "" if self.part == self.path else f" (in the path {self.path!r})"
        return f"{self.model} has no relation {self.part!r}{where}.{nearest(self.part, self.allowed)}"


class NPlusOneError(UsageError):
    """Queries were sent in a loop, where one for all rows would do.

    In the mode `"raise"` it is raised in the place of the query that makes it a loop, which was not sent;
    by `no_n_plus_one` at the end of the block, with every loop that was found in it.
    """

    def __init__(self, findings: Sequence[str]) -> None:
        super().__init__(findings)
        self.findings = findings

    def __str__(self) -> str:
        return "\n".join(self.findings)


class RelatedRowsError(UsageError):
    """Some rows of a relation are asked for in a way that cannot be; raised before any query."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path = path
        self.problem = problem

    def __str__(self) -> str:
        return f"RelatedRows({self.path!r}): {self.problem}"


class SchemaFieldError(UsageError):
    """A field of a schema, or a declared need, reads an attribute that the model does not have.

    Raised before any query. Correct the name, or declare what makes the value: `needs(...)`.
    """

    def __init__(self, reader: str, model: str, attribute: str, allowed: Sequence[str]) -> None:
        super().__init__(reader, model, attribute, allowed)
        self.reader = reader
        self.model = model
        self.attribute = attribute
        self.allowed = allowed

    def __str__(self) -> str:
        hint = nearest(self.attribute, self.allowed)
        return f"{self.reader} reads {self.attribute!r}, which {self.model} does not have.{hint}"


class SchemaPlanError(UsageError):
    """No plan can be made for a schema; raised before any query."""

    def __init__(self, schema: str, problem: str) -> None:
        super().__init__(schema, problem)
        self.schema = schema
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.schema}: {self.problem}"


class BatchSizeError(UsageError):
    """A single row needs more bound parameters than one statement may have."""

    def __init__(self, columns: int, parameter_limit: int) -> None:
        super().__init__(columns, parameter_limit)
        self.columns = columns
        self.parameter_limit = parameter_limit

    def __str__(self) -> str:
        return (
            f"One row binds {self.columns} parameters, but one statement takes {self.parameter_limit}. "
            "Write fewer columns at once."
        )


class UnsupportedModelError(UsageError):
    """The called function cannot serve this model; raised before anything is read or written."""

    def __init__(self, model: str, function: str, reason: str) -> None:
        super().__init__(model, function, reason)
        self.model = model
        self.function = function
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.function} cannot serve {self.model}: {self.reason}"


class RowShapeError(UsageError):
    """A row of a bulk call is not a row of the model: a wrong type, or a wrong key; nothing was written."""

    def __init__(self, model: str, row_number: int, problem: str) -> None:
        super().__init__(model, row_number, problem)
        self.model = model
        self.row_number = row_number
        self.problem = problem

    def __str__(self) -> str:
        return f"Row {self.row_number} (from 0) of {self.model} {self.problem}"


class CacheKeyError(UsageError, ValueError):
    """A key, a pattern of keys or a tag is none that the cache can take; nothing was read or written."""

    def __init__(self, key: str, problem: str) -> None:
        super().__init__(key, problem)
        self.key = key
        self.problem = problem

    def __str__(self) -> str:
        return f"The cache cannot take the key {self.key!r}: {self.problem}."


class KeyTemplateError(UsageError, ValueError):
    """A template of keys does not fit the function that it is for; raised where the function is decorated.

    A placeholder names a parameter of the function, or an attribute of one: `{airport_id}`, `{self.code}`.
    """

    def __init__(self, function: str, template: str, problem: str) -> None:
        super().__init__(function, template, problem)
        self.function = function
        self.template = template
        self.problem = problem

    def __str__(self) -> str:
        return f"The template {self.template!r} does not fit {self.function}: {self.problem}"


class UncacheableArgumentError(UsageError, TypeError):
    """A cached function was called with something that names no call; it was not run.

    Pass plain values, saved instances of models, querysets, dataclasses or lists of them,
    or say with `key` what of the arguments matters.
    """

    def __init__(self, function: str, parameter: str, kind: str) -> None:
        super().__init__(function, parameter, kind)
        self.function = function
        self.parameter = parameter
        self.kind = kind

    def __str__(self) -> str:
        return (
            f"{self.function} is cached, and its argument {self.parameter!r}, {self.kind}, does not name a call. "
            f'Say with `key` what of it matters, such as key="…:{{{self.parameter}.id}}", or pass a plain value.'
        )


class UncacheableResultError(UsageError, TypeError):
    """A cached function has returned something that would not come back the same; it ran, and nothing was stored.

    Return plain values, instances of models or lists of them, name a dataclass as the type that it returns,
    or give `pickle=True`.
    """

    def __init__(self, function: str, problem: str) -> None:
        super().__init__(function, problem)
        self.function = function
        self.problem = problem

    def __str__(self) -> str:
        return (
            f"{self.function} is cached, and what it has returned cannot be kept: {self.problem}. "
            "Return plain values, instances of models or lists of them, declare a dataclass as what it returns, "
            "or give pickle=True."
        )


class UnknownWarmerError(UsageError):
    """`warm_cache` was asked for a warmer that nobody registered; nothing was warmed."""

    def __init__(self, name: str, registered: Sequence[str]) -> None:
        super().__init__(name, registered)
        self.name = name
        self.registered = registered

    def __str__(self) -> str:
        return f"There is no warmer {self.name!r}.{nearest(self.name, self.registered)}"


class BenchmarkError(UsageError):
    """What is to be measured is not there, or cannot be measured as asked; what was measured before is lost."""


class UnknownTagError(UsageError):
    """What is to be looked at or invalidated in the cache is neither a model nor a tag; nothing has happened."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(name, known)
        self.name = name
        self.known = known

    def __str__(self) -> str:
        close = get_close_matches(self.name.lower(), [label.lower() for label in self.known], n=1)
        near = next((label for label in self.known if close and label.lower() == close[0]), "")
        hint = f"Did you mean {near!r}?" if near else "Name a model as app_label.Model, or tag:… or key:…."
        return f"{self.name!r} is neither a model nor a tag. {hint}"


class NotExplainableError(UsageError):
    """No plan of a measured statement is shown: it is not proven that this changes nothing, or there is none.

    Nothing has happened; the reason says what to do instead, where something can be done.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


class NoIndexAdviceError(UsageError):
    """The indexes of a database are neither PostgreSQL's nor SQLite's, so nothing can be said of them."""

    def __init__(self, alias: str, vendor: str) -> None:
        super().__init__(alias, vendor)
        self.alias = alias
        self.vendor = vendor

    def __str__(self) -> str:
        return (
            f"The database {self.alias!r} is {self.vendor}: "
            "indexes are advised on for PostgreSQL and SQLite alone."
        )


class UnwritableIndexError(UsageError):
    """An index that is advised cannot be said in `Meta.indexes` so that it is the same; write it by hand."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"Write it by hand: {self.reason}."


class NoIndexMigrationError(UsageError):
    """No migration can be written for an app; no file of it was changed.

    The reason says why, such as two migrations that nothing comes after, which `makemigrations --merge` mends.
    """

    def __init__(self, app_label: str, reason: str) -> None:
        super().__init__(app_label, reason)
        self.app_label = app_label
        self.reason = reason

    def __str__(self) -> str:
        return f"No migration can be written for {self.app_label}: {self.reason}"


class AdviceDecisionError(UsageError):
    """An index advice cannot be accepted or dismissed, for its state or for want of a reason; it is as it was."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(key, reason)
        self.key = key
        self.reason = reason

    def __str__(self) -> str:
        return f"Nothing is decided of the index advice {self.key[:12]}: {self.reason}."


class WorkloadFileError(UsageError):
    """A file is no workload that this version reads, or cannot be read or written; nothing has happened."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path = path
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.path}: {self.problem}"


class UnwarmableError(UsageError, TypeError):
    """A warmer has returned or yielded something that cannot be warmed; what came before it is in the cache.

    It may be a queryset, `Answer(queryset)`, and `functools.partial(function, …)` for a call of a function under
    `cached` or `cached_query`.
    """

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what

    def __str__(self) -> str:
        return (
            f"{self.what} cannot be warmed. A warmer returns or yields querysets, Answer(queryset), and "
            "functools.partial(function, …) for calls of functions under @cached or @cached_query."
        )


class JobDeclarationError(UsageError, TypeError):
    """A function cannot be made a job as `@job` declares it."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(name, problem)
        self.name = name
        self.problem = problem

    def __str__(self) -> str:
        return f"The job {self.name}: {self.problem}"


class JobArgumentError(UsageError, TypeError):
    """A job cannot be enqueued with these arguments; nothing was."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(name, problem)
        self.name = name
        self.problem = problem

    def __str__(self) -> str:
        return f"The job {self.name} cannot be called so: {self.problem}"


class JobResultError(UsageError, TypeError):
    """A job has returned, or yielded, what JSON cannot hold; its effect was rolled back."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(name, problem)
        self.name = name
        self.problem = problem

    def __str__(self) -> str:
        return f"What the job {self.name} returns cannot be kept: {self.problem}"


class JobActionError(UsageError):
    """A job is in a state in which this cannot be done to it, such as to replay one that runs."""

    def __init__(self, job_id: str, problem: str) -> None:
        super().__init__(job_id, problem)
        self.job_id = job_id
        self.problem = problem

    def __str__(self) -> str:
        return f"The job {self.job_id} {self.problem}"


class UnknownScheduleError(UsageError, LookupError):
    """`PERFKIT["SCHEDULES"]` has no entry of that name."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(name, known)
        self.name = name
        self.known = known

    def __str__(self) -> str:
        return f"There is no schedule {self.name!r}.{nearest(self.name, list(self.known))}"


class MailArgumentError(UsageError, ValueError):
    """A mail cannot be left to a worker; none was."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return f"The mail cannot be left to a worker: {self.problem}"


class UnknownJobError(UsageError, LookupError):
    """There is no job of that name in this process, or none with that id in the database."""

    def __init__(self, name: str, hint: str = "") -> None:
        super().__init__(name, hint)
        self.name = name
        self.hint = hint

    def __str__(self) -> str:
        return f"There is no job {self.name!r}.{self.hint}"


class TaskInTransactionError(UsageError):
    """A task is to be sent within a transaction; raised in the mode `"raise"`, and it was not sent.

    It could begin before COMMIT, and find nothing; and it would run though the transaction is rolled back.
    """

    def __init__(self, name: str, line: str, alias: str) -> None:
        super().__init__(name, line, alias)
        self.name = name
        self.line = line
        self.alias = alias

    def __str__(self) -> str:
        return (
            f"{self.line} sends the task {self.name} within a transaction of {self.alias!r}: it may begin before "
            "COMMIT, and runs though it is rolled back. Use delay_on_commit(…), or after_response(task, …)."
        )


class AtomicMigrationError(UsageError):
    """An index operation met a transaction; raised before the database is touched."""

    def __init__(self, operation: str, index: str) -> None:
        super().__init__(operation, index)
        self.operation = operation
        self.index = index

    def __str__(self) -> str:
        return (
            f"{self.operation}({self.index!r}) cannot run inside a transaction. "
            "Write `atomic = False` in the body of its Migration class."
        )


class IndexConflictError(UsageError):
    """An index or a constraint of that name exists and is not the one that is wanted; nothing was changed."""

    def __init__(self, index: str, existing: str, wanted: str) -> None:
        super().__init__(index, existing, wanted)
        self.index = index
        self.existing = existing
        self.wanted = wanted

    def __str__(self) -> str:
        return (
            f"{self.index!r} exists already and is another one. There is: {self.existing} "
            f"Wanted: {self.wanted} Give the new one another name, or drop the old one first."
        )


class FieldChangeError(UsageError):
    """AlterForeignKeySafely met a column whose name, type, NULL, default or comment changes; nothing was done.

    It changes indexes and constraints alone. Change the column by Django's AlterField, in a migration before it.
    """

    def __init__(self, field: str) -> None:
        super().__init__(field)
        self.field = field

    def __str__(self) -> str:
        return (
            f"The column of {self.field} would change too, and AlterForeignKeySafely changes only its indexes and "
            "constraints. Change the column by AlterField first."
        )


class ConstraintViolatedError(UsageError):
    """Rows of a table do not meet a constraint that is to be added; nothing of it was left behind.

    Correct the rows, and run the migration again.

    Attributes:
        problem: How many rows.
        statement: What finds them.
    """

    def __init__(self, constraint: str, table: str, problem: str, statement: str) -> None:
        super().__init__(constraint, table, problem, statement)
        self.constraint = constraint
        self.table = table
        self.problem = problem
        self.statement = statement

    def __str__(self) -> str:
        return (
            f"{self.constraint!r} cannot be had on {self.table}: {self.problem}. "
            f"They are found by: {self.statement} Nothing of it was left behind."
        )


class KeysetOrderError(UsageError):
    """A queryset has an order in which no row has a place that can be found again."""

    def __init__(self, model: str, problem: str) -> None:
        super().__init__(model, problem)
        self.model = model
        self.problem = problem

    def __str__(self) -> str:
        return (
            f"No keyset pages of {self.model}: {self.problem}. "
            "Order a queryset of instances by columns, or by annotations of one value a row."
        )


class ListDeclarationError(UsageError, TypeError):
    """A subclass of `Filters` or `Sorting` says what cannot be; raised where the class is made."""

    def __init__(self, schema: str, parameter: str, problem: str) -> None:
        super().__init__(schema, parameter, problem)
        self.schema = schema
        self.parameter = parameter
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.schema}{'.' if self.parameter else ''}{self.parameter}: {self.problem}."


class RateError(UsageError, ValueError):
    """A rate of requests is none, or has a number out of range."""

    def __init__(self, rate: str, problem: str) -> None:
        super().__init__(rate, problem)
        self.rate = rate
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.rate!r} is no rate: {self.problem}."


class PartitionedTableError(UsageError):
    """An index of a partitioned table is on all partitions that can have one, and others cannot.

    These are foreign tables. The indexes that were built stay, and serve queries of their partitions.
    """

    def __init__(self, table: str, index: str) -> None:
        super().__init__(table, index)
        self.table = table
        self.index = index

    def __str__(self) -> str:
        return (
            f"The index {self.index!r} of {self.table} stays invalid: some of its partitions are foreign tables, "
            "which can have none. Detach them, or make indexes of the others one by one."
        )


class PreparedTransactionError(UsageError):
    """PREPARE TRANSACTION stood in one text with other statements, and cached rows were written.

    Raised before anything is sent. Send PREPARE TRANSACTION by itself: what readers have to know of its
    transaction goes into it immediately before.
    """

    def __str__(self) -> str:
        return (
            "PREPARE TRANSACTION stands in one text with other statements, so readers of the cache could not "
            "be told when COMMIT PREPARED comes. Send it by itself."
        )


class TriggersUnsupportedError(UsageError):
    """Outside writes to the rows of a model cannot be told by triggers; nothing was changed."""

    def __init__(self, subject: str, problem: str) -> None:
        super().__init__(subject, problem)
        self.subject = subject
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.subject} {self.problem}"


class ModelRequestError(UsageError, TypeError):
    """A language model cannot be asked so: messages or parameters that JSON cannot hold, or that change the form.

    Nothing was asked. The text names places, never what stands there.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return f"The model cannot be asked so: {self.problem}"


class SamplingPolicyError(UsageError, TypeError):
    """An answer would be drawn by lot, and nobody has said whether it is to be kept; nothing was asked.

    Above temperature 0, or without one, say `cache=True` (all get the same answer until it ends) or `cache=False`
    (each gets a new one), in the call or for the whole `ModelCache`.
    """

    def __init__(self, temperature: str) -> None:
        super().__init__(temperature)
        self.temperature = temperature

    def __str__(self) -> str:
        return (
            f"With {self.temperature} the same prompt has many answers: say cache=True to keep the first one, "
            "or cache=False for a new one each time."
        )


class AdvisorError(UsageError):
    """The index advisor cannot work here, as it needs pglast; nothing has happened."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return f"The index advisor cannot work here: {self.problem}"


class TriggerRightsError(UsageError):
    """The database role lacks a right that making or dropping triggers needs; this table is as it was."""

    def __init__(self, table: str, problem: str) -> None:
        super().__init__(table, problem)
        self.table = table
        self.problem = problem

    def __str__(self) -> str:
        return (
            f"{self.table}: {self.problem}. Use the role that runs the migrations: it owns the table, may create "
            "functions in the schema of perfkit's outbox, and may insert into that."
        )


class VisibilityTimeoutError(UsageError):
    """Celery's broker would deliver a task again while it still waits or runs; raised by `configure`."""

    def __init__(
        self, timeout_seconds: int, limit_seconds: int, eta_seconds: int, margin_seconds: int
    ) -> None:
        super().__init__(timeout_seconds, limit_seconds, eta_seconds, margin_seconds)
        self.timeout_seconds = timeout_seconds
        self.least_seconds = limit_seconds + eta_seconds + margin_seconds

    def __str__(self) -> str:
        _, limit, eta, margin = self.args
        return (
            f"A visibility timeout of {self.timeout_seconds} s is too short: "
            f"the hard time limit ({limit} s), the longest ETA ({eta} s) and a margin ({margin} s) "
            f"make {self.least_seconds} s."
        )


class UnavailableError(PerfkitError):
    """Something outside failed: retry later, or go without."""


class JobKeyBusyError(UnavailableError):
    """Another transaction has a job under the same key, which this one cannot see; try again in a new one."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return (
            f"Another transaction has the job {self.name} under the same key: try again in a new transaction."
        )


class JobFencedError(UnavailableError):
    """The lease of a running job has ended, and somebody else has it; nothing of this run was committed."""

    def __init__(self, job_id: str) -> None:
        super().__init__(job_id)
        self.job_id = job_id

    def __str__(self) -> str:
        return f"Somebody else has the job {self.job_id} now."


class JobCancelledError(UnavailableError):
    """Somebody wants the running job to stop; it is raised where the job next looks, and should come through."""

    def __init__(self, job_id: str) -> None:
        super().__init__(job_id)
        self.job_id = job_id

    def __str__(self) -> str:
        return f"The job {self.job_id} was cancelled."


class MailDelayedError(UnavailableError):
    """A mail server does not take a mail now; the job that sends it is tried again, for about two days."""

    def __init__(self, code: int, recipients: int = 0) -> None:
        super().__init__(code, recipients)
        self.code = code
        self.recipients = recipients

    def __str__(self) -> str:
        return f"The mail server does not take the mail{_to(self.recipients)} now, with the code {self.code}."


class MailUnansweredError(UnavailableError):
    """A mail server was given a mail and did not say in time whether it has it; look there first."""

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds

    def __str__(self) -> str:
        return f"The mail server did not say within {self.seconds:g} s whether it has the mail: it may have."


class MailRefusedError(PerfkitError):
    """A mail server will not take a mail, now or later; the job that sends it is a dead letter."""

    def __init__(self, code: int, recipients: int = 0) -> None:
        super().__init__(code, recipients)
        self.code = code
        self.recipients = recipients

    def __str__(self) -> str:
        return f"The mail server refuses the mail{_to(self.recipients)}, with the code {self.code}."


def _to(recipients: int) -> str:
    return f" to {recipients} recipient{'s' if recipients > 1 else ''}" if recipients else ""


class TaskStatusUnavailableError(UnavailableError):
    """The store of task results does not answer; the task itself may be well."""

    def __init__(self, task_id: str, problem: str) -> None:
        super().__init__(task_id, problem)
        self.task_id = task_id
        self.problem = problem

    def __str__(self) -> str:
        return f"The status of task {self.task_id} cannot be read: {self.problem}"


class WarmingError(UnavailableError):
    """Some cache warmers failed, after all of them were tried; what the others stored is kept."""

    def __init__(self, failures: Sequence[str], warmers: int) -> None:
        super().__init__(failures, warmers)
        self.failures = failures
        self.warmers = warmers

    def __str__(self) -> str:
        return f"{len(self.failures)} of {self.warmers} warmers failed: {'; '.join(self.failures)}"


class CacheUnavailableError(UnavailableError):
    """The cache server did not take an invalidation, and the write was refused.

    Raised only under `PERFKIT["CACHE_OUTAGE_WRITES"] = "refuse"`, before COMMIT: nothing was written.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return f"The cache server could not be told of a write, so the write was refused: {self.problem}"


class CacheUnreachableError(UnavailableError):
    """The cache server does not answer somebody who looks into it or voids something; nothing has happened."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return f"The cache cannot be reached: {self.problem}"


class PoolBusyError(UnavailableError):
    """No connection of the async pool was free in time: more are wanted, or the server does not answer.

    The statement was not sent. See the option ASYNC_POOL_SIZE.
    """

    def __init__(self, alias: str, size: int, seconds: float) -> None:
        super().__init__(alias, size, seconds)
        self.alias = alias
        self.size = size
        self.seconds = seconds

    def __str__(self) -> str:
        return (
            f"None of the {self.size} async connections to {self.alias!r} was free within {self.seconds:g} "
            "seconds: all were in use, or the database does not answer."
        )


class LimiterUnavailableError(UnavailableError):
    """The server that counts requests does not answer, and the request is refused.

    Raised only under `PERFKIT["RATE_LIMIT_OUTAGE"] = "closed"`.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return f"The rate limit cannot be counted, so the request is refused: {self.problem}"


class ModelLimitError(UnavailableError):
    """More prompts than the rate of a `ModelCache` admits; nothing was asked.

    `retry_after_seconds` says when one would be admitted.
    """

    def __init__(self, rates: str, retry_after_seconds: int | None) -> None:
        super().__init__(rates, retry_after_seconds)
        self.rates = rates
        self.retry_after_seconds = retry_after_seconds

    def __str__(self) -> str:
        wait = self.retry_after_seconds
        then = "try again later." if wait is None else f"the next one is admitted in {wait} s."
        return f"More prompts than {self.rates}: {then}"


class ModelBudgetError(UnavailableError):
    """What a prompt may cost is more than what is left of the day's budget, or that cannot be counted.

    The model was not asked; answers that are kept are still given.
    Wait for the next day (UTC), name a smaller `max_tokens`, or raise the budget.
    While the cache server does not answer nothing can be counted, so all prompts are refused.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return f"The model is not asked for its budget: {self.problem}"


class ModelUnavailableError(UnavailableError):
    """The server of a language model cannot be reached, is too slow, or answers with a 429 or 5xx.

    It was asked as often as `CallRetries` allows; ask again later, after `retry_after_seconds` where it says so.
    `status` is None where it has not answered; `retry_after_seconds` what it says, where it does.
    """

    def __init__(
        self, problem: str, status: int | None = None, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(problem, status, retry_after_seconds)
        self.problem = problem
        self.status = status
        self.retry_after_seconds = retry_after_seconds

    def __str__(self) -> str:
        return f"The model's server {self.problem}."


class ModelRefusedError(UnavailableError):
    """The server of a language model does not take a request (a 4xx): a wrong key, no such model, a long prompt.

    Asking again does not help. `code` is what the server calls the reason, where it does so in one word.
    """

    def __init__(self, status: int, code: str) -> None:
        super().__init__(status, code)
        self.status = status
        self.code = code

    def __str__(self) -> str:
        return f"The model's server refuses the request: {self.status} {self.code}".rstrip()


class ModelAnswerError(UnavailableError):
    """A language model has answered, and its answer is malformed, cut off, compressed or too large.

    It may have been paid for, and is not kept: asking again asks the model.
    Of an answer that is too large, raise the adapter's `most_bytes`, or ask for less with `max_tokens`;
    of one that calls a tool, call `complete` instead of `stream`.
    Else the server is faulty, or what stands before it.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return f"The model's answer {self.problem}."


class IndexLockedError(UnavailableError):
    """Others held a lock longer than every attempt waited; running the migration again is safe.

    No query uses an unfinished index; it was dropped where that was possible, else the next run does it.
    """

    def __init__(self, index: str, attempts: int, problem: str) -> None:
        super().__init__(index, attempts, problem)
        self.index = index
        self.attempts = attempts
        self.problem = problem

    def __str__(self) -> str:
        return (
            f"{self.index!r} could not be built, changed or dropped in {self.attempts} attempts: "
            f"{self.problem}. Run the migration again when no long transaction is open."
        )


class TriggersLockedError(UnavailableError):
    """Others held a lock on a table for too long; it is as it was, and running the command again is safe."""

    def __init__(self, table: str, waited_seconds: float, problem: str) -> None:
        super().__init__(table, waited_seconds, problem)
        self.table = table
        self.waited_seconds = waited_seconds
        self.problem = problem

    def __str__(self) -> str:
        return (
            f"The triggers of {self.table} could not be changed within {self.waited_seconds} s: {self.problem}. "
            "Run the command again when no long transaction writes the table, or let it wait longer."
        )


class RequestError(PerfkitError):
    """A request was bad; the API answers with a 4xx that names the field."""


class PageError(RequestError):
    """A page number or size is out of range; raised before any query."""

    def __init__(self, field: str, value: object, problem: str) -> None:
        super().__init__(field, value, problem)
        self.field = field
        self.value = value
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.field}={self.value!r} {self.problem}"


class CursorError(RequestError):
    """A cursor is none of this list: it was changed, cut off, or made for another list or order."""

    field = "cursor"

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return f"cursor {self.problem}. Ask for the first page without one."
