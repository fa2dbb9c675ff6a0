from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.timetable.entrants import (
    CACHALOT,
    CACHEOPS,
    EVERYBODY,
    IN_REQUEST,
    PLAIN,
    SHARED,
    STRICT,
    Entrant,
)
from project.flights import models

ROOT = Path(__file__).resolve().parents[2]
TELL_MODELS = """
import django, json
django.setup()
from django.apps import apps
print(json.dumps({
    model.__name__: {
        "manager": type(model._default_manager).__name__,
        "table": model._meta.db_table,
        "columns": [[field.column, field.get_internal_type(), field.null] for field in model._meta.fields],
    }
    for model in apps.get_app_config("timetable").get_models()
}))
"""


TELL_SETTINGS = """
import json
from django.conf import settings
names = "INSTALLED_APPS", "MANAGER", "REQUEST", "PERFKIT"
print(json.dumps({name: getattr(settings, name) for name in names}))
"""


def told(entrant: Entrant, tell: str) -> Any:
    """What the process of an entrant says of itself; no server is asked."""
    variables = {
        **entrant.variables("redis://127.0.0.1:1/0"),
        "DATABASE_URL": "postgres://nobody@127.0.0.1:1/nothing",
        "PYTHONPATH": str(ROOT),
    }
    ended = subprocess.run(
        [sys.executable, "-c", tell],
        capture_output=True,
        text=True,
        env={**os.environ, **variables},
        check=True,
    )
    return json.loads(ended.stdout)


@pytest.mark.parametrize("name", ["Airline", "Airport", "Plane", "Flight", "Weather"])
def test_it_has_the_columns_of_the_demos_tables(name: str) -> None:
    demo = getattr(models, name)
    assert told(PLAIN, TELL_MODELS)[name] == {
        "manager": "Manager",
        "table": demo._meta.db_table,
        "columns": [[field.column, field.get_internal_type(), field.null] for field in demo._meta.fields],
    }


def test_it_caches_all_but_the_weather() -> None:
    managers = {name: each["manager"] for name, each in told(IN_REQUEST, TELL_MODELS).items()}
    assert managers.pop("Weather") == "Manager"
    assert set(managers.values()) == {"CachedManager"}


@pytest.mark.parametrize("entrant", EVERYBODY, ids=lambda entrant: entrant.name)
def test_it_has_one_library(entrant: Entrant) -> None:
    settings = told(entrant, TELL_SETTINGS)
    own = [] if entrant is PLAIN else [entrant.library]
    assert settings["INSTALLED_APPS"] == [*own, "benchmarks.timetable"]
    assert settings["MANAGER"].startswith("perfkit." if entrant.library == "perfkit" else "django.")


@pytest.mark.parametrize(
    ("entrant", "memory", "request_of"),
    [
        (IN_REQUEST, "request", "token_scope"),
        (STRICT, "strict", "nullcontext"),
        (SHARED, "off", "nullcontext"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_it_sets_the_tier(entrant: Entrant, memory: str, request_of: str) -> None:
    settings = told(entrant, TELL_SETTINGS)
    assert settings["PERFKIT"]["CACHE_MEMORY"] == memory
    assert settings["REQUEST"].rpartition(".")[2] == request_of


@pytest.mark.parametrize("entrant", [PLAIN, CACHEOPS, CACHALOT], ids=lambda entrant: entrant.name)
def test_it_has_no_scope_of_perfkits(entrant: Entrant) -> None:
    assert told(entrant, TELL_SETTINGS)["REQUEST"] == "contextlib.nullcontext"
