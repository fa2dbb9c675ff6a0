"""A walk over few rows; `make walks` does so over all."""

from __future__ import annotations

from typing import Any

import pytest

from tests.flights.factories import make_flights
from tests.load.walks import ORDERS, walk

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.postgres]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("is_written", [False, True])
def test_each_row_comes_once_and_in_its_place(order: str, is_written: bool, settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.load.walk_urls"
    make_flights(400, dep_delay=None)
    make_flights(400, number=401)
    assert walk(order, until=0, is_written=is_written)
