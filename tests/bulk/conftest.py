"""What the tests of room `bulk` share."""

from __future__ import annotations

import pytest

from tests.testapp.bulk import Country


@pytest.fixture
def countries():
    Country.objects.bulk_create([Country(code="PE"), Country(code="CL")])
