"""Django's settings for the benchmarks: the demo's models in a database of their own, no pool, no debugging."""

from __future__ import annotations

import os
from typing import Any

import environ

from project import services

ROOM = os.environ.get("PERFKIT_BENCH_ROOM", "any")
DATABASE_NAME = f"perfkit_bench_{ROOM}"

SECRET_KEY = "only-for-benchmarks"  # noqa: S105  # no site runs on it
USE_TZ = True
TIME_ZONE = "UTC"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "perfkit", "project.flights"]
if ROOM == "monitoring":  # for the admin's page
    INSTALLED_APPS += [
        "django.contrib.admin",
        "django.contrib.sessions",
        "django.contrib.messages",
        "django.contrib.staticfiles",
    ]
    STATIC_URL = "static/"
    TEMPLATES = [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
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
    MIDDLEWARE = [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ]
if ROOM == "indexing":  # for the workload that judges the advisor
    INSTALLED_APPS += ["django.contrib.postgres", "benchmarks.advisor"]
    DATABASE_ROUTERS = ["benchmarks.advisor.routing.ShopRouter"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
SERVER = environ.Env.db_url_config(services.database_url())
OF_ONE_ROOM: dict[str, dict[str, Any]] = {
    "monitoring": {
        "prometheus": {**SERVER, "NAME": DATABASE_NAME, "ENGINE": "django_prometheus.db.backends.postgresql"}
    },
    "indexing": {"shop": {**SERVER, "NAME": f"{DATABASE_NAME}_shop"}},
    "bulk": {"file": {"ENGINE": "django.db.backends.sqlite3", "NAME": ""}},  # the room says where
}
DATABASES = {"default": {**SERVER, "NAME": DATABASE_NAME}, **OF_ONE_ROOM.get(ROOM, {})}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
PERFKIT = {
    "CACHE_MODELS": ["flights.Flight"],  # whose lists and counts are kept in room api
    "METRICS_ENABLED": False,  # but in room monitoring
    "QUERY_SLOW_THRESHOLD": 600.0,  # statements are slow on purpose
}
