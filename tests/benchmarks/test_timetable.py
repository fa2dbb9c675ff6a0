from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from project.flights import models

ROOT = Path(__file__).resolve().parents[2]
TELL = """
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


def told(contender: str) -> dict[str, dict[str, object]]:
    """What the app says of its models; no server is asked."""
    variables = {
        "DJANGO_SETTINGS_MODULE": "benchmarks.timetable.settings",
        "PERFKIT_BENCH_CONTENDER": contender,
        "PERFKIT_BENCH_CACHE": "redis://127.0.0.1:1/0",
        "DATABASE_URL": "postgres://nobody@127.0.0.1:1/nothing",
        "PYTHONPATH": str(ROOT),
    }
    ended = subprocess.run(
        [sys.executable, "-c", TELL],
        capture_output=True,
        text=True,
        env={**os.environ, **variables},
        check=True,
    )
    return json.loads(ended.stdout)


@pytest.mark.parametrize("name", ["Airline", "Airport", "Plane", "Flight", "Weather"])
def test_it_has_the_columns_of_the_demos_tables(name: str) -> None:
    demo = getattr(models, name)
    assert told("plain")[name] == {
        "manager": "Manager",
        "table": demo._meta.db_table,
        "columns": [[field.column, field.get_internal_type(), field.null] for field in demo._meta.fields],
    }


def test_it_caches_all_but_the_weather() -> None:
    managers = {name: each["manager"] for name, each in told("perfkit").items()}
    assert managers.pop("Weather") == "Manager"
    assert set(managers.values()) == {"CachedManager"}
