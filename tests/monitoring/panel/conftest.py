"""The real toolbar around a site, on one of its stores."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from perfkit.caching.store import Store, current_store
from perfkit.caching.store.redis import RedisStore
from tests.caching.conftest import forget_everything
from tests.flights.factories import make_flights
from tests.testapp.models import Item

COMPRESSION = "perfkit.caching.responses.compression.CompressionMiddleware"
PANEL = "perfkit.monitoring.panel.PerfkitPanel"
STORES = {
    "memory": "debug_toolbar.store.MemoryStore",
    "database": "debug_toolbar.store.DatabaseStore",
    "cache": "debug_toolbar.store.CacheStore",
}


def get_store() -> Any:
    """Return the toolbar's store; its module has a model, which an app that is not installed may not have."""
    from debug_toolbar import store

    return store.get_store()


@pytest.fixture(autouse=True)
def _fresh_cache(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Begin with an empty store; a busy machine must not look like an outage, and each fill is waited for.

    Nothing is counted, for the store would be told of it at any time, and that is a round trip.
    """
    settings.PERFKIT = {**settings.PERFKIT, "CACHE_TIMEOUT": 5.0, "CACHE_STATISTICS": False}
    monkeypatch.setattr(RedisStore, "offer", Store.offer)
    forget_everything()
    store = current_store()
    assert store is not None
    store.clear()
    yield
    forget_everything()


@dataclass
class Toolbar:
    """What people see of the panel, for the newest request.

    Attributes:
        client: Asks the site.
    """

    client: Client

    @property
    def request_id(self) -> str:
        """Of the newest request."""
        ids = list(get_store().request_ids())
        return str(ids[0] if get_store().__name__ == "DatabaseStore" else ids[-1])

    def stats(self, request_id: str | None = None) -> dict[str, Any]:
        """What the panel has recorded, as the store gives it back."""
        found: dict[str, Any] = get_store().panel(request_id or self.request_id, "PerfkitPanel")
        return found

    def content(self, request_id: str | None = None) -> str:
        """The panel's page, as the browser fetches it."""
        response = self.client.get(
            "/__debug__/render_panel/",
            {"request_id": request_id or self.request_id, "panel_id": "PerfkitPanel"},
        )
        assert response.status_code == 200
        content: str = response.json()["content"]
        return content

    def subtitle(self) -> str:
        """What stands below the panel's name, as the panel of the history fetches it."""
        response = self.client.get(
            "/__debug__/history_sidebar/", {"request_id": self.request_id}, headers={"accept": "text/html"}
        )
        assert response.status_code == 200
        found = re.search(r"<small>(.*?)</small>", response.json()["PerfkitPanel"]["button"], re.DOTALL)
        return "" if found is None else found[1].strip()


@pytest.fixture
def put_on(settings: Any, transactional_db: None) -> Iterator[Callable[..., Toolbar]]:
    """Put the toolbar around the site, with the store of a name."""
    tables: list[Any] = []

    def on(store: str, *middleware: str) -> Toolbar:
        settings.DEBUG = True
        settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "debug_toolbar"]
        from debug_toolbar.models import HistoryEntry
        from debug_toolbar.settings import PANELS_DEFAULTS

        settings.ROOT_URLCONF = "tests.monitoring.panel.urls"
        settings.DEBUG_TOOLBAR_PANELS = [*PANELS_DEFAULTS, PANEL]
        settings.DEBUG_TOOLBAR_CONFIG = {"TOOLBAR_STORE_CLASS": STORES[store], "RESULTS_CACHE_SIZE": 100}
        chain = list(middleware or settings.MIDDLEWARE)
        place = 0 if middleware else chain.index(COMPRESSION) + 1
        chain.insert(place, "debug_toolbar.middleware.DebugToolbarMiddleware")
        settings.MIDDLEWARE = chain
        settings.PERFKIT = {**settings.PERFKIT, "N_PLUS_ONE_MODE": "off"}
        if store == "database":
            with connection.schema_editor() as editor:
                editor.create_model(HistoryEntry)
            tables.append(HistoryEntry)
        from perfkit.monitoring.panel import PerfkitPanel

        PerfkitPanel.ready()  # as Django does when it starts; here the app was there before its panels
        get_store().clear()
        return Toolbar(Client())

    yield on
    get_store().clear()
    for model in tables:
        with connection.schema_editor() as editor:
            editor.delete_model(model)


@pytest.fixture
def rows(transactional_db: None) -> None:
    make_flights(4)
    Item.objects.bulk_create(Item(name=f"item {number}") for number in range(3))


@pytest.fixture
def toolbar(put_on: Callable[..., Toolbar], rows: None) -> Toolbar:
    return put_on("memory")


@pytest.fixture(params=STORES)
def on_any_store(put_on: Callable[..., Toolbar], rows: None, request: pytest.FixtureRequest) -> Toolbar:
    return put_on(request.param)
