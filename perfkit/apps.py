"""The only wiring: what happens when Django starts."""

from __future__ import annotations

from django.apps import AppConfig
from django.core.signals import request_finished, request_started
from django.db import connections
from django.db.backends.signals import connection_created


class PerfkitConfig(AppConfig):
    """Connects the rooms to Django; costs no query."""

    name = "perfkit"
    verbose_name = "perfkit"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Put what watches writes and slow queries onto every connection, count reads, and register the checks."""
        from perfkit import checks
        from perfkit.caching import counting, scope, told_writes, writes
        from perfkit.loading import identity_scope
        from perfkit.loading.guard import current
        from perfkit.monitoring import install
        from perfkit.signals import rows_written

        checks.register()
        counting.install()
        install()
        current.install()
        identity_scope.install()
        connection_created.connect(writes.attach, dispatch_uid="perfkit.caching.writes.attach")
        rows_written.connect(
            told_writes.rows_were_written, dispatch_uid="perfkit.caching.told_writes.rows_were_written"
        )
        request_started.connect(scope.request_began, dispatch_uid="perfkit.caching.scope.request_began")
        request_finished.connect(scope.request_ended, dispatch_uid="perfkit.caching.scope.request_ended")
        for connection in connections.all(initialized_only=True):
            if connection.connection is not None:
                writes.attach(connection=connection)
