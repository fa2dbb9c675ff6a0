from __future__ import annotations

from typing import ClassVar

from django.db.backends.sqlite3 import base


class DatabaseWrapper(base.DatabaseWrapper):
    vendor: ClassVar[str] = "other"
