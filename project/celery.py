"""The Celery app of the demo project: `celery -A project worker`."""

from __future__ import annotations

import os

from celery import Celery

from perfkit.tasks import configure

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

app = Celery("project")
app.config_from_object("django.conf:settings", namespace="CELERY")
configure(app)
app.autodiscover_tasks()
