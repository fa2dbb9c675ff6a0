"""`manage.py demo_token`: a token for a program that writes to the demo's API."""

from __future__ import annotations

import argparse
from datetime import timedelta
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from project.flights.tokens import make_token


class Command(BaseCommand):
    """Makes a token and prints it, once: only its digest is kept."""

    help = "Make a token for the API and print it; it cannot be shown again."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare whose it is, what for, and how long it holds."""
        parser.add_argument("username", help="The user that it writes as.")
        parser.add_argument("--name", default="command line", help="What it is for.")
        parser.add_argument("--days", type=int, help="How long it holds; for ever otherwise.")

    def handle(self, *_args: Any, username: str, name: str, days: int | None, **_options: Any) -> None:
        """Make it.

        Raises:
            CommandError: There is no such user, or the time has passed already.
        """
        if days is not None and days < 1:
            raise CommandError("--days must be at least 1.")
        user = get_user_model().objects.filter(username=username).first()
        if user is None:
            raise CommandError(f"There is no user {username!r}; manage.py demo_user makes the user demo.")
        expires_at = timezone.now() + timedelta(days=days) if days is not None else None
        self.stdout.write(make_token(user, name, expires_at=expires_at))
