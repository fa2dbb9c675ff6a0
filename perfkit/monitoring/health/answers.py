"""The answer to a probe over HTTP: its form, its status, and who is shown what has been found."""

from __future__ import annotations

import ipaddress
from typing import Final, Literal

from django.conf import settings
from django.db import Error
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.cache import add_never_cache_headers, patch_vary_headers
from django.utils.crypto import constant_time_compare

from perfkit.conf import options
from perfkit.monitoring.health.results import Report, Status
from perfkit.postgres.middleware import retry_after

Form = Literal["json", "text"]

TEXT: Final = "text/plain"
JSON: Final = "application/json"
THROUGH_PROXIES: Final = ("X-Forwarded-For", "Forwarded", "X-Real-IP")


def answer(request: HttpRequest, report: Report, *, has_details: bool) -> HttpResponse:
    """Return the report as the request wants it; a 503 where it says that something has failed."""
    status = 503 if report.status is Status.FAILED else 200
    if _form(request) == "text":
        text = report.as_text(has_details=has_details)
        response: HttpResponse = HttpResponse(text, status=status, content_type=f"{TEXT}; charset=utf-8")
    else:
        response = JsonResponse(report.as_dict(has_details=has_details), status=status)
    if status != 200:  # noqa: PLR2004
        response["Retry-After"] = retry_after()
    add_never_cache_headers(response)
    patch_vary_headers(response, ["Accept", "Authorization", "Cookie"])
    return response


def is_let_in(request: HttpRequest) -> bool:
    """Say whether a request is shown details by its token or its address; asks nobody.

    An address counts only where the request has come without a proxy: behind one, all have the proxy's.
    """
    if options.HEALTH_TOKEN:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and constant_time_compare(token.strip(), options.HEALTH_TOKEN):
            return True
    if not options.HEALTH_ADDRESSES or any(name in request.headers for name in THROUGH_PROXIES):
        return False
    addresses = _spellings(request.META.get("REMOTE_ADDR", ""))
    networks = [ipaddress.ip_network(each, strict=False) for each in options.HEALTH_ADDRESSES]
    return any(address in network for network in networks for address in addresses)


def has_session(request: HttpRequest) -> bool:
    """Say whether a request may be of somebody who is logged in."""
    return settings.SESSION_COOKIE_NAME in request.COOKIES


def may_be_staff(request: HttpRequest, report: Report) -> bool:
    """Say whether it is worth the while to look who sends a request, which may ask the database."""
    return has_session(request) and hasattr(request, "user") and report.is_well("database")


def is_staff(request: HttpRequest, report: Report) -> bool:
    """Say whether somebody of the staff sends a request; nobody does where the database cannot say so."""
    if not may_be_staff(request, report):
        return False
    try:
        return bool(request.user.is_active and request.user.is_staff)
    except Error:
        return False


async def ais_staff(request: HttpRequest, report: Report) -> bool:
    """Do the same from a coroutine."""
    if not may_be_staff(request, report):
        return False
    try:
        user = await request.auser()
    except Error:
        return False
    return bool(user.is_active and user.is_staff)


def _spellings(text: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """Return an address in each of its forms: a server on `::` has `::ffff:10.0.0.1` of who is 10.0.0.1."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return []
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return [address] if mapped is None else [address, mapped]


def _form(request: HttpRequest) -> Form:
    wanted = request.GET.get("format")
    if wanted in {"json", "text"}:
        return "text" if wanted == "text" else "json"
    return "text" if request.get_preferred_type([JSON, TEXT]) == TEXT else "json"
