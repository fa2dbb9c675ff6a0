"""Which page of an admin's list is asked for, as `?p=` has it. Pure.

`?p=7` is the seventh page, as Django has it, and `?p=-1` the last one, whose number nobody needs to know.
`?p=7~0~…` names a place in the list besides, from which the page is found without the rows before it.
"""

from __future__ import annotations

from typing import Final, NamedTuple, Self

from django.utils.translation import gettext

SEPARATOR: Final = "~"
MOST_NUMBER: Final = 2**40
"""Times the rows of a page, this is within what databases take for an OFFSET."""
MOST_PAGES_AWAY: Final = 3
"""As many pages on each side of the current one Django has links to."""


class Asked(NamedTuple):
    """A page of a list.

    Args:
        number: From 1 on; below 0 it is counted from the end.
        pages_away: How many pages lie between it and the place that the cursor names.
        cursor: Of a place; None where the page is found by its number.
    """

    number: int
    pages_away: int = 0
    cursor: str | None = None

    def __str__(self) -> str:
        if self.cursor is None:
            return str(self.number)
        return SEPARATOR.join((str(self.number), str(self.pages_away), self.cursor))


FIRST: Final = Asked(1)
LAST: Final = Asked(-1)


class PageLink(int):
    """The number of a page, as Django's templates print it and link to it."""

    asked: Asked

    def __new__(cls, asked: Asked) -> Self:
        """Make the number of a page that is asked for in this way."""
        link = super().__new__(cls, asked.number)
        link.asked = asked
        return link

    def __str__(self) -> str:
        if self > 0:
            return int.__repr__(self)
        last = gettext("last")
        return last if self == -1 else f"{last}\N{MINUS SIGN}{-self - 1}"


def asked_of(text: str) -> Asked:
    """Return what a value of `?p=` asks for: the first page where it makes no sense, as Django has it.

    Example:
        >>> asked_of("7~2~abc")
        Asked(number=7, pages_away=2, cursor='abc')
        >>> asked_of("x")
        Asked(number=1, pages_away=0, cursor=None)
    """
    number_text, _, rest = text.partition(SEPARATOR)
    away_text, _, cursor = rest.partition(SEPARATOR)
    try:
        number = int(number_text)
    except ValueError:
        return FIRST
    if not cursor or not away_text.isdecimal() or int(away_text) > MOST_PAGES_AWAY:
        return Asked(number)
    return Asked(number, int(away_text), cursor)
