"""perfkit's own tables."""

from __future__ import annotations

from django.db import models


class PendingInvalidation(models.Model):
    """The outbox: what a committed write could not tell the cache server.

    Written in the transaction of that write, in its database, and removed once the server knows.
    It is the tags of that write alone, or a notice: until it ends, its writer writes under the tags in silence.
    """

    tags = models.TextField(help_text="JSON list of tags.")
    writer = models.CharField(
        max_length=16, help_text="Its id, in case the server hears late of a MARK that was thought lost."
    )
    holds_until = models.DateTimeField(null=True, help_text="When a notice ends, on the database's clock.")
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.created_at:%Y-%m-%d %H:%M:%S} {self.tags[:60]}"
