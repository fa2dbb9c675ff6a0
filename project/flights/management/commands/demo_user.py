"""`manage.py demo_user`: a superuser for the demo's admin."""

from __future__ import annotations

import secrets
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand

from project.services import local_password

USERNAME = "demo"


class Command(BaseCommand):
    """Creates the user `demo` where it is missing; its password is random and kept under `.local/`."""

    help = "Create the superuser 'demo' and print its password."

    def handle(self, *args: Any, **options: Any) -> None:
        """Set the kept password, so that it holds for a new database too."""
        password = local_password(lambda: secrets.token_urlsafe(12))
        user, _ = get_user_model().objects.get_or_create(
            username=USERNAME, defaults={"is_staff": True, "is_superuser": True}
        )
        if not user.check_password(password):
            user.set_password(password)
            user.save(update_fields=["password"])
        self.stdout.write(f"Log in at /admin/ as {USERNAME} with the password {password}")
