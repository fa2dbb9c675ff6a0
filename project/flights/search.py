"""Reads what people type to find flights, into conditions that an index serves."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.db.models import Q

NEW_YORK = ZoneInfo("America/New_York")
NOTHING = Q(pk__in=[])
MOST_NUMBER = 32_767
HELP = "A flight number (UA1545 or 1545), tail number (N14228), airport (IAH), airline (UA) or date (2013-07-04)."

DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
FLIGHT = re.compile(r"([A-Z0-9]{2})(\d{1,4})", re.ASCII)


def flight_condition(word: str) -> Q:
    """Return which flights one typed word may mean: all that it may be read as.

    Example:
        >>> flight_condition("ua1545")
        <Q: (OR: ('tailnum__startswith', 'UA1545'), (AND: ('airline', 'UA'), ('number', 1545)))>
        >>> flight_condition("70000")  # no such number
        <Q: (AND: ('pk__in', []))>
    """
    word = word.upper()
    if DATE.fullmatch(word):
        return _day_condition(word)
    if word.isascii() and word.isdigit():
        digits = word.lstrip("0") or "0"
        is_number = len(digits) <= len(str(MOST_NUMBER)) and int(digits) <= MOST_NUMBER
        return Q(number=int(digits)) if is_number else NOTHING
    condition = Q(tailnum__startswith=word)
    if flight := FLIGHT.fullmatch(word):
        condition |= Q(("airline", flight[1]), ("number", int(flight[2])))
    if len(word) == 2:  # noqa: PLR2004  # an airline's code
        condition |= Q(airline=word)
    if len(word) == 3:  # noqa: PLR2004  # an airport's code
        condition |= Q(dest_code=word) | Q(origin=word)
    return condition


def _day_condition(text: str) -> Q:
    """Return the day as a range of time, which the index of the lists' order serves too."""
    try:
        first = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=NEW_YORK)
        after = first + timedelta(days=1)
    except (ValueError, OverflowError):  # no such day
        return NOTHING
    return Q(("time_hour__gte", first), ("time_hour__lt", after))
