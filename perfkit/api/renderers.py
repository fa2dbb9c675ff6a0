"""A renderer for django-ninja that is several times as fast as its own."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from django.http import HttpRequest
from ninja.renderers import BaseRenderer
from ninja.responses import NinjaJSONEncoder

_default: Final = NinjaJSONEncoder().default
_encoder: Final = msgspec.json.Encoder(enc_hook=_default)


class FastJSONRenderer(BaseRenderer):
    """Writes compact JSON in UTF-8, by msgspec.

    The same values as ninja's own renderer writes, in less space. Moments keep their microseconds, which Django
    cuts to milliseconds; spans of time are written shorter, and a float that is no number is null.

    Example:
        api = NinjaAPI(renderer=FastJSONRenderer())
    """

    media_type = "application/json"

    def render(self, request: HttpRequest, data: Any, *, response_status: int) -> bytes:
        """Return the JSON of `data`."""
        return _encoder.encode(data)
