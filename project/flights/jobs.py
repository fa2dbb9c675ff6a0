"""What the demo leaves to workers."""

from __future__ import annotations

from typing import Final, Protocol

from django.conf import settings
from django.core.mail import send_mail

from perfkit.errors import ModelLimitError, ModelUnavailableError
from perfkit.jobs import job
from project.flights import activity
from project.flights.descriptions import ASKED, Description, description_of, figures_of, messages_for
from project.flights.models import Airport
from project.model_server import model_name, models

STEPS: Final = 2


class Progress(Protocol):
    """Tells how far a job is."""

    def __call__(self, current: int, total: int, message: str = "") -> None: ...  # noqa: D102


# Not in a transaction, which would be open for as long as the model thinks.
@job(
    queue="ai",
    key="airport-delays:{code}:{digest}",
    ttl=3600,
    retries=5,
    retry_on=[ModelUnavailableError, ModelLimitError],
    backoff=10,
    progress=True,
    atomic=False,
    shown=["code", "digest"],
)
def describe_delays(code: str, digest: str, progress: Progress) -> Description:
    """Have a model describe an airport's delays.

    Args:
        code: The airport's.
        digest: Of what it was asked for: of other figures, or by another model, it is another job.
            What is described are those of when it runs.
        progress: Tells how far it is.
    """
    progress(0, STEPS, "counting flights")
    figures = figures_of(Airport.objects.get(pk=code))
    progress(1, STEPS, "asking the model")
    answer = models().complete(messages_for(figures), model=model_name(), **ASKED)
    progress(STEPS, STEPS, "described")
    return description_of(figures, answer)


@job(key="activity", reuse=False)
def roll_up_activity() -> int:
    """Count what was done since it was counted last, today and yesterday at least, and keep that."""
    return activity.roll_up_activity()


@job
def mail_activity() -> int:
    """Mail what was done in the last week, if anything was; the mail is a job of its own."""
    text = activity.activity_text()
    return send_mail("The week on the site", text, None, [settings.REPORT_MAIL_TO]) if text else 0
