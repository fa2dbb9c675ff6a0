"""A Celery app that keeps its connections, and nothing of perfkit's; CELERY_BROKER_URL says where it works."""

from __future__ import annotations

import os

from celery import Celery
from celery.signals import task_postrun, task_prerun

from project.celery import app as demo_app

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.tasks.connecting_settings")

app = Celery("reusing")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf["CELERY_DB_REUSE_MAX"] = 100
# The demo's app comes with its settings, and has perfkit look at every task of this process.
assert demo_app is not app
assert task_prerun.disconnect(dispatch_uid="perfkit.tasks.connections._begin")
assert task_postrun.disconnect(dispatch_uid="perfkit.tasks.connections._end")
