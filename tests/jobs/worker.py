"""A Celery app for workers that tests torture: late acknowledgement, and a broker that gives messages out again.

Nothing of perfkit's preset is used, so jobs must hold on the worst of configurations.
CELERY_BROKER_URL says which broker it is.
"""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.jobs.worker_settings")

app = Celery("tortured")
app.conf.update(
    broker_connection_retry_on_startup=True,
    broker_transport_options={"visibility_timeout": 1, "socket_timeout": 5, "socket_connect_timeout": 5},
    task_annotations={"*": {"acks_late": True, "reject_on_worker_lost": True}},
    task_publish_retry=False,
    worker_prefetch_multiplier=4,
)
app.autodiscover_tasks(["perfkit.tasks"], related_name="jobs")
app.autodiscover_tasks(["tests.testapp"], related_name="jobs")
