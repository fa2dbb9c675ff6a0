"""The Celery app of room `tasks`: nothing of perfkit's preset, so that both ways have the same configuration.

PERFKIT_BENCH_VISIBILITY is a visibility timeout in seconds, under which messages are acknowledged late;
without it they are acknowledged early, which costs least. PERFKIT_BENCH_RECONNECTS has each task connect to the
database anew, as Celery does unless it is told otherwise.
"""

from __future__ import annotations

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.queued.settings")

VISIBILITY_SECONDS = int(os.environ.get("PERFKIT_BENCH_VISIBILITY") or 0)

app = Celery("queued")
app.conf.update(
    broker_url=os.environ.get("PERFKIT_BENCH_BROKER"),
    broker_connection_retry_on_startup=True,
    broker_transport_options={
        "visibility_timeout": VISIBILITY_SECONDS or 3600,
        "socket_timeout": 5,
        "socket_connect_timeout": 5,
    },
    task_acks_late=bool(VISIBILITY_SECONDS),
    task_ignore_result=True,
    task_publish_retry=False,
)
if VISIBILITY_SECONDS:  # jobs say themselves that they are acknowledged early, which this overrides
    app.conf.task_annotations = {"*": {"acks_late": True, "reject_on_worker_lost": True}}
if not os.environ.get("PERFKIT_BENCH_RECONNECTS"):
    app.conf["CELERY_DB_REUSE_MAX"] = 1_000_000
app.set_default()
app.autodiscover_tasks(["perfkit.tasks"], related_name="jobs")
app.autodiscover_tasks(["benchmarks.queued"], related_name="work")
