"""A site of views whose pages are kept, and what they were called for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.conf import LazySettings

from perfkit.caching.responses.encodings import CODERS, GZIP
from perfkit.caching.responses.learnt import forget_learnt
from perfkit.signals import cache_read
from tests.caching.responses import urls
from tests.testapp.models import Item


@pytest.fixture(autouse=True)
def _site(settings: LazySettings) -> None:
    settings.ROOT_URLCONF = "tests.caching.responses.urls"
    settings.MIDDLEWARE = [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ]
    forget_learnt()


@pytest.fixture
def calls() -> Iterator[list[str]]:
    urls.calls.clear()
    yield urls.calls
    urls.calls.clear()


@pytest.fixture
def item(db: None) -> Item:
    return Item.plain.create(name="old")


@pytest.fixture
def told() -> Iterator[list[str]]:
    """What `cache_read` told of pages: the outcome and the reason."""
    found: list[str] = []

    def listen(sender: object, outcome: str, reason: str, **_: object) -> None:
        if type(sender).__name__ == "PageCache":
            found.append(f"{outcome} {reason}".strip())

    cache_read.connect(listen)
    yield found
    cache_read.disconnect(listen)


@pytest.fixture
def only_gzip() -> Iterator[None]:
    """As where neither brotli nor zstd is installed."""
    installed = dict(CODERS)
    CODERS.clear()
    CODERS[GZIP] = installed[GZIP]
    yield
    CODERS.clear()
    CODERS.update(installed)  # in their order
