"""The demo's app configuration."""

from django.apps import AppConfig


class FlightsConfig(AppConfig):
    """Flights out of New York."""

    name = "project.flights"
    default_auto_field = "django.db.models.BigAutoField"
