"""`manage.py clear_idempotency_keys`: removes the answers whose time is over."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management.base import BaseCommand
from django.db import DEFAULT_DB_ALIAS

from perfkit.models import IdempotentAnswer


class Command(BaseCommand):
    """Removes the answers to requests with idempotency keys that are older than `IDEMPOTENCY_TTL`."""

    help = "Remove the answers to requests with idempotency keys whose time is over; run it once a day."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the database."""
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, help="Whose; the default one otherwise.")

    def handle(self, *_args: Any, database: str, **_options: Any) -> None:
        """Remove them, by one statement."""
        answers = IdempotentAnswer.objects.using(database)
        number, _ = answers.filter(created_at__lt=IdempotentAnswer.oldest()).delete()
        self.stdout.write(f"{number} answers removed.")
