"""The shop's tables lie in a database of their own, beside the demo's."""

from __future__ import annotations

from typing import Any, Final

from django.db.models import Model

ALIAS: Final = "shop"


class ShopRouter:
    """Sends the shop's models to their database."""

    def db_for_read(self, model: type[Model], **_hints: Any) -> str | None:
        return ALIAS if model._meta.app_label == "shop" else None

    def db_for_write(self, model: type[Model], **_hints: Any) -> str | None:
        return self.db_for_read(model)

    def allow_migrate(self, db: str, app_label: str, **_hints: Any) -> bool | None:
        return (db == ALIAS) == (app_label == "shop")
