from __future__ import annotations

import pytest
from django.conf import LazySettings

from perfkit.admin.monitoring.figures import decimal, duration, percent, size, whole


def test_numbers_are_rounded_and_not_cut() -> None:
    assert [percent(share) for share in (0.97561, 0.0, 1.0, None)] == ["97.6%", "0.0%", "100.0%", "-"]
    assert [decimal(number, 2) for number in (1234.567, 0.005, None)] == ["1,234.57", "0.01", "-"]
    assert [whole(number) for number in (1234567, 0.6, 999.5)] == ["1,234,567", "1", "1,000"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0.00 ms"),
        (0.00042, "0.42 ms"),
        (0.0123, "12.3 ms"),
        (0.999, "999 ms"),
        (1.0, "1.00 s"),
        (150, "150 s"),
    ],
)
def test_durations_have_the_unit_that_suits_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_they_are_written_as_the_language_has_it(settings: LazySettings) -> None:
    settings.LANGUAGE_CODE = "de"
    assert (percent(0.9756), whole(1234), duration(0.0123)) == ("97,6%", "1.234", "12,3 ms")


def test_sizes() -> None:
    assert (size(None), size(0), size(4_000_000)) == ("-", "0\xa0bytes", "3.8\xa0MB")
