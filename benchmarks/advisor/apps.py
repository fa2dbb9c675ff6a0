"""The app of the tables that the judged workload reads."""

from __future__ import annotations

from django.apps import AppConfig


class ShopConfig(AppConfig):
    """A shop with customers, tickets, invoices and documents."""

    name = "benchmarks.advisor"
    label = "shop"
    default_auto_field = "django.db.models.BigAutoField"
