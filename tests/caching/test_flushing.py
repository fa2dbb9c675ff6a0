"""What a test leaves behind where it has killed its cache server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from perfkit.models import PendingInvalidation
from tests.plugins.flushing import _called
from tests.plugins.valkey import DisposableValkey
from tests.testapp.models import Item


@pytest.mark.redis
@pytest.mark.django_db(transaction=True)
def test_the_next_one_finds_no_notice_of_the_flush(
    valkey_server: Callable[[], DisposableValkey], settings: Any
) -> None:
    server = valkey_server()
    settings.CACHES = {"default": {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": server.url}}
    server.kill()
    Item.plain.create(name="written in an outage")
    assert PendingInvalidation.objects.exists()
    _called("flush", database="default", verbosity=0, interactive=False, reset_sequences=False)
    assert not Item.plain.exists()
    assert not PendingInvalidation.objects.exists()
