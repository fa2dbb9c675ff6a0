"""A module with a task that only a schedule names."""

from celery import shared_task


@shared_task(time_limit=60, soft_time_limit=50)
def nightly() -> None: ...
