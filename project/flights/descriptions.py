"""What a model is told of an airport's delays, and what is made of its answer."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final, TypedDict

from django.conf import settings

from perfkit.inference import ModelAnswer
from project.flights.models import Airport
from project.flights.statistics import LATE_MINUTES, Traffic, airport_statistics
from project.model_server import has_model, model_name

MOST_TOKENS: Final = 300

SYSTEM: Final = (
    "You describe how punctual an airport was, to travellers, in at most three plain sentences. "
    "Use the given figures and nothing else, and change none of them."
)

ASKED: Final[dict[str, Any]] = {"temperature": 0, "max_tokens": MOST_TOKENS}
"""The same figures have one answer, so it is kept."""


class Figures(TypedDict):
    """What is known of an airport's delays."""

    airport: str
    name: str
    departures: Traffic
    arrivals: Traffic


class Description(TypedDict):
    """A text about an airport's delays, and the figures that it was made from.

    `is_from_model` says whether a model has written it, now or when it was first asked for, or a stand-in;
    `is_complete` whether it came to its end.
    """

    airport: str
    text: str
    is_from_model: bool
    is_complete: bool
    model: str
    figures: Figures


def figures_of(airport: Airport) -> Figures:
    """Return what is known of an airport's delays.

    Queries: none where it is cached, else two.
    """
    statistics = airport_statistics(airport.pk)
    return {"airport": airport.pk, "name": airport.name, **statistics}


def has_flights(figures: Figures) -> bool:
    """Say whether there is anything to describe."""
    return bool(figures["departures"]["flights"] or figures["arrivals"]["flights"])


def messages_for(figures: Figures) -> list[dict[str, str]]:
    """Return what the model is told: the same for the same figures, so that it is asked once for them."""
    lines = [
        f"Airport: {figures['airport']}, {figures['name']}.",
        f"Flights of 2013 that left it: {_line(figures['departures'])}",
        f"Flights of 2013 that came to it out of New York: {_line(figures['arrivals'])}",
    ]
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "\n".join(lines)}]


def digest_of(figures: Figures) -> str:
    """Return what tells this description from others: of other figures, or by another model."""
    asked = [settings.MODEL_SERVER_URL, model_name(), messages_for(figures)]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]


def description_of(figures: Figures, answer: ModelAnswer) -> Description:
    """Return what a model, or the stand-in, has made of figures."""
    return {
        "airport": figures["airport"],
        "text": answer.text,
        "is_from_model": has_model(),
        "is_complete": answer.is_complete,
        "model": answer.model,
        "figures": figures,
    }


def _line(traffic: Traffic) -> str:
    if not traffic["flights"]:
        return "none."
    mean = traffic["mean_delay_minutes"]
    told = "no delays are known" if mean is None else f"the mean delay was {mean} minutes"
    return (
        f"{traffic['flights']}, of which {traffic['cancelled']} were cancelled and {traffic['late']} more than "
        f"{LATE_MINUTES} minutes late; {told}."
    )
