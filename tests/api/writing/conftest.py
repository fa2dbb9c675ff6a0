from __future__ import annotations

import pytest

from tests.api.writing import views
from tests.testapp.bulk import Country


@pytest.fixture(autouse=True)
def _nothing_was_run() -> None:
    views.calls.clear()
    views.done.clear()


@pytest.fixture
def peru(db: None) -> Country:
    return Country.objects.create(code="PE")
