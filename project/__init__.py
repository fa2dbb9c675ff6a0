"""The demo project: perfkit on one year of real flights."""

from project.celery import app as celery_app

__all__ = ["celery_app"]
