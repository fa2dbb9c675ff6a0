"""What tests share that look at pages of the admin in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from django.http import HttpRequest, HttpResponseBase
from playwright.sync_api import Page

POLICY = "default-src 'self'"


def strict(
    get_response: Callable[[HttpRequest], HttpResponseBase],
) -> Callable[[HttpRequest], HttpResponseBase]:
    """Middleware that allows nothing but what the site serves itself."""

    def middleware(request: HttpRequest) -> HttpResponseBase:
        response = get_response(request)
        response.headers["Content-Security-Policy"] = POLICY
        return response

    return middleware


def fits(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))


def violations(page: Page) -> list[Any]:
    """Return what axe-core finds on the page that keeps people out, but for Django's own frame."""
    found = Axe().run(page, context="#content-main", options={"preload": False})
    return [(each["id"], [node["html"] for node in each["nodes"]]) for each in found.response["violations"]]
