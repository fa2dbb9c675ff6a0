"""Mails by jobs: what arrives is what Django would have sent, and no failure of a mail server loses one."""

from __future__ import annotations

import asyncio
import email
import email.policy
import smtplib
from collections.abc import Iterator
from email.message import EmailMessage as Parsed
from email.mime.image import MIMEImage
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from django.core import mail
from django.core.mail import EmailMessage, EmailMultiAlternatives, get_connection
from django.db import transaction
from django.test import override_settings
from django.utils.translation import gettext_lazy
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from perfkit.errors import MailArgumentError, MailRefusedError, SettingsError
from perfkit.jobs import job_status, run_job, send_due
from perfkit.jobs.mail import MOST_BYTES, mail_of, mail_values, send_mail
from perfkit.models import Job, JobState
from project.services.processes import free_port
from project.services.state import LOOPBACK
from tests.jobs.conftest import use

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("sent")]

PIXEL = bytes.fromhex(
    "47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b"
)
ONE = "someone@example.org"


class Letterbox:
    """A mail server: keeps what it takes, and answers what it is told to."""

    def __init__(self) -> None:
        self.mails: list[Parsed] = []
        self.recipients: list[list[str]] = []
        self.answers: dict[str, list[str]] = {"RCPT": [], "DATA": []}
        self.is_silent = False

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802  # its name
        if self.answers["RCPT"]:
            return self.answers["RCPT"].pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802  # its name
        if self.is_silent:
            await asyncio.sleep(2)
        if self.answers["DATA"]:
            return self.answers["DATA"].pop(0)
        self.recipients.append(list(envelope.rcpt_tos))
        self.mails.append(email.message_from_bytes(envelope.content, policy=email.policy.default))  # type: ignore[arg-type]
        return "250 OK"


@pytest.fixture
def letterbox(settings: Any) -> Iterator[Letterbox]:
    box = Letterbox()
    server = Controller(box, hostname=LOOPBACK, port=free_port())
    server.start()
    settings.EMAIL_BACKEND = "perfkit.jobs.mail.JobEmailBackend"
    settings.PERFKIT = {
        **settings.PERFKIT,
        "MAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend",
    }
    settings.EMAIL_HOST, settings.EMAIL_PORT = LOOPBACK, server.port
    yield box
    server.stop()


def run_all() -> list[str | None]:
    return [run_job(pk) for pk in Job.objects.order_by("enqueued_at").values_list("pk", flat=True)]


def is_due() -> None:
    """As if the wait before the next try had gone by."""
    Job.objects.filter(state=JobState.QUEUED).update(not_before=None, due_at="2000-01-01T00:00:00Z")


def test_it_arrives_and_nothing_of_it_is_kept(letterbox: Letterbox) -> None:
    assert (
        mail.send_mail("Late", "By an hour", "us@example.org", [ONE], html_message="<b>By an hour</b>") == 1
    )
    assert letterbox.mails == []
    assert run_all() == ["done"]
    [arrived] = letterbox.mails
    assert (arrived["Subject"], arrived["To"]) == ("Late", ONE)
    body = arrived.get_body(("html",))
    assert body is not None
    assert body.get_content().strip() == "<b>By an hour</b>"
    assert Job.objects.get().arguments == [[], {}]


def test_where_the_transaction_rolls_back_there_is_no_mail(letterbox: Letterbox) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        mail.send_mail("Late", "", None, [ONE])
        raise ZeroDivisionError
    assert not Job.objects.exists()


def test_copies_arrive_at_all(letterbox: Letterbox) -> None:
    EmailMessage("Late", "", None, ["a@example.org"], bcc=["b@example.org"], cc=["c@example.org"]).send()
    run_all()
    assert letterbox.recipients == [["a@example.org", "c@example.org", "b@example.org"]]
    assert letterbox.mails[0]["Bcc"] is None


def test_one_to_nobody_is_no_mail(letterbox: Letterbox) -> None:
    assert EmailMessage("Late", "").send() == 0
    assert not Job.objects.exists()


@pytest.mark.parametrize("answer", ["451 later", "421 too many"])
def test_what_the_server_takes_later_is_tried_again(letterbox: Letterbox, answer: str) -> None:
    letterbox.answers["DATA"] = [answer]
    mail.send_mail("Late", "", None, [ONE])
    assert run_all() == ["retried"]
    is_due()
    assert run_all() == ["done"]
    assert len(letterbox.mails) == 1


@pytest.mark.parametrize("verb", ["RCPT", "DATA"])
def test_what_the_server_refuses_is_a_dead_letter_without_addresses(letterbox: Letterbox, verb: str) -> None:
    letterbox.answers[verb] = ["550 no such user"]
    mail.send_mail("Late", "", None, [ONE])
    with pytest.raises(MailRefusedError, match="550"):
        run_all()
    status = job_status(Job.objects.get().pk)
    assert status.state == JobState.DEAD
    assert ONE not in status.error
    assert Job.objects.get().arguments != [[], {}], "it can be replayed"


def test_a_server_that_is_away_or_silent_loses_no_mail(letterbox: Letterbox, settings: Any) -> None:
    port, settings.EMAIL_PORT = settings.EMAIL_PORT, free_port()
    mail.send_mail("Late", "", None, [ONE])
    assert run_all() == ["retried"]
    settings.EMAIL_PORT, settings.EMAIL_TIMEOUT, letterbox.is_silent = port, 0.2, True
    is_due()
    assert run_all() == ["retried"]
    letterbox.is_silent, settings.EMAIL_TIMEOUT = False, 5
    letterbox.mails.clear()
    is_due()
    assert run_all() == ["done"]


def test_sent_twice_it_is_the_same_mail(letterbox: Letterbox) -> None:
    """As after a worker that died before it could say that it was sent."""
    mail.send_mail("Late", "", None, [ONE])
    pk = Job.objects.get().pk
    arguments = Job.objects.get().arguments
    run_job(pk)
    Job.objects.update(state=JobState.QUEUED, arguments=arguments)
    run_job(pk)
    assert len({arrived["Message-ID"] for arrived in letterbox.mails}) == 1
    assert len({arrived["Date"] for arrived in letterbox.mails}) == 1
    assert len(letterbox.mails) == 2


def test_pictures_within_the_text_keep_their_names(letterbox: Letterbox) -> None:
    message = EmailMultiAlternatives("Late", "text", None, [ONE])
    message.attach_alternative('<img src="cid:logo">', "text/html")
    picture = MIMEImage(PIXEL, "gif")
    picture.add_header("Content-ID", "<logo>")
    message.attach(picture)
    message.attach("a.csv", "a,b\n", "text/csv")
    message.attach("b.bin", b"\0\xff", "application/octet-stream")
    message.attach("inner.eml", EmailMessage("Inner", "deep", None, [ONE]), "message/rfc822")
    message.send()
    run_all()
    [arrived] = letterbox.mails
    parts = {part.get_content_type(): part for part in arrived.walk()}
    assert parts["image/gif"]["Content-ID"] == "<logo>"
    assert parts["image/gif"].get_payload(decode=True) == PIXEL
    assert parts["application/octet-stream"].get_payload(decode=True) == b"\0\xff"
    assert parts["text/csv"].get_filename() == "a.csv"
    assert parts["message/rfc822"].get_payload(0)["Subject"] == "Inner"  # type: ignore[union-attr, index]


words = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=20)
addresses = st.lists(
    st.sampled_from(["a@example.org", "B <b@example.org>", "Ünï <c@example.org>"]), max_size=3
)


@examples(max_examples=60, deadline=None)
@given(
    subject=words,
    body=st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=50),
    to=addresses,
    cc=addresses,
    reply_to=addresses,
    headers=st.dictionaries(st.sampled_from(["X-One", "X-Two", "Message-ID"]), st.just("<1@example.org>")),
    attachments=st.lists(
        st.one_of(
            st.tuples(
                st.just("a.txt"),
                st.text(st.characters(codec="utf-8", exclude_characters="\0")),
                st.just("text/plain"),
            ),
            st.tuples(st.just("a.bin"), st.binary(max_size=30), st.just("application/x-own")),
        ),
        max_size=2,
    ),
    html=st.none() | words,
    subtype=st.sampled_from(["plain", "html"]),
    encoding=st.sampled_from([None, "utf-8", "iso-8859-1"]),
)
def test_it_is_the_mail_that_django_would_send(
    subject: str, body: str, to: list[str], cc: list[str], reply_to: list[str], headers: dict[str, str],
    attachments: list[Any], html: str | None, subtype: str, encoding: str | None,
) -> None:  # fmt: skip
    message: Any = EmailMultiAlternatives(
        subject,
        body,
        "us@example.org",
        to,
        cc=cc,
        reply_to=reply_to,
        headers=headers,
        attachments=attachments,
    )
    message.content_subtype = subtype
    message.encoding = encoding
    if html is not None:
        message.attach_alternative(html, "text/html")
    try:
        message.message()
    except UnicodeEncodeError:
        return  # Django could not send it either
    values = mail_values(message)
    message.extra_headers = values["headers"]  # with the id and the date, which Django makes when it sends
    assert _lines(mail_of(values)) == _lines(message)
    assert mail_of(values).recipients() == message.recipients()


def _lines(message: Any) -> list[bytes]:
    """The lines of a mail, without the boundaries that are made at random."""
    content: bytes = message.message().as_bytes()
    for number, boundary in enumerate(
        dict.fromkeys(
            line[2:].removesuffix(b"--") for line in content.splitlines() if line.startswith(b"--===")
        )
    ):
        content = content.replace(boundary, b"boundary %d" % number)
    return content.splitlines()


def test_lazy_texts_are_taken_as_they_are_now(letterbox: Letterbox) -> None:
    EmailMessage(
        gettext_lazy("Yes"), gettext_lazy("No"), None, [ONE], headers={"X-A": gettext_lazy("No")}
    ).send()
    run_all()
    assert (letterbox.mails[0]["Subject"], letterbox.mails[0]["X-A"]) == ("Yes", "No")


class Own(EmailMessage):
    def message(self, *args: Any, **kwargs: Any) -> Any:
        return super().message(*args, **kwargs)


def test_what_a_worker_could_not_send_is_refused_where_it_is_sent(letterbox: Letterbox) -> None:
    with pytest.raises(MailArgumentError, match="Own makes its message itself"):
        Own("Late", "", None, [ONE]).send()
    with pytest.raises(MailArgumentError, match="10,485,760"):
        EmailMessage("Late", "a" * MOST_BYTES, None, [ONE]).send()
    with pytest.raises(MailArgumentError, match="password would be kept"):
        mail.send_mail("Late", "", None, [ONE], auth_user="us", auth_password="secret")
    good, wrong = EmailMessage("Late", "", None, [ONE]), Own("Late", "", None, [ONE])
    with pytest.raises(MailArgumentError):
        get_connection().send_messages([good, wrong])
    assert not Job.objects.exists()


@pytest.mark.parametrize("name", ["perfkit.jobs.mail.JobEmailBackend", "no.such.Backend", "os.path"])
def test_a_back_end_that_sends_nothing_is_refused(letterbox: Letterbox, settings: Any, name: str) -> None:
    settings.PERFKIT = {**settings.PERFKIT, "MAIL_BACKEND": name}
    mail.send_mail("Late", "", None, [ONE])
    with pytest.raises(SettingsError, match="MAIL_BACKEND"):
        run_all()
    assert Job.objects.get().state == JobState.DEAD


def test_many_are_left_by_one_statement(letterbox: Letterbox, django_assert_num_queries: Any) -> None:
    messages = [EmailMessage("Late", str(number), None, [ONE]) for number in range(20)]
    with transaction.atomic(), django_assert_num_queries(1):
        assert get_connection().send_messages(messages) == 20


def test_a_broker_that_is_away_keeps_no_mail_back(letterbox: Letterbox, settings: Any) -> None:
    use(settings, "NoQueue")
    assert mail.send_mail("Late", "", None, [ONE]) == 1
    use(settings, "NoJobs")
    is_due()
    assert send_due() == 1
    assert run_all() == ["done"]
    assert len(letterbox.mails) == 1


@override_settings(EMAIL_TIMEOUT=None)
def test_it_never_waits_for_a_server_for_ever(letterbox: Letterbox, monkeypatch: pytest.MonkeyPatch) -> None:
    timeouts = []
    plain = smtplib.SMTP.__init__

    def begin(self: Any, *args: Any, **kwargs: Any) -> None:
        timeouts.append(kwargs.get("timeout"))
        plain(self, *args, **kwargs)

    monkeypatch.setattr(smtplib.SMTP, "__init__", begin)
    mail.send_mail("Late", "", None, [ONE])
    run_all()
    assert timeouts == [20.0]
    assert send_mail.name == "perfkit.send_mail"
