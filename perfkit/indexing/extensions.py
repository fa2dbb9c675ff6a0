"""Extensions of PostgreSQL that indexes need, as operations of migrations."""

from __future__ import annotations

from django.contrib.postgres.operations import TrigramExtension
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import ProjectState


class AddTrigrams(TrigramExtension):
    """Django's TrigramExtension, but reversing it leaves the extension.

    Others may use it by then, and it may have been there before.
    """

    def database_backwards(
        self,
        app_label: str,
        schema_editor: BaseDatabaseSchemaEditor,
        from_state: ProjectState,
        to_state: ProjectState,
    ) -> None:
        """Leave it."""
