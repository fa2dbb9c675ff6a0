"""Django's settings for the benchmarks: the demo's models in a database of their own, no pool, no debugging."""

from __future__ import annotations

import os

import environ

from project import services

DATABASE_NAME = f"perfkit_bench_{os.environ.get('PERFKIT_BENCH_ROOM', 'any')}"

SECRET_KEY = "only-for-benchmarks"  # noqa: S105  # no site runs on it
USE_TZ = True
TIME_ZONE = "UTC"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "perfkit", "project.flights"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": environ.Env.db_url_config(services.database_url()) | {"NAME": DATABASE_NAME},
    "file": {"ENGINE": "django.db.backends.sqlite3", "NAME": ""},  # the room that uses it says where
}
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
PERFKIT = {"CACHE_MODELS": ["flights.Flight"]}  # whose lists and counts are kept in room api
