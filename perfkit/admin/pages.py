"""The addresses of what is added to an admin."""

from __future__ import annotations

from typing import Any

from django.urls import reverse


def url_name(model_admin: Any, page: str) -> str:
    """Return the name of the route to a page of the admin."""
    return f"{model_admin.opts.app_label}_{model_admin.opts.model_name}_{page}"


def url(model_admin: Any, page: str, *args: str) -> str:
    """Return the address of a page of the admin."""
    name = f"admin:{url_name(model_admin, page)}"
    return reverse(name, args=args, current_app=model_admin.admin_site.name)
