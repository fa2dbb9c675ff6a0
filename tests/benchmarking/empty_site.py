"""A site without addresses."""

from typing import Any

urlpatterns: list[Any] = []
