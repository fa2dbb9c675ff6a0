"""System checks of perfkit: what `manage.py check --tag perfkit` finds, each under a permanent id.

The ids stand in `FINDINGS`, which the reference page of the documentation is tested against.
Only the check of what is in a database opens a connection: with `--database`, as Django's own of that kind.
The check of a manager stands in its class; its id is in the table too.
"""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from ipaddress import ip_network
from typing import Any, Final

from django.apps import AppConfig, apps
from django.conf import settings
from django.core import checks
from django.db import connections
from django.db.migrations.executor import MigrationExecutor
from django.urls import NoReverseMatch, Resolver404, URLPattern, get_resolver, resolve, reverse
from django.utils.module_loading import import_string

from perfkit.caching.databases import is_watchable
from perfkit.caching.registry import cached_models, listed_models
from perfkit.caching.relations import hidden_writes
from perfkit.caching.triggers import faulty_tables
from perfkit.conf import SETTING, configured, options, table
from perfkit.errors import SettingsError, nearest
from perfkit.indexing.offers import relied_on, unserved
from perfkit.loading.presets import faults
from perfkit.postgres.catalogue import find_index, find_table
from perfkit.postgres.dangers import Danger, dangers_in, dangers_of

TAG: Final = "perfkit"

JOB_EMAIL_BACKEND: Final = "perfkit.jobs.mail.JobEmailBackend"

# An id is never given to another finding, even after its own is gone.
FINDINGS: Final = {
    "perfkit.E001": "PERFKIT is not a dict.",
    "perfkit.E002": "PERFKIT has a key that is no option.",
    "perfkit.E003": "An option has a value of the wrong type, out of range, or not among its choices.",
    "perfkit.E004": "CACHE_ALIAS names no entry of CACHES.",
    "perfkit.E005": "The cache back end of CACHE_ALIAS is none that perfkit can keep coherent.",
    "perfkit.E006": "The cache back end needs django-redis, which is not installed.",
    "perfkit.E007": "CACHE_MODELS names a model that does not exist.",
    "perfkit.E008": "The cache alias leads to servers in a way that perfkit cannot keep coherent.",
    "perfkit.E009": "An option that holds regular expressions of paths holds what is none.",
    "perfkit.E101": "A CachedManager is the base manager of its model.",
    "perfkit.E102": "A CachedManager divides its lists by a column that it cannot.",
    "perfkit.E201": "An admin imports or exports what is no field.",
    "perfkit.E202": "An admin imports by a key that no unique constraint has.",
    "perfkit.E203": "An admin imports a relation by a field that does not name one row of the other model.",
    "perfkit.E204": "A list of an admin has a column that needs what its model does not have.",
    "perfkit.E301": "A preset names what its model does not have.",
    "perfkit.E501": "A database has a pool and CONN_MAX_AGE.",
    "perfkit.E601": "The broker gives a task to another worker while the first may still run it.",
    "perfkit.E602": "JOB_BACKEND cannot be loaded.",
    "perfkit.E603": "Celery refuses its configuration.",
    "perfkit.E604": "A Celery setting is a text, and must be a number or a truth.",
    "perfkit.E605": "Tasks or results are written in a form that is refused where they are read.",
    "perfkit.E606": "kombu cannot work with what broker_transport_options says of queues on Redis.",
    "perfkit.E611": "A schedule cannot enqueue its job.",
    "perfkit.E612": "MAIL_BACKEND names what cannot send mails.",
    "perfkit.W001": "A database is neither PostgreSQL nor SQLite.",
    "perfkit.W002": "With --deploy: models with a CachedManager use the in-process store while DEBUG is off.",
    "perfkit.W003": "With --database: rows of a cached model are written under names that perfkit does not watch.",
    "perfkit.W004": "With --database: the table of a cached model is a foreign one.",
    "perfkit.W005": "With --database: triggers that tell of outside writes are not as they should be.",
    "perfkit.W006": "ResponseCacheMiddleware stands before a middleware that it should follow.",
    "perfkit.W101": "A CachedManager is on a model whose rows cannot be cached by their keys.",
    "perfkit.W201": "An admin offers no import, though it has the mixin.",
    "perfkit.W202": "An admin of a large table searches by what no declared index serves.",
    "perfkit.W301": "With --deploy: the N+1 guard shows what it finds to everybody, or refuses queries.",
    "perfkit.W401": "A list is sorted by what no declared index sorts.",
    "perfkit.W402": "A list is filtered by what no declared index finds.",
    "perfkit.W403": "With --database: an index by which a list is sorted or filtered is not there, or not valid.",
    "perfkit.W404": "With --deploy: RateLimitMiddleware counts in each process alone while DEBUG is off.",
    "perfkit.W405": "RateLimitMiddleware is to tell users apart, and stands where nobody is known yet.",
    "perfkit.W406": "With --database: a migration that is to be applied would block writes to a large table.",
    "perfkit.W501": "A database has a pool whose connections are not checked before they are used.",
    "perfkit.W502": "A database declares a pooler in transaction mode, and prepares statements.",
    "perfkit.W503": "With --database: a database is behind a pooler, and what it uses fails in transaction mode.",
    "perfkit.W504": "With --database: one process may open more connections than the server takes.",
    "perfkit.W601": "Tasks are acknowledged late, and are lost with a worker that is killed.",
    "perfkit.W602": "Nothing ends a task that hangs.",
    "perfkit.W603": "A soft time limit is not below the hard one.",
    "perfkit.W604": "Tasks or results may be pickled.",
    "perfkit.W605": "Workers take more tasks than they can run, while others are idle.",
    "perfkit.W606": "Results are kept for ever.",
    "perfkit.W607": "With --deploy: tasks run within the request that sends them while DEBUG is off.",
    "perfkit.W608": "Tasks are sent to a queue that is not declared.",
    "perfkit.W609": "No broker is named.",
    "perfkit.W610": "A schedule runs a task that no imported module has.",
    "perfkit.W611": "Priorities of tasks have no effect, or another one than is meant.",
    "perfkit.W612": "Nothing tells of tasks that are sent within a transaction.",
    "perfkit.W613": "RabbitMQ gives a task to another worker while the first may still run it.",
    "perfkit.W614": "A task goes on where its worker has lost the broker, which gives it to another one.",
    "perfkit.W615": "A Django setting is nearly named as one of Celery, which ignores it.",
    "perfkit.W616": "With --deploy: the broker and a cache are the same database on Redis.",
    "perfkit.W617": "Settings are for a Celery app that this process has not loaded.",
    "perfkit.W618": "Celery keeps connections to databases from task to task, and nobody looks at them.",
    "perfkit.W701": "The page of django-prometheus leaves out perfkit's metrics, for processes write to files.",
    "perfkit.W702": "The page of django-prometheus asks for no token, though METRICS_TOKEN is set.",
    "perfkit.W703": "With --deploy: everybody who reaches perfkit's page for Prometheus may read it.",
    "perfkit.W704": "With --deploy: HEALTH_ADDRESSES shows what the checks of health find to everybody.",
}

REDIS_BACKEND: Final = "django_redis.cache.RedisCache"
SUPPORTED_BACKENDS: Final = {
    REDIS_BACKEND: "the store on Redis or Valkey",
    "django.core.cache.backends.locmem.LocMemCache": "the store inside this process",
    "django.core.cache.backends.dummy.DummyCache": "no caching",
}
IN_PROCESS_BACKEND: Final = "django.core.cache.backends.locmem.LocMemCache"
NO_CACHE_BACKEND: Final = "django.core.cache.backends.dummy.DummyCache"
RESPONSE_CACHE: Final = "perfkit.caching.responses.middleware.ResponseCacheMiddleware"
RATE_LIMITS: Final = (
    "perfkit.api.RateLimitMiddleware",
    "perfkit.api.limiting.middleware.RateLimitMiddleware",
)
AUTHENTICATION: Final = "django.contrib.auth.middleware.AuthenticationMiddleware"
LOGIN_REQUIRED: Final = "django.contrib.auth.middleware.LoginRequiredMiddleware"
BEFORE_RESPONSE_CACHE: Final = (
    AUTHENTICATION,
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.gzip.GZipMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "perfkit.caching.responses.compression.CompressionMiddleware",
)
NO_DATABASE: Final = "django.db.backends.dummy"
VENDORS: Final = ("postgresql", "sqlite")
MOST_NAMES: Final = 10
"""Of tables, in one message."""


def register() -> None:
    """Register every check with Django; calling it again changes nothing."""
    for check in (
        check_settings,
        check_cache,
        check_models,
        check_responses,
        check_limits,
        check_databases,
        check_connections,
        check_presets,
        check_lists,
        check_jobs,
        check_schedules,
        check_mail,
        check_metrics,
    ):
        checks.register(check, TAG)
    for check in (check_relations, check_triggers, check_poolers, check_list_indexes, check_migrations):
        checks.register(
            check, checks.Tags.database
        )  # not ours: from Django 6.1 on a tag may mean all databases
    for check in (
        check_deployed_cache,
        check_deployed_guard,
        check_deployed_limits,
        check_deployed_metrics,
        check_deployed_health,
    ):
        checks.register(check, TAG, deploy=True)


def check_settings(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """Find a `PERFKIT` that is no dict, its unknown keys, and values that are not valid."""
    try:
        given = configured()
    except SettingsError:
        kind = type(getattr(settings, SETTING)).__name__
        return [_finding("E001", f"{SETTING} must be a dict, not {kind}.", f"Write {SETTING} = {{…}}.")]
    known = table()
    found = []
    for key, value in given.items():
        option = known.get(key)
        if option is None:
            hint = nearest(str(key).upper(), list(known)).strip()
            found.append(_finding("E002", f"{SETTING} has no option {key!r}.", hint))
        elif problem := option.problem_with(value):
            hint = f"{option.text} The default is {option.default!r}."
            found.append(_finding("E003", f"{SETTING}[{key!r}] {problem}", hint))
    return found


def check_cache(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Find a cache alias or back end that perfkit cannot use, unless `CACHE_ENABLED` is off.

    The back end matters only to a project that caches or limits something with perfkit.
    """
    alias = _alias_in_use()
    if alias is None:
        return []
    if alias not in settings.CACHES:
        text = f"{SETTING}['CACHE_ALIAS'] is {alias!r}, which CACHES does not have."
        return [_finding("E004", text, nearest(alias, list(settings.CACHES)).strip())]
    if not _cached_models() and _limits_place() is None:
        return []
    path = settings.CACHES[alias].get("BACKEND", "")
    try:
        is_supported = not SUPPORTED_BACKENDS.keys().isdisjoint(_lineage(path))
    except ImportError as error:
        return [_unimportable(alias, path, error)]
    if not is_supported:
        text = f"CACHES[{alias!r}] uses {path}, which perfkit cannot keep coherent."
        return [_finding("E005", text, _use_instead())]
    return _way_to_servers(alias) if REDIS_BACKEND in _lineage(path) else []


def check_models(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Find labels in `CACHE_MODELS` that are no model's."""
    try:
        labels = options.CACHE_MODELS
    except SettingsError:
        return []  # check_settings says it
    known = [model._meta.label for model in apps.get_models(include_auto_created=True)]
    return [
        _finding(
            "E007",
            f"{SETTING}['CACHE_MODELS'] names {label!r}, which is no model.",
            nearest(label, known).strip(),
        )
        for label in labels
        if not listed_models(label)
    ]


def check_responses(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """Find patterns of paths that are none, and a response cache that is asked before it is known who asks."""
    found = []
    for name in ("CACHE_RESPONSES_ALLOW", "CACHE_RESPONSES_DENY", "RATE_LIMIT_EXEMPT"):
        try:
            patterns = getattr(options, name)
        except SettingsError:
            continue  # check_settings says it
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                text = f"{SETTING}[{name!r}] holds {pattern!r}, which is no regular expression: {error}."
                found.append(_finding("E009", text, "A path is matched from its beginning, as in '/api/'."))
    if RESPONSE_CACHE in settings.MIDDLEWARE:
        later = settings.MIDDLEWARE[list(settings.MIDDLEWARE).index(RESPONSE_CACHE) + 1 :]
        found += [
            _finding(
                "W006",
                f"ResponseCacheMiddleware stands before {name}, and keeps hardly a page.",
                "Put it last in MIDDLEWARE.",
            )
            for name in later
            if name in BEFORE_RESPONSE_CACHE
        ]
    return found


def check_limits(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Find a rate limit of users in a place where it is not known yet who asks."""
    place = _limits_place()
    try:
        by = options.RATE_LIMIT_BY
    except SettingsError:
        return []  # check_settings says it
    if place is None or by != "user" or AUTHENTICATION in settings.MIDDLEWARE[:place]:
        return []
    text = f"{SETTING}['RATE_LIMIT_BY'] is 'user', but RateLimitMiddleware sees none and takes the address."
    return [_finding("W405", text, "Put it behind Django's AuthenticationMiddleware.")]


def check_deployed_limits(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """Find a rate limit that each process counts for itself, in a project that is about to be deployed."""
    try:
        is_limited = _limits_place() is not None and options.RATE_LIMIT_ENABLED
        lineage = _lineage(settings.CACHES[options.CACHE_ALIAS]["BACKEND"])
    except (KeyError, ImportError, SettingsError):
        return []  # check_settings and check_cache say it
    if settings.DEBUG or not is_limited or lineage.isdisjoint((IN_PROCESS_BACKEND, NO_CACHE_BACKEND)):
        return []
    text = "RateLimitMiddleware counts in each process alone: with several, a client gets the rate several times."
    return [_finding("W404", text, "Use django_redis.cache.RedisCache for the alias in CACHE_ALIAS.")]


def check_deployed_cache(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """Find cached models on the in-process store of a project that is about to be deployed."""
    alias = _alias_in_use()
    if settings.DEBUG or alias is None:
        return []
    try:
        is_in_process = IN_PROCESS_BACKEND in _lineage(settings.CACHES[alias]["BACKEND"])
    except (KeyError, ImportError):
        return []  # check_cache says it
    labels = _cached_models()
    if not is_in_process or not labels:
        return []
    text = (
        f"{', '.join(labels)}: cached by each process alone, so none of them sees what another has written."
    )
    hint = (
        "Use django_redis.cache.RedisCache where more than one process writes, "
        "or silence this check where there is only one."
    )
    return [_finding("W002", text, hint)]


def check_deployed_guard(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """Find a mode of the N+1 guard that is for development, in a project that is about to be deployed."""
    try:
        mode = options.N_PLUS_ONE_MODE
    except SettingsError:
        return []  # check_settings says it
    if settings.DEBUG or mode not in {"header", "raise"}:
        return []
    does = "shows names of files to everybody" if mode == "header" else "refuses queries"
    text = f"{SETTING}['N_PLUS_ONE_MODE'] is {mode!r}, which {does}."
    return [_finding("W301", text, "Take 'log' in production, with a small N_PLUS_ONE_SAMPLE_RATE.")]


def check_databases(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """Find a database that perfkit is not tested on; nothing is connected to."""
    return [
        _finding(
            "W001",
            f"DATABASES[{alias!r}] is {connections[alias].vendor}; perfkit knows PostgreSQL and SQLite only.",
            "Keep perfkit's managers and functions off the models of that database.",
        )
        for alias in connections
        if connections[alias].vendor not in VENDORS and connections.settings[alias]["ENGINE"] != NO_DATABASE
    ]


def check_connections(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """Find settings of PostgreSQL databases that do not go together; nothing is connected to."""
    return [
        _danger(alias, danger)
        for alias in connections
        if connections[alias].vendor == "postgresql"
        for danger in dangers_in(connections.settings[alias])
    ]


def check_poolers(
    app_configs: Sequence[AppConfig] | None = None,
    databases: Sequence[str] | None = None,
    **kwargs: Any,
) -> list[checks.CheckMessage]:
    """Find settings that do not go together with the server, or the pooler, that they lead to."""
    return [
        _danger(alias, danger)
        for alias in databases or ()
        if connections[alias].vendor == "postgresql"
        for danger in dangers_of(connections[alias])
    ]


def check_relations(
    app_configs: Sequence[AppConfig] | None = None,
    databases: Sequence[str] | None = None,
    **kwargs: Any,
) -> list[checks.CheckMessage]:
    """Find cached models whose rows are written under names that are not watched: behind views, in partitions."""
    watchable = [alias for alias in databases or () if is_watchable(connections[alias])]
    try:
        hidden_in = {alias: hidden_writes(connections[alias]) for alias in watchable if options.CACHE_ENABLED}
    except SettingsError:
        return []  # check_settings says it
    found = []
    for alias, all_hidden in hidden_in.items():
        for hidden in all_hidden:
            where = f"{hidden.label} ({hidden.table} on {alias!r})"
            if hidden.kind == "foreign table":
                text = (
                    f"{where} is a foreign table: what others write to it is not seen, so it is not cached."
                )
                hint = "CachedManager(ttl=…, tables=[]) caches it all the same, stale for up to its ttl."
                found.append(_finding("W004", text, hint))
                continue
            names = ", ".join(hidden.names[:MOST_NAMES]) + (", …" if hidden.names[MOST_NAMES:] else "")
            others = names or "those of other tables"
            outcome = "so it is not cached" if hidden.is_refused else "and that is not seen"
            text = f"{where} is a {hidden.kind}: its rows can be written as {others} too, {outcome}."
            hint = "Name these in CachedManager(tables=[…]); a * at the end stands for any rest of a name."
            found.append(_finding("W003", text, hint))
    return found


def check_triggers(
    app_configs: Sequence[AppConfig] | None = None,
    databases: Sequence[str] | None = None,
    **kwargs: Any,
) -> list[checks.CheckMessage]:
    """Find tables whose triggers do not tell of all outside writes; those without any are nobody's concern."""
    try:
        faulty_in = {alias: faulty_tables(using=alias) for alias in databases or () if options.CACHE_ENABLED}
    except SettingsError:
        return []  # check_settings says it
    return [
        _finding(
            "W005",
            f"The triggers of {state.table} on {alias!r} do not tell of all outside writes: "
            f"{'; '.join(state.problems[:MOST_NAMES])}.",
            f"Run: manage.py perfkit_triggers install --database {alias}, with the names of the models.",
        )
        for alias, faulty in faulty_in.items()
        for state in faulty
    ]


def check_presets(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Find presets, of the classes that are imported by now, which their models cannot serve; no query."""
    return [_finding("E301", f"{where}: {problem}", "") for where, problem in dict.fromkeys(faults())]


def check_lists(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Find what lists let anybody sort or filter by without an index, once the routes are loaded; no query."""
    _load_routes()
    found = []
    for where, each in unserved():
        number = {"sort": "W401", "filter": "W402"}[each.kind]
        does = {"sort": "sorts by", "filter": "finds rows by"}[each.kind]
        text = f"{where} offers {each.name!r}, and no declared index {does} {each.what}."
        hint = (
            f'{each.advice} Where the table stays small, or has an index by other means: unindexed="allow".'
        )
        found.append(_finding(number, text, hint.strip()))
    return found


def check_list_indexes(
    app_configs: Sequence[AppConfig] | None = None,
    databases: Sequence[str] | None = None,
    **kwargs: Any,
) -> list[checks.CheckMessage]:
    """Find declared indexes of lists that PostgreSQL does not have, or that a build left invalid."""
    _load_routes()
    asked = [alias for alias in databases or () if connections[alias].vendor == "postgresql"]
    try:
        states = [
            (alias, where, index, find_index(connections[alias], index.table, index.name))
            for alias in asked
            if not _waits_for_migrations(alias)
            for where, index in relied_on()
        ]
    except SettingsError:
        return []  # check_settings says it
    found = []
    for alias, where, index, state in states:
        if state.is_valid if state else find_table(connections[alias], index.table) is None:
            continue
        what = "is not valid, so no query uses it" if state else "is not there"
        text = f"{where} relies on the index {index.name} of {index.table} on {alias!r}, which {what}."
        found.append(_finding("W403", text, "Run its migration; AddIndexSafely builds an invalid one anew."))
    return found


def check_migrations(
    app_configs: Sequence[AppConfig] | None = None,
    databases: Sequence[str] | None = None,
    **kwargs: Any,
) -> list[checks.CheckMessage]:
    """Find migrations of the project, not yet applied, that would block writes to a large table of PostgreSQL."""
    asked = [alias for alias in databases or () if connections[alias].vendor == "postgresql"]
    if not asked:
        return []
    from perfkit.indexing.blocking import blocking_operations  # with all that Django has for migrations

    try:
        blocking = [
            (alias, each)
            for alias in asked
            for each in blocking_operations(alias, from_bytes=options.INDEX_WARNING_BYTES)
        ]
    except SettingsError:
        return []  # check_settings says it
    return [
        _finding(
            "W406",
            f"{each.migration}: {each.operation} would block writes to {each.table.name} on {alias!r}, "
            f"of {each.table.size_bytes / 1024**2:,.0f} MB, while it reads it.",
            f'Write {each.instead}, which does not: see the documentation, "Add indexes in production".',
        )
        for alias, each in blocking
    ]


def check_schedules(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """Find schedules whose job there is not, or that call it as it cannot be called."""
    if _valid("SCHEDULES") is None or not options.SCHEDULES:
        return []
    from perfkit.jobs.schedules import problem_with_schedule

    hint = "Jobs are found in the modules 'jobs' of apps; those of perfkit begin with 'perfkit.'."
    problems = {name: problem_with_schedule(name) for name in options.SCHEDULES}
    return [
        _finding("E611", f"{SETTING}['SCHEDULES'][{name!r}]: {problem}", hint)
        for name, problem in problems.items()
        if problem
    ]


def check_metrics(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Find routes to the page of django-prometheus where only perfkit's own does what the settings say."""
    token = _valid("METRICS_TOKEN")
    is_routed = apps.is_installed("django_prometheus") and bool(getattr(settings, "ROOT_URLCONF", None))
    if token is None or not is_routed:
        return []  # where the settings cannot be read, views may not be either
    try:
        view = resolve(reverse("prometheus-django-metrics")).func
    except (NoReverseMatch, Resolver404):
        return []
    if view.__module__ != "django_prometheus.exports":
        return []
    hint = (
        "Use path('metrics', perfkit.monitoring.prometheus.metrics_view), which tells all of its metrics too."
    )
    found = []
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ or "prometheus_multiproc_dir" in os.environ:
        text = "With PROMETHEUS_MULTIPROC_DIR the page of django-prometheus has none of perfkit's metrics."
        found.append(_finding("W701", text, hint))
    if token:
        text = f"{SETTING}['METRICS_TOKEN'] is set, but the page of django-prometheus asks for none."
        found.append(_finding("W702", text, hint))
    return found


def check_deployed_metrics(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """Find routes to perfkit's page for Prometheus that ask for nothing, in a project about to be deployed."""
    if settings.DEBUG or _valid("METRICS_TOKEN") != "" or LOGIN_REQUIRED in settings.MIDDLEWARE:
        return []
    _load_routes()
    module = sys.modules.get("perfkit.monitoring.prometheus.views")
    if module is None:  # a route to it has loaded it
        return []
    # What wraps it in a project's own way is another function: that is how it may be kept from others.
    found = sorted(at for at, view in _routes() if view is module.metrics_view)
    if not found:
        return []
    text = (
        f"Everybody who reaches {_named(found)} may read names of views, models and tasks, and their figures."
    )
    hint = (
        f"Set {SETTING}['METRICS_TOKEN'] and have Prometheus send it, or let the proxy refuse the path and "
        "silence this check."
    )
    return [_finding("W703", text, hint)]


def check_deployed_health(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """Find that what checks of health find is shown to all, in a project that is about to be deployed."""
    addresses = _valid("HEALTH_ADDRESSES")
    if settings.DEBUG or not addresses or not getattr(settings, "ROOT_URLCONF", None):
        return []
    everybody = [each for each in addresses if not ip_network(each, strict=False).prefixlen]
    try:
        reverse("perfkit_health:live")
    except NoReverseMatch:
        return []
    if not everybody:
        return []
    text = (
        f"{SETTING}['HEALTH_ADDRESSES'] has {_named(everybody)}, so everybody is shown which servers there are "
        "and how they stand."
    )
    return [_finding("W704", text, "Name the networks of your probes, or set HEALTH_TOKEN in their place.")]


def check_mail(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Find a `MAIL_BACKEND` that sends nothing, where mails are left to workers."""
    if _valid("MAIL_BACKEND") is None or not _mails_are_left():
        return []

    from perfkit.jobs.mail import sender

    try:
        sender()
    except SettingsError as error:
        hint = "It is what would send mails without JobEmailBackend: a back end, or an alias of MAILERS."
        return [_finding("E612", str(error), hint)]
    return []


def _mails_are_left() -> bool:
    """Say whether what sends a mail leaves it to workers, by the settings."""
    mailers = getattr(settings, "MAILERS", None)
    if mailers is not None:
        return any(each.get("BACKEND") == JOB_EMAIL_BACKEND for each in mailers.values())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Django 6.1 tells of the setting where the project has it
        return bool(settings.EMAIL_BACKEND == JOB_EMAIL_BACKEND)


def _valid(name: str) -> Any:
    """Return the value of an option; None where `check_settings` finds it wrong."""
    try:
        return getattr(options, name)
    except SettingsError:
        return None


def _waits_for_migrations(alias: str) -> bool:
    """Tell whether a database has migrations before it: `migrate` itself asks for the checks first."""
    executor = MigrationExecutor(connections[alias])
    return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def _routes() -> Iterator[tuple[str, Any]]:
    """Yield the path of each route and the view that it leads to."""
    waiting: list[tuple[str, Any]] = (
        [("/", get_resolver())] if getattr(settings, "ROOT_URLCONF", None) else []
    )
    while waiting:
        at, found = waiting.pop()
        if isinstance(found, URLPattern):
            yield at, found.callback
        else:
            waiting += [(f"{at}{each.pattern}".replace("//", "/"), each) for each in found.url_patterns]


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:MOST_NAMES]) + (" and others" if len(names) > MOST_NAMES else "")


def _load_routes() -> None:
    """Import the views, and with them the classes that say what lists are sorted and filtered by."""
    if getattr(settings, "ROOT_URLCONF", None):
        _ = get_resolver().url_patterns


def check_jobs(app_configs: Sequence[AppConfig] | None = None, **kwargs: Any) -> list[checks.CheckMessage]:
    """Find a back end of jobs that cannot be loaded, where there are jobs."""
    from perfkit.jobs.declared import has_jobs

    if not has_jobs() or _valid("JOB_BACKEND") is None:
        return []

    from perfkit.jobs.backends import current_backend

    try:
        current_backend()
    except SettingsError as error:
        return [_finding("E602", str(error), "Name 'celery', 'immediate', or a class of your own.")]
    return []


def found(number: str, text: str, hint: str) -> checks.CheckMessage:
    """Return a finding of another room under its id, which must stand in `FINDINGS`."""
    return _finding(number, text, hint)


def _finding(number: str, text: str, hint: str) -> checks.CheckMessage:
    kind = checks.Error if number.startswith("E") else checks.Warning
    identity = f"{TAG}.{number}"
    if identity not in FINDINGS:
        raise LookupError(f"{identity} is missing in FINDINGS.")
    return kind(text, hint=hint, id=identity)


def _danger(alias: str, danger: Danger) -> checks.CheckMessage:
    return _finding(danger.number, f"DATABASES[{alias!r}] {danger.text}.", danger.hint)


def _lineage(path: str) -> set[str]:
    """Return the dotted names of the class at `path` and of all it inherits from."""
    backend = import_string(path)
    parts = backend.__mro__ if isinstance(backend, type) else ()
    return {f"{part.__module__}.{part.__qualname__}" for part in parts}


def _way_to_servers(alias: str) -> list[checks.CheckMessage]:
    """Find what the options of a django-redis alias ask for and perfkit cannot use."""
    from perfkit.caching.store.alias import problem_with  # only where django-redis is there

    try:
        problem = problem_with(settings.CACHES[alias].get("OPTIONS", {}))
    except ImportError as error:
        problem = f"has an option that cannot be imported: {error}"
    if not problem:
        return []
    text, _, hint = problem.partition(". ")
    return [_finding("E008", f"CACHES[{alias!r}] {text.removesuffix('.')}.", hint)]


def _use_instead() -> str:
    known = ", ".join(f"{path} ({what})" for path, what in SUPPORTED_BACKENDS.items())
    return f"Use {known}, or a subclass of one."


def _alias_in_use() -> str | None:
    """Return the alias, or None where caching is off or check_settings already says what is wrong."""
    try:
        return options.CACHE_ALIAS if options.CACHE_ENABLED else None
    except SettingsError:
        return None


def _unimportable(alias: str, path: str, error: ImportError) -> checks.CheckMessage:
    if isinstance(error, ModuleNotFoundError) and error.name == "django_redis":
        text = f"CACHES[{alias!r}] uses {path}, but django-redis is not installed."
        return _finding("E006", text, "Run: python -m pip install 'django-perfkit[redis]'")
    return _finding(
        "E005", f"CACHES[{alias!r}] uses {path!r}, which cannot be imported: {error}", _use_instead()
    )


def _limits_place() -> int | None:
    """Return where RateLimitMiddleware stands in `MIDDLEWARE`, None where it is not in use."""
    return next((place for place, name in enumerate(settings.MIDDLEWARE) if name in RATE_LIMITS), None)


def _cached_models() -> list[str]:
    return sorted(model._meta.label for model in apps.get_models() if model in cached_models())
