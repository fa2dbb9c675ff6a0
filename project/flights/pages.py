"""The page on which people browse flights: filters, pages by cursor, and what its queries took."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any, Final
from urllib.parse import urlencode

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.forms.utils import flatatt
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.views.generic import TemplateView

from perfkit.api import KeysetPage, keyset
from perfkit.errors import CursorError
from perfkit.loading import eager
from project.flights.api import FlightFilters
from project.flights.models import Flight
from project.flights.query_figures import query_figures
from project.flights.statistics import flight_choices
from project.policy import StrictPageMixin

ROWS: Final = 20
RELATIONS: Final = ("airline", "origin", "destination")


@dataclass(frozen=True, slots=True)
class Line:
    """A flight as the table shows it."""

    pk: int
    day: date
    scheduled: str
    name: str
    airline: str
    origin: tuple[str, str]
    destination: tuple[str, str]
    departed: str
    delay: int | None

    @classmethod
    def of(cls, flight: Flight) -> Line:
        """Return the line of a flight whose relations are loaded."""
        destination = flight.destination
        return cls(
            flight.pk,
            date(flight.year, flight.month, flight.day),
            clock(flight.sched_dep_time),
            f"{flight.airline_id} {flight.number}",
            flight.airline.name,
            (flight.origin_id, flight.origin.name),
            (flight.dest_code, destination.name if destination else ""),
            "" if flight.dep_time is None else clock(flight.dep_time),
            flight.dep_delay,
        )


class PlainSelect(forms.Select):
    """A choice without groups: Django renders a template for each option, which took half of the page's time."""

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        """Return the element."""
        options = format_html_join(
            "",
            '<option value="{}"{}>{}</option>',
            [
                (code, mark_safe(" selected") if code == (value or "") else "", text)
                for code, text in self.choices
            ],
        )
        attributes = flatatt(self.build_attrs(self.attrs, {**(attrs or {}), "name": name}))
        return format_html("<select{}>{}</select>", attributes, options)


class FlightFilterForm(forms.Form):
    """What the page can be asked for; all that is given must hold."""

    airline = forms.ChoiceField(required=False, widget=PlainSelect)
    origin = forms.ChoiceField(required=False, label="From", widget=PlainSelect)
    destination = forms.ChoiceField(required=False, label="To", widget=PlainSelect)
    day = forms.DateField(required=False, widget=forms.DateInput({"type": "date"}, format="%Y-%m-%d"))
    min_delay = forms.IntegerField(
        required=False, min_value=-120, max_value=10_000, label="Least delay (min)"
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, choices in flight_choices().items():
            field = self.fields[name]
            assert isinstance(field, forms.ChoiceField)  # noqa: S101  # as they are declared
            field.choices = [("", "Any"), *((code, f"{code} {text}".strip()) for code, text in choices)]

    def clean_day(self) -> date | None:
        """Refuse a day far from all flights, as the API does."""
        day: date | None = self.cleaned_data["day"]
        if day is not None and not 1900 <= day.year <= 2100:  # noqa: PLR2004  # years
            raise ValidationError("Choose a day of this or the last century.")
        return day

    def asked(self) -> dict[str, str]:
        """Return what is asked for, as the API takes it."""
        given = {name: value for name, value in self.cleaned_data.items() if value not in {None, ""}}
        day = given.pop("day", None)
        if day is not None:
            given |= {"date_from": day, "date_to": day}
        return {name: str(value) for name, value in sorted(given.items())}


class FlightsView(StrictPageMixin, TemplateView):
    """Shows a page of flights, the latest first, with links to the pages beside it."""

    template_name = "flights.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add the form, the flights, and what they took to read; without flights where something is refused."""
        form = FlightFilterForm(self.request.GET)
        context = {**super().get_context_data(**kwargs), "form": form}
        if not form.is_valid():
            return context
        asked = form.asked()
        try:
            with query_figures() as figures:
                page = keyset(
                    flights(asked),
                    self.request.GET.get("cursor") or None,
                    ROWS,
                    scope=f"page:{urlencode(asked)}",
                )
        except CursorError:
            return {**context, "is_lost": True, "first_url": self._url()}
        return {
            **context,
            "page": page,
            "lines": [Line.of(flight) for flight in page.items],
            "figures": figures,
            "api_query": urlencode(asked),
            **self._links(page),
        }

    def _links(self, page: KeysetPage[Flight]) -> dict[str, str]:
        return {
            "first_url": self._url() if page.has_prev else "",
            "previous_url": self._url(page.previous) if page.previous else "",
            "next_url": self._url(page.next) if page.next else "",
        }

    def _url(self, cursor: str = "") -> str:
        """Return the address of the same list from a cursor on."""
        kept = {name: value for name, value in self.request.GET.items() if value and name != "cursor"}
        query = urlencode(kept | ({"cursor": cursor} if cursor else {}))
        return f"{self.request.path}?{query}"


def flights(asked: dict[str, str]) -> QuerySet[Flight]:
    """Return the flights that are asked for, the latest first, with what the page shows of them."""
    found = FlightFilters.model_validate(asked).filter(Flight.objects.all())
    return eager(found.order_by("-time_hour", "-pk"), *RELATIONS)


def clock(time: int) -> str:
    """Return a time of the data as people write it.

    Example:
        >>> clock(517)
        '5:17'
    """
    return f"{time // 100}:{time % 100:02}"
