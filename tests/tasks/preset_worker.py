"""A Celery app with perfkit's preset and nothing else, for workers of tests; CELERY_BROKER_URL says where."""

from __future__ import annotations

import os

from celery import Celery

from perfkit.tasks import configure

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.jobs.worker_settings")

app = Celery("preset")
configure(app)
app.autodiscover_tasks(["tests.tasks"], related_name="traces")
