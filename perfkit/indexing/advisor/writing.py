"""Writes the migrations that do what is advised, each into the app that its model is of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from django.core.management.utils import run_formatters
from django.db.migrations import Migration, RemoveIndex
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.migrations.writer import MigrationWriter
from django.db.models import Index

from perfkit.errors import NoIndexMigrationError
from perfkit.indexing.advisor.declaring import TRIGRAMS
from perfkit.indexing.advisor.remedies import Remedy, by_app
from perfkit.indexing.blocking import PACKAGES
from perfkit.indexing.operations import AddIndexSafely, RemoveIndexSafely, ReplaceIndexSafely
from perfkit.indexing.undeclared import DropIndexSafely

NAME: Final = "index_advice"
CLASS_LINE: Final = "class Migration(migrations.Migration):\n"
OURS: Final = (
    "perfkit.indexing.operations",
    "perfkit.indexing.undeclared",
    "perfkit.indexing.indexes",
    "perfkit.indexing.extensions",
)
PUBLIC: Final = (
    "AddIndexSafely",
    "AddTrigrams",
    "DropIndexSafely",
    "PortableIndex",
    "RemoveIndexSafely",
    "ReplaceIndexSafely",
)


@dataclass(frozen=True, slots=True)
class MigrationFile:
    """A migration to write, or one that is written.

    Attributes:
        label: `app.name`.
        remedies: What it does.
    """

    label: str
    path: Path
    text: str
    remedies: tuple[Remedy, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """What is written, and what is not.

    Attributes:
        left: Each remedy that has operations and no migration, with why.
    """

    files: tuple[MigrationFile, ...]
    left: tuple[tuple[Remedy, str], ...]


def planned_migrations(found: Iterable[Remedy]) -> Written:
    """Return the migrations that do what is advised, without writing any.

    What a migration on disk does already is left out. Nothing goes into a package's app, where an upgrade would
    take it away, unless `MIGRATION_MODULES` names a place of the project's.

    Raises:
        NoIndexMigrationError: An app has two migrations that nothing comes after.

    Queries: none.
    """
    loader = MigrationLoader(None, ignore_no_migrations=True)
    state = loader.project_state()
    files, left = [], []
    for app_label, wanted in by_app(found):
        reason = _refusal(loader, app_label)
        if reason:
            left += [(each, reason) for each in wanted]
            continue
        fresh = []
        for each in wanted:
            if _is_done(each, loader, state):
                left.append((each, "a migration that is there does it; apply it"))
            else:
                fresh.append(each)
        if fresh:
            files.append(_file(loader, app_label, fresh))
    return Written(tuple(files), tuple(left))


def write(files: Sequence[MigrationFile]) -> None:
    """Write the migrations, formatted as `makemigrations` would."""
    for each in files:
        each.path.write_text(each.text, encoding="utf-8")
    run_formatters([str(each.path) for each in files])


def _refusal(loader: MigrationLoader, app_label: str) -> str:
    module, _ = loader.migrations_module(app_label)
    if module is None:
        return "MIGRATION_MODULES gives the app no migrations"
    leaves = loader.graph.leaf_nodes(app_label)
    if not leaves:
        return "the app has no migrations; run `makemigrations` first"
    if len(leaves) > 1:
        raise NoIndexMigrationError(app_label, "two come last; run `makemigrations --merge` first.")
    folder = _folder(app_label)
    if any(package in folder.parts for package in PACKAGES):
        return "the app is a package's, and its next version would take the migration away; run the statement"
    return ""


def _folder(app_label: str) -> Path:
    return Path(MigrationWriter(Migration("x", app_label)).basedir)


def _file(loader: MigrationLoader, app_label: str, wanted: Sequence[Remedy]) -> MigrationFile:
    ((_, last),) = loader.graph.leaf_nodes(app_label)
    number = (MigrationAutodetector.parse_number(last) or 0) + 1
    operations = [operation for each in wanted for operation in each.operations]
    if any(map(_uses_trigrams, operations)):
        # In each: another migration that makes the extension need not come before this one.
        from perfkit.indexing.extensions import AddTrigrams  # which needs psycopg

        operations.insert(0, AddTrigrams())
    kind = type("Migration", (Migration,), {"operations": operations, "dependencies": [(app_label, last)]})
    migration: Any = kind(f"{number:04}_{NAME}", app_label)
    writer = MigrationWriter(migration, include_header=False)  # which says the minute
    return MigrationFile(
        f"{app_label}.{migration.name}", Path(writer.path), _text(writer.as_string()), tuple(wanted)
    )


def _text(text: str) -> str:
    """Return a migration that runs in no transaction, and imports perfkit's names from where they are public."""
    text = text.replace(CLASS_LINE, f"{CLASS_LINE}\n    atomic = False\n", 1)
    names = set()
    for module in OURS:
        for kind in PUBLIC:
            if f"{module}.{kind}(" in text:
                names.add(kind)
                text = text.replace(f"{module}.{kind}(", f"{kind}(")
        text = text.replace(f"import {module}\n", "")
    if not names:
        return text
    line = f"from perfkit.indexing import {', '.join(sorted(names))}\n"
    first = text.index("from django.db import")
    end = text.index("\n", first) + 1
    return f"{text[:end]}\n{line}{text[end:]}"


def _is_done(remedy: Remedy, loader: MigrationLoader, state: ProjectState) -> bool:
    return all(_is_in(operation, remedy, loader, state) for operation in remedy.operations)


def _is_in(operation: Operation, remedy: Remedy, loader: MigrationLoader, state: ProjectState) -> bool:
    app_label = remedy.app_label
    if isinstance(operation, DropIndexSafely):
        migrations = [each for key, each in loader.disk_migrations.items() if key[0] == app_label]
        theirs = [each for migration in migrations for each in migration.operations]
        return any(
            isinstance(each, DropIndexSafely | RemoveIndex) and each.name == operation.name for each in theirs
        )
    if isinstance(operation, AddIndexSafely | ReplaceIndexSafely):
        return operation.index.name in _names(state, app_label, operation.model_name_lower)
    if isinstance(operation, RemoveIndexSafely):
        return operation.name not in _names(state, app_label, operation.model_name_lower)
    return False


def _names(state: ProjectState, app_label: str, model_name: str) -> set[str]:
    model = state.models.get((app_label, model_name))
    return {index.name for index in model.options.get("indexes", ())} if model else set()


def _uses_trigrams(operation: Operation) -> bool:
    if not isinstance(operation, AddIndexSafely | ReplaceIndexSafely):
        return False
    index: Index = operation.index
    classes = [*index.opclasses, *(getattr(each, "extra", {}).get("name") for each in index.expressions)]
    return any(each in TRIGRAMS for each in classes)
