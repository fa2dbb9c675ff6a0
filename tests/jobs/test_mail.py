"""Mails by jobs: what arrives is what Django would have sent, and no failure of a mail server loses one."""

from __future__ import annotations

import asyncio
import email
import email.policy
import smtplib
import socket
import socketserver
import threading
from collections.abc import Iterator
from email.message import EmailMessage as Parsed
from email.message import MIMEPart
from email.mime.image import MIMEImage
from typing import Any

import django
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from django.core import mail
from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.db import connection, transaction
from django.utils.translation import gettext_lazy
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from perfkit.checks import JOB_EMAIL_BACKEND
from perfkit.errors import MailArgumentError, MailRefusedError, MailUnansweredError, SettingsError
from perfkit.jobs import job_status, replay_job, run_job, send_due
from perfkit.jobs.mail import (
    ADDRESS_SECONDS,
    MOST_BYTES,
    SMTP,
    TRY_SECONDS,
    JobEmailBackend,
    mail_of,
    mail_values,
    send_mail,
)
from perfkit.models import Job, JobState
from perfkit.tasks.queues import QUEUES, ROUTES
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
        self.settings: Any = None
        self.options: dict[str, Any] = {}
        self.mails: list[Parsed] = []
        self.recipients: list[list[str]] = []
        self.answers: dict[str, list[str]] = {"MAIL": [], "RCPT": [], "DATA": []}
        self.refused: dict[str, list[str]] = {}
        self.waits: dict[str, float] = {}
        self.is_open = True

    async def handle_MAIL(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802  # its name
        envelope.mail_from = address
        return await self.answer("MAIL")

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802  # its name
        if self.refused.get(address):
            return self.refused[address].pop(0)
        answer = await self.answer("RCPT")
        if answer.startswith("2"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802  # its name
        if not self.answers["DATA"]:
            self.recipients.append(list(envelope.rcpt_tos))
            self.mails.append(email.message_from_bytes(envelope.content, policy=email.policy.default))  # type: ignore[arg-type]
        return await self.answer("DATA")

    async def answer(self, verb: str) -> str:
        if verb in self.waits:
            await asyncio.sleep(self.waits[verb])
        return self.answers[verb].pop(0) if self.answers[verb] else "250 OK"

    def login(self, *_: Any) -> AuthResult:
        return AuthResult(success=self.is_open, handled=False)

    def serve(self, **values: Any) -> None:
        """Have workers send by a server, in the way of this Django."""
        self.options |= values
        if django.VERSION >= (6, 1):
            sender = {"BACKEND": SMTP, "OPTIONS": self.options}
            self.settings.MAILERS = {"default": {"BACKEND": JOB_EMAIL_BACKEND}, "workers": sender}
            self.send_by("workers")
            return
        names = {"username": "HOST_USER", "password": "HOST_PASSWORD"}
        self.settings.EMAIL_BACKEND = JOB_EMAIL_BACKEND
        for name, value in self.options.items():
            setattr(self.settings, f"EMAIL_{names.get(name, name.upper())}", value)
        self.send_by(SMTP)

    def send_by(self, name: str) -> None:
        self.settings.PERFKIT = {**self.settings.PERFKIT, "MAIL_BACKEND": name}

    def send_by_class(self, path: str) -> None:
        if django.VERSION >= (6, 1):
            self.settings.MAILERS = {"default": {"BACKEND": JOB_EMAIL_BACKEND}, "other": {"BACKEND": path}}
            self.send_by("other")
        else:
            self.send_by(path)


@pytest.fixture
def letterbox(settings: Any) -> Iterator[Letterbox]:
    box = Letterbox()
    server = Controller(
        box, hostname=LOOPBACK, port=free_port(), authenticator=box.login, auth_require_tls=False
    )
    server.start()
    box.settings = settings
    box.serve(host=LOOPBACK, port=server.port)
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


def test_a_server_that_is_away_or_silent_loses_no_mail(letterbox: Letterbox) -> None:
    port = letterbox.options["port"]
    letterbox.serve(port=free_port())
    mail.send_mail("Late", "", None, [ONE])
    assert run_all() == ["retried"]
    letterbox.serve(port=port, timeout=0.2)
    letterbox.waits = {"RCPT": 60}
    is_due()
    assert run_all() == ["retried"]
    letterbox.waits = {}
    letterbox.serve(timeout=20)
    assert letterbox.mails == []
    is_due()
    assert run_all() == ["done"]
    assert len(letterbox.mails) == 1
    assert run_all() == [None]


def run_until(state: JobState) -> Job:
    """Run what there is until a job has come so far."""
    for _ in range(100):
        try:
            run_all()
        except (MailRefusedError, MailUnansweredError):
            assert state == JobState.DEAD
        if found := Job.objects.filter(state=state).first():
            return found
        is_due()
    raise AssertionError(list(Job.objects.values_list("state", "error")))


def test_a_server_that_thinks_long_about_a_mail_gets_it_once(letterbox: Letterbox) -> None:
    letterbox.serve(timeout=1)
    letterbox.waits = {"DATA": 2.5}
    mail.send_mail("Late", "", None, [ONE])
    run_until(JobState.DONE)
    assert len(letterbox.mails) == 1


def test_what_it_never_answers_is_sent_three_times_at_most(
    letterbox: Letterbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perfkit.jobs.mail.TRY_SECONDS", 3.0)
    letterbox.waits = {"DATA": 60}
    mail.send_mail("Late", "", None, [ONE])
    dead = run_until(JobState.DEAD)
    assert "it may have" in dead.error
    assert ONE not in dead.error
    assert len(letterbox.mails) == 3
    assert len({arrived["Message-ID"] for arrived in letterbox.mails}) == 1
    letterbox.waits = {}
    monkeypatch.undo()
    replay_job(dead.pk)
    assert "done" in run_all(), "by somebody who has looked there"


def test_a_try_ends_in_time_however_many_answers_it_waits_for(
    letterbox: Letterbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perfkit.jobs.mail.TRY_SECONDS", 1.0)
    letterbox.waits = {"RCPT": 0.4}
    mail.send_mail("Late", "", None, [f"{number}@example.org" for number in range(20)])
    assert run_all() == ["retried"]
    assert letterbox.mails == []


def test_it_has_limits_above_the_time_of_a_try_and_days_to_arrive() -> None:
    assert send_mail.soft_limit is not None
    assert send_mail.hard_limit is not None
    assert TRY_SECONDS + ADDRESS_SECONDS < send_mail.soft_limit < send_mail.hard_limit
    queue = next(each for each in QUEUES if each.name == dict(ROUTES)[send_mail.name])
    assert send_mail.hard_limit <= queue.hard_seconds
    waits = [send_mail.retries.delay_seconds(number, chance=0.5) for number in range(send_mail.retries.most)]
    assert 1.8 < sum(waits) / 86_400 < 2.2


TWO = ["a@example.org", "Bö <b@example.org>"]


def test_one_that_is_refused_for_now_is_tried_again_alone(letterbox: Letterbox) -> None:
    letterbox.refused["b@example.org"] = ["450 greylisted", "450 greylisted"]
    EmailMessage("Late", "", None, ["a@example.org"], cc=TWO[1:]).send()
    assert run_all() == ["done"]
    assert letterbox.recipients == [["a@example.org"]]
    is_due()
    assert "retried" in run_all()
    assert "example.org" not in "".join(Job.objects.values_list("error", flat=True))
    is_due()
    assert "done" in run_all()
    assert letterbox.recipients == [["a@example.org"], ["b@example.org"]]
    first, second = letterbox.mails
    for header in ("To", "Cc", "Message-ID", "Date"):
        assert first[header] == second[header]
    assert second["Bcc"] is None


def test_one_that_is_refused_for_good_is_a_dead_letter_alone(letterbox: Letterbox) -> None:
    letterbox.refused["b@example.org"] = ["550 no such user b@example.org"] * 2
    EmailMessage("Late", "", None, TWO).send()
    assert run_all() == ["done"]
    with pytest.raises(MailRefusedError, match="to 1 recipient, with the code 550"):
        run_all()
    dead = Job.objects.get(state=JobState.DEAD)
    assert "example.org" not in dead.error
    assert "to 1 recipient, with the code 550" in dead.error
    replay_job(dead.pk)
    assert "done" in run_all()
    assert letterbox.recipients == [["a@example.org"], ["b@example.org"]]


def test_where_all_are_refused_each_has_its_own_end(letterbox: Letterbox) -> None:
    letterbox.refused = {"a@example.org": ["450 later"], "b@example.org": ["550 never"] * 2}
    EmailMessage("Late", "", None, TWO).send()
    assert run_all() == ["done"]
    assert run_until(JobState.DEAD).arguments[0][0]["bcc"] != TWO
    is_due()
    run_all()
    assert letterbox.recipients == [["a@example.org"]]
    assert sorted(Job.objects.values_list("state", flat=True)) == ["dead", "done", "done"]


def test_a_server_that_closes_has_refused_nobody(letterbox: Letterbox) -> None:
    letterbox.refused["b@example.org"] = ["421 closing"]
    EmailMessage("Late", "", None, TWO).send()
    assert run_all() == ["retried"]
    is_due()
    assert run_all() == ["done"]
    assert letterbox.recipients == [["a@example.org", "b@example.org"]]


def test_other_back_ends_are_given_the_mail_as_it_is(letterbox: Letterbox) -> None:
    letterbox.send_by_class("django.core.mail.backends.locmem.EmailBackend")
    EmailMessage("Late", "", None, TWO).send()
    assert run_all() == ["done"]
    [sent] = mail.outbox
    assert sent.to == TWO


def test_a_login_that_is_refused_is_mended_by_somebody(letterbox: Letterbox) -> None:
    letterbox.serve(username="us", password="old")  # not in earnest
    letterbox.is_open = False
    mail.send_mail("Late", "", None, [ONE])
    assert run_all() == ["retried"]
    assert "535" in Job.objects.get().error
    letterbox.is_open = True
    is_due()
    assert run_all() == ["done"]


@pytest.mark.parametrize("verb", ["MAIL", "RCPT"])
@pytest.mark.parametrize("answer", ["530 authenticate first", "421 closing"])
def test_answers_that_are_not_of_the_mail_are_no_refusals(
    letterbox: Letterbox, verb: str, answer: str
) -> None:
    letterbox.answers[verb] = [answer]
    mail.send_mail("Late", "", None, [ONE])
    assert run_all() == ["retried"]
    is_due()
    assert run_all() == ["done"]


@pytest.mark.parametrize("greeting", ["554 not you", "421 too many"])
def test_a_server_that_greets_nobody_is_tried_again(
    letterbox: Letterbox, settings: Any, greeting: str
) -> None:
    class Greeting(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(f"{greeting}\r\n".encode())
            self.rfile.read()

    with socketserver.TCPServer((LOOPBACK, 0), Greeting) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        port = letterbox.options["port"]
        letterbox.serve(port=server.server_address[1])
        mail.send_mail("Late", "", None, [ONE])
        outcomes = run_all()
        server.shutdown()
        thread.join()
    assert outcomes == ["retried"]
    letterbox.serve(port=port)
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
    picture: Any = MIMEImage(PIXEL, "gif")
    picture.add_header("Content-ID", "<logo>")
    if django.VERSION >= (6, 0):
        picture = MIMEPart()
        picture.set_content(PIXEL, "image", "gif", cid="<logo>")
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
    alternatives=st.lists(
        st.one_of(
            st.tuples(words, st.sampled_from(["text/html", "text/calendar"])),
            st.tuples(st.binary(max_size=30), st.just("application/ics")),
        ),
        max_size=2,
    ),
    mixed=st.sampled_from(["mixed", "related"]),
    alternative=st.sampled_from(["alternative", "related"]),
    subtype=st.sampled_from(["plain", "html"]),
    encoding=st.sampled_from([None, "utf-8", "iso-8859-1"]),
)
def test_it_is_the_mail_that_django_would_send(
    subject: str, body: str, to: list[str], cc: list[str], reply_to: list[str], headers: dict[str, str],
    attachments: list[Any], alternatives: list[Any], mixed: str, alternative: str, subtype: str,
    encoding: str | None,
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
    for content, mimetype in alternatives:
        message.attach_alternative(content, mimetype)
    if hasattr(message, "mixed_subtype"):  # Django 6.0 has neither
        message.mixed_subtype, message.alternative_subtype = mixed, alternative
    try:
        message.message()
    except ValueError:
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
    with pytest.raises(MailArgumentError, match=r"Own\.message"):
        Own("Late", "", None, [ONE]).send()
    with pytest.raises(MailArgumentError, match="10,485,760"):
        EmailMessage("Late", "a" * MOST_BYTES, None, [ONE]).send()
    with pytest.raises(MailArgumentError, match="password would be kept"):
        JobEmailBackend(username="", password="secret")  # not in earnest
    good, wrong = EmailMessage("Late", "", None, [ONE]), Own("Late", "", None, [ONE])
    with pytest.raises(MailArgumentError):
        JobEmailBackend().send_messages([good, wrong])
    assert not Job.objects.exists()


class Templated(EmailMessage):
    template_id = "welcome"


class Attached(EmailMultiAlternatives):
    def _create_alternatives(self, message: Any) -> Any:
        return message

    def _add_bodies(self, message: Any) -> Any:
        return message


class Welcome(EmailMultiAlternatives):
    content_subtype = "html"

    def __init__(self, name: str) -> None:
        super().__init__(self.subject_for(name), "<b>Hello</b>", None, [ONE])

    def subject_for(self, name: str) -> str:
        return f"Welcome, {name}"


@pytest.mark.parametrize("name", ["template_id", "metadata", "merge_data", "tags", "message"])
def test_what_others_put_on_a_mail_is_not_lost_in_silence(letterbox: Letterbox, name: str) -> None:
    message = EmailMultiAlternatives("Late", "", None, [ONE])
    setattr(message, name, {"a": 1})
    with pytest.raises(MailArgumentError, match=f"'{name}'"):
        message.send()
    assert not Job.objects.exists()


def test_a_class_of_its_own_must_add_nothing_that_a_worker_needs(letterbox: Letterbox) -> None:
    with pytest.raises(MailArgumentError, match=r"Templated\.template_id"):
        Templated("Late", "", None, [ONE]).send()
    with pytest.raises(MailArgumentError, match=r"Attached\._"):
        Attached("Late", "", None, [ONE]).send()
    with pytest.raises(MailArgumentError, match="neither text nor bytes, but int"):
        EmailMessage("Late", "", None, [ONE], attachments=[("a.bin", 7, "application/x-own")]).send()
    Welcome("Anna").send()
    run_all()
    assert letterbox.mails[0]["Subject"] == "Welcome, Anna"
    assert letterbox.mails[0].get_content_type() == "text/html"


def test_an_invitation_arrives_as_it_was(letterbox: Letterbox) -> None:
    message = EmailMultiAlternatives("Late", "text", None, [ONE])
    message.attach_alternative(b"BEGIN:VCALENDAR\xff", "application/ics")
    message.send()
    run_all()
    parts = {part.get_content_type(): part for part in letterbox.mails[0].walk()}
    assert parts["application/ics"].get_payload(decode=True) == b"BEGIN:VCALENDAR\xff"


def test_silently_nothing_is_raised_and_nothing_is_broken(letterbox: Letterbox) -> None:
    silent: Any = JobEmailBackend(fail_silently=True)
    good = EmailMessage("Late", "", None, [ONE])
    assert silent.send_messages([good, Own("Late", "", None, [ONE])]) == 0
    assert silent.send_messages([EmailMessage("Late", "\0", None, [ONE])]) == 0
    refused: Any = JobEmailBackend(fail_silently=True, username="us")
    assert refused.send_messages([good]) == 0
    assert not Job.objects.exists()
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE perfkit_job RENAME TO perfkit_job_away")
        assert silent.send_messages([good]) == 0
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE perfkit_job_away RENAME TO perfkit_job")
        assert silent.send_messages([good]) == 1
    assert run_all() == ["done"]


def test_large_ones_are_left_by_several_statements(
    letterbox: Letterbox, django_assert_num_queries: Any
) -> None:
    messages = [EmailMessage("Late", "a" * (MOST_BYTES * 2 // 5), None, [ONE]) for _ in range(3)]
    with transaction.atomic(), django_assert_num_queries(2):
        assert JobEmailBackend().send_messages(messages) == 3
    assert Job.objects.count() == 3


@pytest.mark.parametrize("name", ["perfkit.jobs.mail.JobEmailBackend", "no.such.Backend", "os.path"])
def test_a_back_end_that_sends_nothing_is_refused(letterbox: Letterbox, settings: Any, name: str) -> None:
    letterbox.send_by_class(name)
    mail.send_mail("Late", "", None, [ONE])
    with pytest.raises(SettingsError, match="MAIL_BACKEND"):
        run_all()
    assert Job.objects.get().state == JobState.DEAD


def test_many_are_left_by_one_statement(letterbox: Letterbox, django_assert_num_queries: Any) -> None:
    messages = [EmailMessage("Late", str(number), None, [ONE]) for number in range(20)]
    with transaction.atomic(), django_assert_num_queries(1):
        assert JobEmailBackend().send_messages(messages) == 20


def test_a_broker_that_is_away_keeps_no_mail_back(letterbox: Letterbox, settings: Any) -> None:
    use(settings, "NoQueue")
    assert mail.send_mail("Late", "", None, [ONE]) == 1
    use(settings, "NoJobs")
    is_due()
    assert send_due() == 1
    assert run_all() == ["done"]
    assert len(letterbox.mails) == 1


def test_it_never_waits_for_a_server_for_ever(letterbox: Letterbox, monkeypatch: pytest.MonkeyPatch) -> None:
    timeouts = []
    plain = smtplib.SMTP.__init__

    def begin(self: Any, *args: Any, **kwargs: Any) -> None:
        timeouts.append(kwargs.get("timeout"))
        plain(self, *args, **kwargs)

    monkeypatch.setattr(smtplib.SMTP, "__init__", begin)
    mail.send_mail("Late", "", None, [ONE])
    run_all()
    assert timeouts == [10.0]
    own = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: own(*args, **kwargs) * 12)
    mail.send_mail("Late", "", None, [ONE])
    run_all()
    assert timeouts == [10.0, 5.0], "a minute for all addresses together"
