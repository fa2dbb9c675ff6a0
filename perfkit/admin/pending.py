"""The uploaded files that wait for their import to be confirmed."""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from django.db import models, router, transaction
from django.utils import timezone

from perfkit.models import PendingImport

KEPT: Final = dt.timedelta(days=1)
"""How long a file waits."""


class PendingFiles(NamedTuple):
    """The file of one person for one model: a later one takes the place of the last."""

    user_key: str
    model_label: str

    @property
    def alias(self) -> str:
        """Of the database that holds it."""
        return router.db_for_write(PendingImport)

    def find(self, token: str, *, is_locked: bool = False) -> PendingImport | None:
        """Return the file with this token, locked against others if so wanted; None where it is gone."""
        if "\0" in token:  # no text that a database keeps
            return None
        files = self._own().select_for_update() if is_locked else self._own()
        return files.filter(token=token, created_at__gte=timezone.now() - KEPT).first()

    def keep(self, uploaded: Mapping[str, Any]) -> PendingImport:
        """Keep what `UploadForm` has read, and drop what is too old, of whomever."""
        with transaction.atomic(using=self.alias):
            self._own().delete()
            self._all().filter(created_at__lt=timezone.now() - KEPT).delete()
            return self._all().create(
                user_key=self.user_key,
                model_label=self.model_label,
                file_name=uploaded["file"].name[:255],
                content=uploaded["content"],
                delimiter=uploaded["delimiter"],
            )

    def note(self, pending: PendingImport, chosen: Mapping[str, Any], counts: Sequence[int]) -> bool:
        """Keep what was chosen for a file and what its check came to; return whether the file is still there."""
        pending.choices = {"data": dict(chosen), "counts": list(counts), "check": secrets.token_urlsafe()}
        return bool(self._own().filter(token=pending.token).update(choices=pending.choices))

    def _all(self) -> models.QuerySet[PendingImport]:
        return PendingImport.objects.using(self.alias)

    def _own(self) -> models.QuerySet[PendingImport]:
        return self._all().filter(user_key=self.user_key, model_label=self.model_label)
