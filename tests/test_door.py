"""The public door: what stands in it, and what it does not load."""

from __future__ import annotations

import subprocess
import sys

import pytest

import perfkit

PUBLIC = {
    *("CachedManager", "CachedQuerySet", "__version__"),
    *("bulk_copy_out", "bulk_delete", "bulk_insert", "bulk_update", "bulk_upsert"),
    *("abulk_copy_out", "abulk_delete", "abulk_insert", "abulk_update", "abulk_upsert"),
    *("TTL", "cache", "cached", "cached_query", "invalidate", "ainvalidate", "invalidates"),
    *("eager", "warm", "warmer"),
}

EVERYTHING = "import perfkit, perfkit.conf, perfkit.errors, perfkit.signals"


def run(code: str) -> str:
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def test_exactly_the_listed_names_are_public() -> None:
    assert sorted(perfkit.__all__) == sorted(PUBLIC)
    assert len(set(perfkit.__all__)) == len(perfkit.__all__)


def test_a_fresh_import_shows_no_unlisted_public_name() -> None:
    code = (
        "import perfkit, types\n"
        "names = {n for n in dir(perfkit) if not n.startswith('_')} - set(perfkit.__all__)\n"
        "print(sorted(names - {'annotations', 'import_module', 'TYPE_CHECKING', 'Any', 'Final'}))"
    )
    assert run(code) == "[]"


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_each_name_leads_somewhere(name: str) -> None:
    assert getattr(perfkit, name) is not None


def test_a_wrong_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'perfkit' has no attribute 'bulk_insrt'"):
        _ = perfkit.bulk_insrt  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "package",
    [
        *("ninja", "celery", "kombu", "prometheus_client", "redis", "debug_toolbar"),
        *("opentelemetry.trace", "pythonjsonlogger", "structlog", "pglast"),
    ],
)
def test_importing_perfkit_does_not_load(package: str) -> None:
    assert run(f"{EVERYTHING}, sys; print({package!r} in sys.modules)") == "False"


def test_importing_perfkit_needs_no_settings() -> None:
    code = f"{EVERYTHING}; from django.conf import settings; print(settings.configured)"
    assert run(code) == "False"


def test_setting_up_a_project_with_perfkit_alone_loads_no_optional_package() -> None:
    code = (
        "import sys\n"
        "from django.conf import settings\n"
        "settings.configure(INSTALLED_APPS=['perfkit'])\n"
        "import django; django.setup()\n"
        "optional = {'ninja', 'celery', 'kombu', 'prometheus_client', 'redis', 'debug_toolbar', 'psycopg', "
        "'opentelemetry.trace', 'pythonjsonlogger', 'structlog', 'pglast'}\n"
        "print(sorted(optional & set(sys.modules)))"
    )
    assert run(code) == "[]"


def test_without_pglast_jobs_are_there_and_the_advisor_says_what_it_lacks() -> None:
    code = (
        "import sys; sys.modules['pglast'] = None\n"
        "from django.conf import settings\n"
        "database = {'ENGINE': 'django.db.backends.sqlite3', 'NAME': ':memory:'}\n"
        "settings.configure(INSTALLED_APPS=['perfkit'], DATABASES={'default': database}, USE_TZ=True)\n"
        "import django; django.setup()\n"
        "import perfkit.jobs.indexes\n"
        "from django.core.management import call_command\n"
        "call_command('migrate', verbosity=0)\n"
        "call_command('perfkit_advise')"
    )
    said = run(code)
    assert "There is nothing to do." in said
    assert "'django-perfkit[advisor]'" in said
