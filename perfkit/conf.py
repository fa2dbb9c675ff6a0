"""The one table of options: `PERFKIT = {…}` in Django's settings, read live.

Each option is declared once, in `Options`.
The loader, the system checks and the reference page of the documentation read that table.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar, overload

from django.conf import settings as django_settings

from perfkit.errors import SettingsError
from perfkit.headers import header_name_of
from perfkit.rates import rate_of
from perfkit.schedules import schedule_of

T = TypeVar("T", bound="bool | int | float | str | tuple[str, ...] | dict[str, Any]")

SETTING: Final = "PERFKIT"

_settings_asked: Final[dict[str, Any]] = object.__getattribute__(django_settings, "__dict__")
"""Where Django keeps what was asked for since the settings last changed; it empties it, and never replaces it."""


class Option(Generic[T]):
    """One option: its default and type, what it means, and which values are valid.

    Args:
        default: Used where the setting is absent; its type is the option's type.
            A float takes an int too, a tuple (of strings) a list.
        text: What it does, one sentence, for the reference page and the checks' hints.
        unit: Of a number: `seconds`, `rows`, …
        least: Smallest valid number.
        most: Largest valid number.
        choices: The valid strings, where they are few.
        read: Reads the string, each of a tuple's strings, or of a dictionary's values, and raises ValueError where
            it means nothing.
    """

    name: str

    def __init__(
        self,
        default: T,
        text: str,
        *,
        unit: str = "",
        least: float | None = None,
        most: float | None = None,
        choices: Sequence[str] = (),
        read: Callable[[Any], object] | None = None,
    ) -> None:
        self.default: T = default
        self.kind: type[T] = type(default)
        self.text = text
        self.unit = unit
        self.least = least
        self.most = most
        self.choices = choices
        self.read = read
        self._seen: tuple[object, T] = (self, default)  # the last setting that was found valid, and its value

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Option[T]: ...
    @overload
    def __get__(self, instance: object, owner: type) -> T: ...
    def __get__(self, instance: object | None, owner: type) -> T | Option[T]:
        if instance is None:
            return self
        known = _settings_asked.get(SETTING)  # as `configured` finds it, which most reads need not call
        given = (known if type(known) is dict else configured()).get(self.name, self.default)
        seen = self._seen
        if given is seen[0]:
            return seen[1]
        problem = self.problem_with(given)
        if problem:
            raise SettingsError(self.name, problem)
        convert: Callable[[Any], Any] = self.kind if self.kind in {float, tuple} else lambda same: same
        value: T = convert(given)
        if not isinstance(given, list | dict):  # that may change
            self._seen = (given, value)
        return value

    def problem_with(self, value: object) -> str | None:
        """Say what is wrong with `value`, or None where it is valid."""
        accepted: tuple[type, ...] = {float: (int, float), tuple: (list, tuple)}.get(self.kind, (self.kind,))
        if not isinstance(value, accepted) or (isinstance(value, bool) and self.kind is not bool):
            return f"must be {self.kind.__name__}, not {type(value).__name__}."
        if isinstance(value, list | tuple | dict) or self.read is not None:
            return self._problem_within(value if isinstance(value, list | tuple | dict) else (value,))
        if self.choices and value not in self.choices:
            return f"must be one of {', '.join(map(repr, self.choices))}, not {value!r}."
        if isinstance(value, int | float) and not isinstance(value, bool):
            if self.least is not None and not value >= self.least:
                return f"must be at least {self.least}, not {value}."
            if self.most is not None and not value <= self.most:
                return f"must be at most {self.most}, not {value}."
        return None

    def _problem_within(self, values: Sequence[object] | Mapping[Any, object]) -> str | None:
        """Say what is wrong with one of several values, or None where all are valid."""
        named = isinstance(values, Mapping)
        for name, value in values.items() if isinstance(values, Mapping) else enumerate(values):
            if not isinstance(name if named else value, str):
                return "must have strings as its keys." if named else "must hold strings only."
            try:
                if self.read is not None:
                    self.read(value)
            except ValueError as error:
                return f"cannot be read: {f'{name!r}: ' if named else ''}{error}"
        return None


class Options:
    """Every option of perfkit; reading an attribute reads the setting of this moment.

    Raises:
        SettingsError: The configured value has the wrong type or is out of range.
    """

    CACHE_ENABLED = Option(
        True, "Whether reads may come from the cache; False sends every read to the database."
    )
    CACHE_ALIAS = Option("default", "The alias in Django's CACHES whose server perfkit uses.")
    CACHE_DEFAULT_TTL = Option(
        1800, "How long an entry lives where its manager names no time.", unit="seconds", least=1
    )
    CACHE_MODELS: Option[tuple[str, ...]] = Option(
        (),
        "Models without a CachedManager whose tables cached reads look into, as 'app_label.ModelName', "
        "or 'app_label.*' for all of an app: perfkit watches what is written to them.",
    )
    CACHE_KEY_PREFIX = Option(
        "perfkit", "Begins every key on the cache server; separate projects need separate ones."
    )
    CACHE_MEMORY = Option(
        "request",
        "The tier inside the process: 'request' asks the cache server for tokens once per request or task, "
        "'strict' at each read, 'off' keeps nothing in the process.",
        choices=("request", "strict", "off"),
    )
    CACHE_MEMORY_BYTES = Option(
        64 * 1024 * 1024,
        "Bound on what the tier inside the process holds, as estimated from the size of the entries.",
        unit="bytes",
        least=0,
    )
    CACHE_TIMEOUT = Option(
        0.05,
        "Longest wait for the cache server before a read goes to the database.",
        unit="seconds",
        least=0.001,
        most=10.0,
    )
    CACHE_RETRY_AFTER = Option(
        1.0,
        "How long the cache is left alone after it failed, before one caller tries it again.",
        unit="seconds",
        least=0.1,
        most=60.0,
    )
    CACHE_OUTAGE_WRITES = Option(
        "bounded",
        "What a write does when the cache server cannot be told of it: 'bounded' goes on and other processes "
        "may be stale for a second, 'wait' returns after that second, 'refuse' raises CacheUnavailableError.",
        choices=("bounded", "wait", "refuse"),
    )
    CACHE_RESPONSES_TTL = Option(
        300, "How long a page lives where its view names no time.", unit="seconds", least=1
    )
    CACHE_RESPONSES_ALLOW: Option[tuple[str, ...]] = Option(
        (),
        "Regular expressions of the paths whose pages ResponseCacheMiddleware keeps, from their beginning; "
        "all paths where empty.",
    )
    CACHE_RESPONSES_DENY: Option[tuple[str, ...]] = Option(
        ("/admin/",), "Regular expressions of the paths whose pages ResponseCacheMiddleware leaves alone."
    )
    CACHE_IGNORED_PARAMETERS: Option[tuple[str, ...]] = Option(
        ("utm_*", "gclid", "fbclid", "msclkid"),
        "Parameters of addresses that tell no pages apart, with * for any rest of a name; a view whose page is "
        "kept is not shown them.",
    )
    COMPRESS_FROM_BYTES = Option(
        1_000,
        "Answers of at least this size are compressed, by CompressionMiddleware and where pages are kept.",
        unit="bytes",
        least=1,
    )
    COMPRESS_PADDING_BYTES = Option(
        100,
        "So many at most are put beside a compressed answer that may hold a secret, so that its length tells less "
        "(BREACH); 0 for none.",
        unit="bytes",
        least=0,
        most=256,
    )
    CACHE_STATISTICS = Option(
        True, "Whether cached reads are counted, for `perfkit.caching.statistics` and what shows it."
    )
    BULK_INSERT_CHUNK_SIZE = Option(
        1000,
        "Rows that bulk_insert and bulk_delete read at once where the call names no number.",
        unit="rows",
        least=1,
        most=1_000_000,
    )
    BULK_UPDATE_CHUNK_SIZE = Option(
        5000,
        "Rows that bulk_update and bulk_upsert read at once, and write by one statement where they can, "
        "where the call names no number.",
        unit="rows",
        least=1,
        most=1_000_000,
    )
    BULK_FOREIGN_KEYS_BY_SET = Option(
        True,
        "Whether bulk_insert and bulk_upsert, where the database role may silence triggers, check foreign keys "
        "once per distinct value instead of once per row, with the same locks.",
    )
    IMPORT_MAX_BYTES = Option(
        8 * 1024 * 1024,
        "Largest file that the admin takes for an import; `manage.py bulk_load` takes any.",
        unit="bytes",
        least=1,
    )
    INDEX_WARNING_BYTES = Option(
        64 * 1024 * 1024,
        "Size of a table from which `check --database` warns of migrations that would block writes to it.",
        unit="bytes",
        least=0,
    )
    INDEX_REPLICAS: Option[tuple[str, ...]] = Option(
        (),
        "Aliases of replicas that queries go to; an index is called unused only if they do not read it either.",
    )
    INDEX_UNUSED_DAYS = Option(
        7.0,
        "For how long at least an index must be known to be there and not read before it is called unused.",
        unit="days",
        least=0.0,
    )
    DATABASE_RETRY_AFTER = Option(
        5.0,
        "What `Retry-After` says of answers that failed because the database could not be reached.",
        unit="seconds",
        least=1.0,
        most=3600.0,
    )
    QUERY_SLOW_THRESHOLD = Option(
        0.1, "A query that takes at least this long is logged as SLOW QUERY.", unit="seconds", least=0.0
    )
    QUERY_SLOW_LOGS_PER_MINUTE = Option(
        60,
        "Lines about slow queries that one process logs in a minute.",
        unit="lines",
        least=0,
        most=1_000_000,
    )
    QUERY_SLOW_SAMPLE_RATE = Option(
        1.0,
        "Share of slow queries that are logged; all of them are counted.",
        unit="share",
        least=0.0,
        most=1.0,
    )
    QUERY_SLOW_PLAN = Option(
        False,
        "Whether a second line has the plan of a slow SELECT on PostgreSQL, which costs an EXPLAIN for each line.",
    )
    QUERY_SLOW_PARAMETERS = Option(
        False,
        "Whether lines about slow queries have the values of their parameters, shortened; they may be secret.",
    )
    SERVER_TIMING = Option(
        "staff",
        "Who is told in `Server-Timing` how long a request took, in the database and by the names of `timed`: "
        "'staff' where the request has found out that it is of staff, 'all', or nobody with 'off'.",
        choices=("off", "staff", "all"),
    )
    METRICS_ENABLED = Option(
        True,
        "Whether requests, queries, tasks and what the cache does are measured, for all that shows them.",
    )
    METRICS_DIRECTORY = Option(
        "",
        "Folder of this user's alone where what a process has measured outlives it, if it is killed before it "
        "could tell; where empty, one in memory (/dev/shm) or in the system's folder for temporary files.",
    )
    METRICS_INTERVAL = Option(
        5.0,
        "How often a process tells what it measured.",
        unit="seconds",
        least=0.1,
        most=60.0,
    )
    METRICS_TOKEN = Option(
        "",
        "Who wants perfkit's page for Prometheus must send this as `Authorization: Bearer …`; "
        "where empty, everybody who reaches it gets it.",
    )
    REQUEST_ID_HEADER = Option(
        "X-Request-ID",
        "The header field of requests and answers that has the id of a request.",
        read=header_name_of,
    )
    REQUEST_ID_ACCEPT = Option(
        True,
        "Whether a valid id that a client sends is taken, and its `traceparent`; with False each request gets a "
        "new one, and begins a trace.",
    )
    SQL_COMMENTS = Option(
        False,
        "Whether statements end with a comment that says which request and view, or which task, has sent them, in "
        "sqlcommenter's format.",
    )
    TRACING = Option(
        True,
        "Whether cached reads, bulk calls, compiled lists, jobs and answers of models are spans of OpenTelemetry, "
        "where its API is installed.",
    )
    AUTOLOAD_AFTER_ROWS = Option(
        1,
        "How many rows of a list are asked for a relation before autoload loads it for all: "
        "with 2 or more, a list of which one row is looked at loads nothing for the others.",
        unit="rows",
        least=1,
    )
    N_PLUS_ONE_MODE = Option(
        "off",
        "What the N+1 guard does with a loop of queries: 'log' logs it at the end of the request, 'header' "
        "tells it in the answer as well, 'raise' refuses the query that makes it one, 'off' looks for none.",
        choices=("off", "log", "header", "raise"),
    )
    N_PLUS_ONE_MIN_QUERIES = Option(
        2, "Queries by the same lines for different rows that make a loop.", unit="queries", least=2
    )
    N_PLUS_ONE_SAMPLE_RATE = Option(
        1.0, "Share of requests that the N+1 guard watches.", unit="share", least=0.0, most=1.0
    )
    N_PLUS_ONE_ALLOW: Option[tuple[str, ...]] = Option(
        (),
        "Loops that the N+1 guard leaves alone: patterns of 'app_label.Model', 'app_label.Model.relation' "
        "and 'module.function', with * for anything.",
    )
    N_PLUS_ONE_RECORD = Option(
        "",
        "File to which the N+1 guard appends what it finds, for `manage.py perfkit_n_plus_one`; none where empty.",
    )
    ASYNC_POOL_SIZE = Option(
        0,
        "Most connections of the pool that each event loop has for what async views read of compiled lists "
        "(PostgreSQL); with 0 there is none, and threads read it.",
        unit="connections",
        least=0,
        most=1_000,
    )
    JOB_BACKEND = Option(
        "celery",
        "What carries jobs to workers: 'celery', 'django' (whatever Django's own TASKS name, from Django 6.0 on), "
        "'immediate' (they run where they are enqueued, for tests), or the dotted name of a "
        "`perfkit.jobs.backends.JobBackend`.",
    )
    SCHEDULES: Option[dict[str, Any]] = Option(
        {},
        "Jobs that are enqueued again and again, by names of your own: each entry says the `job`, `every` so "
        "many seconds (or a timedelta) or a `cron` such as '0 3 * * *', and, where needed, `args`, `kwargs` and "
        "`queue`.",
        read=schedule_of,
    )
    MAIL_BACKEND = Option(
        "django.core.mail.backends.smtp.EmailBackend",
        "What sends the mails that `perfkit.jobs.mail.JobEmailBackend` has left to workers: the dotted name of "
        "an e-mail back end, or its alias where the project has Django's MAILERS (from 6.1 on).",
    )
    TASK_IN_TRANSACTION = Option(
        "log",
        "What happens when a Celery task is sent within a transaction: 'log' logs it once for each line, "
        "'raise' refuses it, 'off' does not look.",
        choices=("off", "log", "raise"),
    )
    IDEMPOTENCY_TTL = Option(
        86_400,
        "How long the answer to a request with an idempotency key is given again; after that the request would "
        "run anew.",
        unit="seconds",
        least=60,
    )
    HEALTH_TIMEOUT = Option(
        2.0,
        "Longest wait of a probe of health; what has not answered by then has failed.",
        unit="seconds",
        least=0.1,
        most=60.0,
    )
    HEALTH_READY: Option[tuple[str, ...]] = Option(
        ("database", "migrations", "cache", "outbox", "broker"),
        "The checks that `/health/ready` runs, by their names, or by that of one of several such as "
        "'database.default'.",
    )
    HEALTH_TOLERATED: Option[tuple[str, ...]] = Option(
        ("cache", "outbox", "broker", "workers", "jobs", "schedules"),
        "The checks whose failure makes a report 'degraded' and no 503, by the same names.",
    )
    HEALTH_DATABASES: Option[tuple[str, ...]] = Option(
        (), "Aliases of the databases that are checked; all where empty."
    )
    HEALTH_OVERDUE_AFTER = Option(
        300.0,
        "After so long a job that was not begun, a schedule that nobody has asked, and a notice in the outbox "
        "are overdue.",
        unit="seconds",
        least=1.0,
    )
    HEALTH_MOST_DEAD_JOBS = Option(
        0,
        "The check of jobs fails where more than so many have failed for good within an hour.",
        unit="jobs",
        least=0,
    )
    HEALTH_TOKEN = Option(
        "",
        "Requests with the header `Authorization: Bearer` and this are shown what each check has found, as staff "
        "always are; none where empty.",
    )
    HEALTH_ADDRESSES: Option[tuple[str, ...]] = Option(
        (),
        "Addresses and networks, such as '10.0.0.0/8', that are shown what each check has found, unless a proxy "
        "says that it stands in between.",
        read=ipaddress.ip_network,
    )
    WORKLOAD_ENABLED = Option(
        False,
        "Whether statements are counted by what they are without their values, with a few examples of each, for "
        "`manage.py perfkit_workload` and the index advisor.",
    )
    WORKLOAD_INTERVAL = Option(
        10.0,
        "How often a process writes down what it has counted; one that is killed loses its last interval.",
        unit="seconds",
        least=0.1,
        most=3600.0,
    )
    WORKLOAD_SAMPLE_RATE = Option(
        0.01,
        "Share of statements of which an example is kept; the first of each shape in a process always is.",
        unit="share",
        least=0.0,
        most=1.0,
    )
    WORKLOAD_SAMPLES = Option(
        5, "Most examples of each shape that are kept, the newest.", unit="statements", least=0, most=100
    )
    WORKLOAD_SHAPES = Option(
        2_000,
        "Most shapes of each database that are kept; those that took the least time make room.",
        unit="shapes",
        least=10,
        most=100_000,
    )
    WORKLOAD_VALUES = Option(
        "kept",
        "What becomes of the values in statements: 'kept' writes examples with them into the database, 'redacted' "
        "never does, and removes those that are there.",
        choices=("kept", "redacted"),
    )
    WORKLOAD_EXCLUDE: Option[tuple[str, ...]] = Option(
        (
            *("django_session", "*password*", "*passwd*", "*secret*", "*token*", "*api_key*", "*apikey*"),
            *("*private_key*", "*credential*", "*session_key*", "*otp_*", "*iban", "*card_number*", "ssn"),
        ),
        "Names of tables and columns, with * for any part; of a statement that has one no values are kept.",
    )
    RATE_LIMIT_ENABLED = Option(True, "Whether perfkit's rate limits limit anything.")
    RATE_LIMIT_PER_MINUTE = Option(
        100,
        "Requests a minute that the default throttle of an API and RateLimitMiddleware admit.",
        unit="requests",
        least=1,
        most=1_000_000_000,
    )
    RATE_LIMIT_RATES: Option[tuple[str, ...]] = Option(
        (),
        "Rates in the place of RATE_LIMIT_PER_MINUTE, all of which hold, such as '10/second' and '1000/hour'.",
        read=rate_of,
    )
    RATE_LIMIT_BY = Option(
        "address",
        "What RateLimitMiddleware tells clients apart by: 'address', or 'user' where somebody is logged in.",
        choices=("address", "user"),
    )
    RATE_LIMIT_EXEMPT: Option[tuple[str, ...]] = Option(
        (), "Regular expressions of the paths that RateLimitMiddleware leaves alone, from their beginning."
    )
    RATE_LIMIT_OUTAGE = Option(
        "open",
        "What becomes of limited requests while the cache server does not answer: 'open' admits them, "
        "'closed' answers with a 503.",
        choices=("open", "closed"),
    )
    RATE_LIMIT_PROXIES = Option(
        0,
        "Proxies of the project's that each add an entry to X-Forwarded-For; with 0 that is not looked at.",
        unit="proxies",
        least=0,
        most=20,
    )
    RATE_LIMIT_IPV6_PREFIX = Option(
        64,
        "Bits of an IPv6 address by which clients are told apart: who has one has a network full of them.",
        unit="bits",
        least=16,
        most=128,
    )

    def show_what_is_known(self) -> bool:
        """Say whether a request is shown again what it knows: `CACHE_ENABLED`, and "request" as `CACHE_MEMORY`.

        The quickest reads ask it, and asking for both takes twice as long.
        """
        known = _settings_asked.get(SETTING)
        given = known if type(known) is dict else configured()
        if given.get("CACHE_MEMORY", "request") == "request" and given.get("CACHE_ENABLED", True) is True:
            return True
        return self.CACHE_ENABLED and self.CACHE_MEMORY == "request"


options: Final = Options()


def table() -> dict[str, Option[Any]]:
    """Return every option by name, in the order of declaration."""
    return {name: value for name, value in vars(Options).items() if isinstance(value, Option)}


def configured() -> Mapping[str, object]:
    """Return the project's `PERFKIT` dict as it is now.

    Raises:
        SettingsError: It is not a dict.
    """
    value = getattr(django_settings, SETTING, {})
    if not isinstance(value, Mapping):
        raise SettingsError("…", f"cannot be read: {SETTING} must be a dict, not {type(value).__name__}.")
    return value
