"""Settings of the demo project, from the environment.

`.env` beside manage.py is read too; what the environment says wins.
Where DATABASE_URL or REDIS_URL is not set, the servers that `project.services` runs are used.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, cast

import django
import environ
from django.core.exceptions import ImproperlyConfigured
from django.core.management.utils import get_random_secret_key

from perfkit.postgres.databases import SIZES, Mode, database_settings
from perfkit.tracing import logging_settings
from project import services
from project.environment import address, choice, flag, mailer, number

BASE_DIR = Path(__file__).resolve().parent.parent

env = environ.Env()
env.read_env(BASE_DIR / ".env")

# --- Security ---------------------------------------------------------------------------------------------

DEBUG = flag("DJANGO_DEBUG", default=False)
SECRET_KEY = env.str("DJANGO_SECRET_KEY", default="") or services.local_secret_key(get_random_secret_key)
# This machine's own names too: health checks ask by them.
ALLOWED_HOSTS = [*env.list("DJANGO_ALLOWED_HOSTS", default=[]), "localhost", "127.0.0.1", "[::1]"]
INTERNAL_IPS = ["127.0.0.1"]

# Only behind a proxy that speaks TLS and sets X-Forwarded-Proto itself: elsewhere a client could set it.
if flag("DJANGO_BEHIND_TLS", default=False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    SECURE_HSTS_SECONDS = 30 * 24 * 3600

# --- Apps -------------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.humanize",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "ninja",
    "perfkit",
    "project.flights",
]

COMPRESSION = "perfkit.caching.responses.compression.CompressionMiddleware"
MIDDLEWARE = [
    "perfkit.monitoring.health.HealthMiddleware",
    "perfkit.monitoring.metrics",
    "perfkit.api.after_response_middleware",
    "perfkit.postgres.OutageMiddleware",
    "perfkit.api.HeadMiddleware",
    COMPRESSION,
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "perfkit.loading.n_plus_one_guard",
    "perfkit.loading.identity_mapped",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

try:  # Its current release refuses Django 6.1; the demo runs without it there.
    import django_prometheus  # noqa: F401  # only whether it is there
except ImportError:
    HAS_PROMETHEUS = False
else:
    HAS_PROMETHEUS = True
    # Its page, which tells perfkit's metrics too. Not its middleware, which counts in each process alone what
    # perfkit counts over all of them, nor its database back end: behind a pool each checkout is a new connection.
    INSTALLED_APPS += ["django_prometheus"]

# First of all, so that every line and every statement of a request has its id.
MIDDLEWARE.insert(0, "perfkit.tracing.request_id_middleware")

HAS_TOOLBAR = DEBUG
DEBUG_TOOLBAR_CONFIG = {"SHOW_COLLAPSED": True}
if HAS_TOOLBAR:
    from debug_toolbar.settings import PANELS_DEFAULTS

    DEBUG_TOOLBAR_PANELS = [*PANELS_DEFAULTS, "perfkit.monitoring.panel.PerfkitPanel"]
    INSTALLED_APPS += ["debug_toolbar"]
    # Below what compresses: it writes into pages.
    MIDDLEWARE.insert(MIDDLEWARE.index(COMPRESSION) + 1, "debug_toolbar.middleware.DebugToolbarMiddleware")

ROOT_URLCONF = "project.urls"
WSGI_APPLICATION = "project.wsgi.application"
ASGI_APPLICATION = "project.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "project" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]

# --- Database and cache -----------------------------------------------------------------------------------

IS_SQLITE = services.is_sqlite()

if IS_SQLITE:
    DATABASES: dict[str, dict[str, Any]] = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": services.sqlite_path(),
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "timeout": 20,
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            },
        }
    }
else:
    MODE = choice(
        "DATABASE_MODE",
        default="development" if DEBUG else "production",
        among=("development", "production", "pgbouncer"),
    )
    DATABASES = {
        "default": database_settings(
            env.db_url_config(services.database_url()),
            mode=cast("Mode", MODE),
            pool_size=number("DATABASE_POOL_SIZE", default=SIZES[MODE].size, least=0),
            pool_overflow=number("DATABASE_POOL_OVERFLOW", default=SIZES[MODE].overflow, least=0),
            recycle_seconds=number("DATABASE_POOL_RECYCLE", default=3600.0, least=1.0),
            wait_seconds=number("DATABASE_POOL_TIMEOUT", default=3.0, least=0.1),
            application_name=env.str("DATABASE_APPLICATION_NAME", default="perfkit-demo"),
        )
    }

if IS_SQLITE and not os.environ.get("REDIS_URL"):
    REDIS_URL = ""
    CACHES: dict[str, dict[str, Any]] = {
        "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    }
else:
    REDIS_URL = services.redis_url()
    CACHES = {
        "default": {
            "BACKEND": "django_redis.cache.RedisCache",
            "LOCATION": REDIS_URL,
            "OPTIONS": {
                "CONNECTION_POOL_KWARGS": {
                    "max_connections": number("REDIS_MAX_CONNECTIONS", default=50, least=1)
                }
            },
        }
    }

# --- Tasks ------------------------------------------------------------------------------------------------

# The values that perfkit.tasks.configure() gives are not repeated here.
if REDIS_URL:
    # Clearing the cache empties its Redis database: give Celery another where queued tasks must survive that.
    CELERY_BROKER_URL = env.str("CELERY_BROKER_URL", default=REDIS_URL)
    # RabbitMQ keeps no results.
    CELERY_RESULT_BACKEND = env.str(
        "CELERY_RESULT_BACKEND",
        default=REDIS_URL if CELERY_BROKER_URL.startswith(("amqp", "pyamqp")) else CELERY_BROKER_URL,
    )
else:
    # No server, so no worker: a task runs at once, in the process that asks for it.
    CELERY_BROKER_URL = "memory://localhost"
    CELERY_RESULT_BACKEND = "cache+memory://"
    CELERY_TASK_ALWAYS_EAGER = True
    CELERY_TASK_STORE_EAGER_RESULT = True

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# --- perfkit ----------------------------------------------------------------------------------------------

# Mails are left to workers, and sent by what EMAIL_URL says.
MAIL = env.email_url("EMAIL_URL", default="consolemail://")
LEFT_TO_WORKERS = "perfkit.jobs.mail.JobEmailBackend"
if django.VERSION >= (6, 1):
    MAILERS = {"default": {"BACKEND": LEFT_TO_WORKERS}, "workers": mailer(MAIL)}
else:
    vars().update({**MAIL, "EMAIL_BACKEND": LEFT_TO_WORKERS})
REPORT_MAIL_TO = env.str("REPORT_MAIL_TO", default="operations@example.org")

# What is out of range, perfkit's own checks say.
PERFKIT: dict[str, Any] = {
    "CACHE_ENABLED": flag("CACHE_ENABLED", default=True),
    "CACHE_DEFAULT_TTL": number("CACHE_DEFAULT_TTL", default=1800),
    # Rows of these are not cached, but what is counted of them, and answers that show them.
    # Reports and the activity log show names of users.
    "CACHE_MODELS": ["flights.Flight", "flights.StatusReport", "auth.User"],
    "BULK_INSERT_CHUNK_SIZE": number("BULK_INSERT_CHUNK_SIZE", default=1000),
    "QUERY_SLOW_THRESHOLD": number("QUERY_SLOW_THRESHOLD", default=0.1),
    "N_PLUS_ONE_MODE": choice(
        "N_PLUS_ONE_MODE", default="header" if DEBUG else "off", among=("off", "log", "header", "raise")
    ),
    "WORKLOAD_ENABLED": flag("WORKLOAD_ENABLED", default=True),
    "RATE_LIMIT_ENABLED": flag("RATE_LIMIT_ENABLED", default=True),
    "RATE_LIMIT_PER_MINUTE": number("RATE_LIMIT_PER_MINUTE", default=100),
    "HEALTH_TOKEN": env.str("HEALTH_TOKEN", default=""),
    "JOB_BACKEND": "celery" if REDIS_URL else "immediate",
    "SCHEDULES": {
        "warm the cache": {"job": "perfkit.warm_cache", "every": 600},
        "statistics of New York": {
            "job": "perfkit.refresh_entry",
            "every": 1800,
            "args": ["project.flights.statistics.airport_statistics", ["JFK"]],
        },
        "drain the outbox": {"job": "perfkit.drain_outbox", "every": 60},
        "count the activity": {"job": "project.flights.jobs.roll_up_activity", "every": 3600},
        "mail the activity": {"job": "project.flights.jobs.mail_activity", "cron": "0 6 * * mon"},
        "forget the airports": {
            "job": "perfkit.invalidate",
            "cron": "0 4 * * *",
            "args": [["flights.Airport"]],
        },
        "clean the log": {
            "job": "perfkit.delete_old_rows",
            "cron": "30 3 * * *",
            "args": ["flights.ActivityLog", "created_at", 90],
        },
        "clean up": {"job": "perfkit.clean_up", "cron": "15 3 * * *"},
        "log the summary": {"job": "perfkit.log_summary", "every": 900, "args": ["15m"]},
        "advise on indexes": {"job": "perfkit.advise_indexes", "cron": "0 5 * * sun"},
    },
    "MAIL_BACKEND": "workers" if django.VERSION >= (6, 1) else MAIL["EMAIL_BACKEND"],
}

# --- A language model --------------------------------------------------------------------------------------

# Without a server answers say that no model was asked.
MODEL_SERVER_URL = address("MODEL_SERVER_URL")
MODEL_SERVER_KEY = env.str("MODEL_SERVER_KEY", default="")
MODEL_NAME = env.str("MODEL_NAME", default="")
if MODEL_SERVER_URL and not MODEL_NAME:
    raise ImproperlyConfigured("MODEL_NAME: it must name a model of the server in MODEL_SERVER_URL.")
MODEL_TIMEOUT = number("MODEL_TIMEOUT", default=60.0, least=1.0)
MODEL_DAILY_BUDGET = number("MODEL_DAILY_BUDGET", default=5.0, least=0.0)
MODEL_INPUT_PRICE = number("MODEL_INPUT_PRICE", default=1.0, least=0.0)
MODEL_OUTPUT_PRICE = number("MODEL_OUTPUT_PRICE", default=4.0, least=0.0)

# --- Everything else --------------------------------------------------------------------------------------

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = True
STATICFILES_DIRS = [BASE_DIR / "project" / "static"]
STATIC_URL = "static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG

LOG_LEVEL = choice("LOG_LEVEL", default="WARNING", among=("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"))
LOGGING = logging_settings(level=LOG_LEVEL)
