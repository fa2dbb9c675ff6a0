"""perfkit's own tables."""

from __future__ import annotations

from django.db import models


class PendingInvalidation(models.Model):
    """The outbox: tags of a committed write that the cache server could not be told of.

    Written in the transaction of that write, in its database, and removed once the server knows.
    """

    tags = models.TextField(help_text="JSON list of tags.")
    writer = models.CharField(
        max_length=16, help_text="Its id, in case the server hears late of a MARK that was thought lost."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"{self.created_at:%Y-%m-%d %H:%M:%S} {self.tags[:60]}"
