"""The only wiring: what happens when Django starts."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, register
from django.core.signals import request_finished, request_started
from django.db import connections
from django.db.backends.signals import connection_created


class PerfkitConfig(AppConfig):
    """Connects the rooms to Django; costs no query."""

    name = "perfkit"
    verbose_name = "perfkit"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Have what watches statements put onto every connection, count reads, and register the checks."""
        from perfkit import checks
        from perfkit.caching import counting, early_looks, scope, told_writes, writes
        from perfkit.loading import identity_scope
        from perfkit.loading.guard import current
        from perfkit.monitoring.installing import install
        from perfkit.signals import rows_written
        from perfkit.tracing import spans, sql_comments
        from perfkit.workload import installing as workload

        checks.register()
        register(_audit_celery, checks.TAG)
        register(_audit_deployed_celery, checks.TAG, deploy=True)
        counting.install()
        install()
        workload.install()
        current.install()
        identity_scope.install()
        sql_comments.install()
        spans.install()
        connection_created.connect(writes.attach, dispatch_uid="perfkit.caching.writes.attach")
        rows_written.connect(
            told_writes.rows_were_written, dispatch_uid="perfkit.caching.told_writes.rows_were_written"
        )
        request_started.connect(scope.request_began, dispatch_uid="perfkit.caching.scope.request_began")
        request_finished.connect(scope.request_ended, dispatch_uid="perfkit.caching.scope.request_ended")
        request_finished.connect(
            early_looks.look_early, dispatch_uid="perfkit.caching.early_looks.look_early"
        )
        for connection in connections.all(initialized_only=True):
            if connection.connection is not None:
                writes.attach(connection=connection)


def _audit_celery(**_: Any) -> list[CheckMessage]:
    """Find what is dangerous about the project's Celery configuration, where it has loaded Celery."""
    return _audited(deployed=False)


def _audit_deployed_celery(**_: Any) -> list[CheckMessage]:
    """Find what is dangerous about it on a site that is deployed."""
    return _audited(deployed=True)


def _audited(*, deployed: bool) -> list[CheckMessage]:
    # An app has loaded the class of apps; without one, only settings can tell that there should be one.
    if "celery.app.base" not in sys.modules and not getattr(settings, "CELERY_BROKER_URL", None):
        return []
    if find_spec("celery") is None:
        return []
    from perfkit.checks import found
    from perfkit.tasks.auditing import current_findings

    return [found(each.id, each.message, each.hint) for each in current_findings(deployed=deployed)]
