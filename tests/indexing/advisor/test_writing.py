"""Migrations in a project of their own: written, pasted, applied, reversed and applied again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

ROOT = Path(__file__).resolve().parents[3]

SETTINGS = """
SECRET_KEY = "only-for-this-test"
INSTALLED_APPS = ["django.contrib.postgres", "django_migration_linter", "perfkit", "shop", "packaged"]
DATABASES = {{"default": {database!r}}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"
PERFKIT = {{}}
"""

MODELS = """
{imports}


class Customer(models.Model):
    email = models.CharField(max_length=80, db_index=True)
    code = models.CharField(max_length=80, unique=True)


class Order(models.Model):
    customer = models.ForeignKey(Customer, models.CASCADE, db_index=False)
    status = models.CharField(max_length=10)
    total = models.IntegerField(null=True)
    made = models.DateTimeField()

    class Meta:
        indexes = [
            models.Index(fields=["status"], name="order_old"),
            models.Index(fields=["made"], name="order_made"),
{lines}
        ]
"""

PACKAGED = """
from django.db import models


class Thing(models.Model):
    name = models.CharField(max_length=10)
"""

FINDINGS = """
import json, sys
import django
django.setup()
from django.db import connection
from perfkit.indexing.advisor.findings import Confidence, Finding, Kind
from perfkit.indexing.advisor.inspecting import inspect
from perfkit.indexing.advisor.remedies import remedies
from perfkit.indexing.advisor.specs import IndexSpec, Key
from perfkit.indexing.advisor.writing import planned_migrations, write

IS_POSTGRES = connection.vendor == "postgresql"

def add(*keys, table="shop_order", replaces=(), **more):
    spec = IndexSpec(table, tuple(keys), **more)
    return Finding(Kind.MISSING, "default", table, spec, "It is missing.", Confidence.BUILT, replaces=replaces)

def drop(name, *columns, table="shop_order"):
    spec = IndexSpec(table, tuple(map(Key, columns)))
    there = {each.name: each.definition for each in inspect("default").indexes}
    return Finding(
        Kind.UNUSED, "default", table, spec, "Unused.", Confidence.CATALOGUE,
        name=name, definition=there.get(name, ""),
    )

found = [
    add(Key("customer_id"), Key("made", descending=True)),
    add(Key("total", descending=True, nulls_first=False), Key("id")),
    add(Key('upper("status")' if not IS_POSTGRES else "upper(status)", True)),
    add(Key("made"), condition="status = 'failed'"),
    drop("order_old", "status"),
    drop("by_hand", "total"),
    drop("shop_customer_email_X", "email", table="shop_customer"),
    add(Key("name"), table="packaged_thing"),
    add(Key("made"), condition="upper(status) = 'A'"),
    add(Key("x"), table="nobody"),
    add(Key("made"), Key("total"), replaces=("order_made",)),
]
if IS_POSTGRES:
    found.append(add(Key("status"), include=("total",)))
    found.append(add(Key("status", operator_class="gin_trgm_ops"), method="gin"))
    found.append(add(Key("upper(status)", True, "text_pattern_ops")))
made = remedies(found, "default")
written = planned_migrations(made)
again = planned_migrations(remedies(found, "default"))
assert [each.text for each in again.files] == [each.text for each in written.files]
if "write" in sys.argv:
    write(written.files)
print(json.dumps({
    "files": [str(each.path) for each in written.files],
    "labels": [each.label for each in written.files],
    "texts": [each.text for each in written.files],
    "lines": [each.meta_line for each in made if each.finding.is_addition and each.meta_line],
    "out": [each.meta_line for each in made if not each.finding.is_addition and each.meta_line],
    "imports": sorted({line for each in made for line in each.imports}),
    "left": {each.name: why for each, why in written.left},
    "by_hand": {each.name: each.by_hand for each in made if each.by_hand},
    "sql": [each.sql for each in made],
}))
"""


class Project:
    """A folder with a project and its database."""

    email_index = "shop_customer_email_X"

    def __init__(self, folder: Path, database: dict[str, Any]) -> None:
        self.folder = folder
        packages = folder / "site-packages" / "packaged"
        for app in (folder / "shop", packages):
            (app / "migrations").mkdir(parents=True)
            (app / "__init__.py").touch()
            (app / "migrations" / "__init__.py").touch()
        (folder / "settings.py").write_text(SETTINGS.format(database=database))
        (packages / "models.py").write_text(PACKAGED)
        self.write_models()
        self.manage("makemigrations", "shop", "packaged")
        self.manage("migrate", "shop")

    def write_models(
        self,
        *lines: str,
        imports: Iterable[str] = ("from django.db import models",),
        without: tuple[str, ...] = (),
    ) -> None:
        text = MODELS.format(
            imports="\n".join(imports), lines="\n".join(f"            {line}" for line in lines)
        )
        (self.folder / "shop" / "models.py").write_text(
            "\n".join(line for line in text.splitlines() if line.strip() not in without)
        )

    def python(self, *arguments: str) -> str:
        environment = {
            **{
                name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "REDIS_URL"}
            },
            "DJANGO_SETTINGS_MODULE": "settings",
            "PYTHONPATH": os.pathsep.join([str(self.folder), str(self.folder / "site-packages"), str(ROOT)]),
        }
        ended = subprocess.run(
            [sys.executable, *arguments],
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=environment,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    def manage(self, *arguments: str) -> str:
        return self.python("-W", "error", "-m", "django", *arguments)

    def run(self, sql: str) -> list[list[Any]]:
        code = (
            "import django, json, sys; django.setup()\n"
            "from django.db import connection as c\n"
            "cursor = c.cursor(); cursor.execute(sys.argv[1])\n"
            "print(json.dumps(cursor.fetchall() if cursor.description else [], default=str))"
        )
        rows: list[list[Any]] = json.loads(self.python("-c", code, sql))
        return rows

    def advise(self, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            self.python("-c", FINDINGS.replace("shop_customer_email_X", self.email_index), *arguments)
        )
        return found


@pytest.fixture
def sqlite_project(tmp_path: Path) -> Project:
    return Project(tmp_path, {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "db.sqlite3")})


@pytest.fixture
def postgres_project(tmp_path: Path, transactional_db: None) -> Iterator[Project]:
    name = f"{connection.settings_dict['NAME']}_shop"
    with connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE IF EXISTS {name}")
        cursor.execute(f"CREATE DATABASE {name}")
    keys = ("ENGINE", "USER", "PASSWORD", "HOST", "PORT")
    database = {**{key: connection.settings_dict[key] for key in keys}, "NAME": name}
    try:
        yield Project(tmp_path, database)
    finally:
        with connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")


def indexes_of(project: Project, *, is_postgres: bool) -> dict[str, str]:
    sql = (
        "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'shop_order'"
        if is_postgres
        else "SELECT name, coalesce(sql, '') FROM sqlite_master WHERE type = 'index' AND tbl_name = 'shop_order'"
    )
    return {row[0]: row[1].replace('"', "") for row in project.run(sql)}


def proven(project: Project, *, is_postgres: bool) -> dict[str, Any]:
    """Write the migrations, paste the lines, and go forwards, backwards and forwards."""
    if is_postgres:
        project.run(
            "CREATE UNIQUE INDEX by_hand ON shop_order (total, id) NULLS NOT DISTINCT WITH (fillfactor = 70)"
        )
    else:
        project.run("CREATE INDEX by_hand ON shop_order (total)")
    planned = project.advise()
    before = indexes_of(project, is_postgres=is_postgres)
    assert not any(Path(path).exists() for path in planned["files"])
    found = project.advise("write")
    (file,) = found["files"]
    assert Path(file).name == "0002_index_advice.py"
    assert "atomic = False" in Path(file).read_text()
    project.write_models(
        *found["lines"],
        imports=found["imports"],
        without=(
            'models.Index(fields=["status"], name="order_old"),',
            'models.Index(fields=["made"], name="order_made"),',
        ),
    )
    project.manage("makemigrations", "--check", "--dry-run")
    project.manage("migrate", "shop")
    after = indexes_of(project, is_postgres=is_postgres)
    assert not {"order_old", "order_made", "by_hand"} & set(after)
    assert len(after) == len(before) - 3 + len(found["lines"])
    again = project.advise()
    assert again["files"] == []
    assert set(again["left"].values()) == {"a migration that is there does it; apply it"}
    assert any("place of order_made: take its line out" in why for why in found["by_hand"].values())
    assert any("packaged.Thing is a package's" in why for why in found["by_hand"].values())
    project.manage("migrate", "shop", "0001")
    assert indexes_of(project, is_postgres=is_postgres) == before
    project.manage("migrate", "shop")
    assert indexes_of(project, is_postgres=is_postgres) == after
    return found


def test_it_writes_what_sqlite_applies(sqlite_project: Project) -> None:
    found = proven(sqlite_project, is_postgres=False)
    assert len(found["lines"]) == 5
    assert "no words for its condition" in str(found["by_hand"])


PLANNED = """
import json, sys
import django
django.setup()
from perfkit.errors import NoIndexMigrationError
from perfkit.indexing.advisor.findings import Confidence, Finding, Kind
from perfkit.indexing.advisor.remedies import remedies
from perfkit.indexing.advisor.specs import IndexSpec, Key
from perfkit.indexing.advisor.writing import planned_migrations

spec = IndexSpec("shop_order", (Key("made"), Key("id")))
found = [Finding(Kind.MISSING, "default", "shop_order", spec, "", Confidence.BUILT)]
try:
    written = planned_migrations(remedies(found, "default"))
except NoIndexMigrationError as error:
    print(json.dumps(["error", str(error)]))
else:
    print(json.dumps([[str(each.path) for each in written.files], [why for _, why in written.left]]))
"""


def test_it_writes_to_where_the_migrations_are(sqlite_project: Project) -> None:
    settings = sqlite_project.folder / "settings.py"
    usual, old = settings.read_text(), sqlite_project.folder / "shop" / "migrations" / "0001_initial.py"
    moved = sqlite_project.folder / "moved" / "shop"
    moved.mkdir(parents=True)
    for folder in (moved.parent, moved):
        (folder / "__init__.py").touch()
    (moved / old.name).write_text(old.read_text())
    for modules, files, left in (
        ({"shop": "moved.shop"}, [str(moved / "0002_index_advice.py")], []),
        ({"shop": None}, [], ["MIGRATION_MODULES gives the app no migrations"]),
    ):
        settings.write_text(f"{usual}\nMIGRATION_MODULES = {modules!r}\n")
        assert json.loads(sqlite_project.python("-c", PLANNED)) == [files, left]


def test_two_migrations_that_come_last_are_to_be_merged_first(sqlite_project: Project) -> None:
    folder = sqlite_project.folder / "shop" / "migrations"
    for name in ("0002_one", "0002_other"):
        (folder / f"{name}.py").write_text(
            "from django.db import migrations\n\n\nclass Migration(migrations.Migration):\n"
            '    dependencies = [("shop", "0001_initial")]\n'
        )
    kind, text = json.loads(sqlite_project.python("-c", PLANNED))
    assert kind == "error"
    assert "makemigrations --merge" in text


@pytest.mark.postgres
def test_it_writes_what_postgres_applies(postgres_project: Project) -> None:
    email = postgres_project.run(
        "SELECT indexname FROM pg_indexes WHERE tablename = 'shop_customer' AND indexdef LIKE '%(email)'"
    )
    postgres_project.email_index = email[0][0]
    found = proven(postgres_project, is_postgres=True)
    assert len(found["lines"]) == 8
    (text,) = found["texts"]
    assert "AddTrigrams(" in text
    assert "ReplaceIndexSafely(" in text
    there = "SELECT count(*) FROM pg_extension WHERE extname = 'pg_trgm'"
    assert postgres_project.run(there) == [[1]]
    postgres_project.manage("migrate", "shop", "0001")
    assert postgres_project.run(there) == [[1]]
    postgres_project.manage("migrate", "shop")
    assert text.count("AddIndexSafely(") == 7
    names = (
        "AddIndexSafely, AddTrigrams, DropIndexSafely, PortableIndex, RemoveIndexSafely, ReplaceIndexSafely"
    )
    assert f"from perfkit.indexing import {names}" in text
    why = found["by_hand"]
    assert "Write db_index=False on shop.Customer.email" in why[email[0][0]]
    assert any("no model of this project has the table nobody" in each for each in why.values())
    linted = postgres_project.manage("lintmigrations", "shop", "0002_index_advice", "--no-cache")
    assert "ERR" not in linted
    assert all("CONCURRENTLY" in each for each in found["sql"])


WITH_TRIGRAMS = """
import json
import django
django.setup()
from perfkit.indexing.advisor.findings import Confidence, Finding, Kind
from perfkit.indexing.advisor.remedies import remedies
from perfkit.indexing.advisor.specs import IndexSpec, Key
from perfkit.indexing.advisor.writing import planned_migrations, write

def missing(table, column):
    spec = IndexSpec(table, (Key(column, operator_class="gin_trgm_ops"),), method="gin")
    return Finding(Kind.MISSING, "default", table, spec, "", Confidence.BUILT)

found = [missing("alpha_thing", "name"), missing("shop_order", "status")]
files = planned_migrations(remedies(found, "default")).files
write(files)
print(json.dumps([each.label for each in files]))
"""


@pytest.mark.postgres
def test_each_migration_makes_the_extension_that_it_needs(postgres_project: Project) -> None:
    """For of those that make it, none need be applied before this one."""
    alpha = postgres_project.folder / "alpha"
    (alpha / "migrations").mkdir(parents=True)
    for folder in (alpha, alpha / "migrations"):
        (folder / "__init__.py").touch()
    (alpha / "models.py").write_text(PACKAGED)
    settings = postgres_project.folder / "settings.py"
    settings.write_text(settings.read_text().replace('"shop",', '"shop", "alpha",'))
    postgres_project.manage("makemigrations", "alpha")
    postgres_project.manage("migrate", "alpha")
    written = json.loads(postgres_project.python("-c", WITH_TRIGRAMS))
    assert written == ["alpha.0002_index_advice", "shop.0002_index_advice"]
    postgres_project.manage("migrate", "shop")
    assert any(
        "gin_trgm_ops" in definition for definition in indexes_of(postgres_project, is_postgres=True).values()
    )
