"""Mails are left to workers: the request need not wait for the mail server, nor fail with it.

Whatever sends mails by Django does so, with `EMAIL_BACKEND = "perfkit.jobs.mail.JobEmailBackend"`, or with that as
the back end of the default one in `MAILERS`, from Django 6.1 on.
"""

from __future__ import annotations

import base64
import datetime as dt
import email
import email.policy
import json
import logging
import smtplib
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from email.message import Message
from email.mime.base import MIMEBase
from email.utils import format_datetime, formatdate, make_msgid
from importlib import import_module
from threading import Timer
from typing import Any, Final

import django
from django.apps import apps
from django.conf import settings
from django.core.mail import (
    DNS_NAME,
    EmailAlternative,
    EmailAttachment,
    EmailMessage,
    EmailMultiAlternatives,
)
from django.core.mail.backends.base import BaseEmailBackend
from django.core.mail.backends.smtp import EmailBackend as SMTPBackend
from django.db import Error, router, transaction
from django.utils.functional import Promise
from django.utils.module_loading import import_string

from perfkit.conf import options
from perfkit.errors import (
    JobArgumentError,
    MailArgumentError,
    MailDelayedError,
    MailRefusedError,
    MailUnansweredError,
    SettingsError,
)
from perfkit.jobs.declared import job

logger = logging.getLogger("perfkit.jobs")

SMTP: Final = "django.core.mail.backends.smtp.EmailBackend"

MOST_BYTES: Final = 10 * 1024 * 1024
"""Of a mail with its attachments, as the database keeps it until it is sent, and of all mails in one statement."""

TRY_SECONDS: Final = 240.0
"""For all that one try takes with the mail server; the soft limit of the job is above that."""

CONNECTING_SECONDS: Final = 60.0
"""For all addresses of the mail server together."""

ADDRESS_SECONDS: Final = 10.0
"""For one address, and the greeting, where `EMAIL_TIMEOUT` says nothing; Django would wait for ever."""

COMMAND_SECONDS: Final = 30.0
"""For each answer before the mail, where `EMAIL_TIMEOUT` says nothing; the mail's own may take a whole try."""

MOST_UNANSWERED: Final = 3
"""Each try that ends without an answer to the mail itself may have delivered it."""

AGAIN_SECONDS: Final = 600.0
"""Before what a server took from others, or did not answer, is tried once more."""

PERMANENT: Final = range(500, 600)
"""Answers of a mail server that will not be others later."""

CLOSES: Final = 421
"""The server ends the connection, whatever it was asked: that says nothing of a mail or a recipient."""

LOGIN: Final = frozenset({530, 534, 535, 538})
"""Answers that tell of the login, not of the mail: somebody will mend the password."""

KINDS: Final = ("content_subtype", "mixed_subtype", "alternative_subtype", "encoding")
"""Attributes of a mail that a class may have, too; not each version of Django has all."""


class JobEmailBackend(BaseEmailBackend):
    """Leaves mails to workers, which send them by the back end `PERFKIT["MAIL_BACKEND"]`.

    Within a transaction they are sent only if that commits. What is returned is how many were left.

    Raises:
        MailArgumentError: Somebody has given a server or a login, which belong into the settings, or a mail that a
            worker could not make again. None is left then.
    """

    def __init__(self, fail_silently: bool = False, *, alias: str | None = None, **kwargs: Any) -> None:
        own: dict[str, Any] = {} if alias is None else {"alias": alias}
        super().__init__(**own)
        self.fail_silently = fail_silently
        given = sorted(name for name, value in kwargs.items() if value)
        self._is_refused = bool(given)
        if given and not fail_silently:
            raise MailArgumentError(
                f"{given[0]} would be kept in the database: configure it in the settings."
            )

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Leave mails to workers, all or none of them."""
        if self._is_refused:
            return 0
        try:
            mails = [mail_values(message) for message in email_messages if message.recipients()]
            # Where nobody hears of an error, it must not end the transaction that is open.
            with transaction.atomic(using=_database(), savepoint=self.fail_silently):
                for batch in _batches(mails):
                    send_mail.using().enqueue_many([(mail,) for mail in batch])
        except (Error, MailArgumentError, JobArgumentError):
            if not self.fail_silently:
                raise
            return 0
        return len(mails)


@job(
    name="perfkit.send_mail",
    atomic=False,
    retries=24,
    retry_on=[OSError, MailDelayedError],
    backoff=30,
    longest_backoff=4 * 3600,
    soft_limit=270,
    hard_limit=300,
    forget=True,
)
def send_mail(mail: dict[str, Any]) -> int:
    """Send a mail that `JobEmailBackend` has left.

    A mail server that does not answer, or says that it will later, is tried again for about two days.
    Recipients that it refuses, while it takes the mail for others, get a job of their own.
    A worker that dies between the server's answer and its own note of that sends it twice, with one `Message-ID`.

    Raises:
        MailRefusedError: The server will not take it.
        MailUnansweredError: The server has it, perhaps, and has not said so, several times.
        MailDelayedError: The server may take it later.
    """
    connection = sender()
    delivery = _Delivery()
    try:
        if isinstance(connection, SMTPBackend):
            delivery.send(connection, mail_of(mail))
        else:
            connection.send_messages([mail_of(mail)])
    except MailUnansweredError:
        tries = int(mail.get("unanswered", 0)) + 1
        if tries >= MOST_UNANSWERED:
            raise
        _later().enqueue({**mail, "unanswered": tries})
        return 0
    # What servers say names addresses, which errors of jobs must not: hence `from None`.
    except smtplib.SMTPRecipientsRefused as error:
        delivery.refused = {address: code for address, (code, _) in error.recipients.items()}
        codes = list(delivery.refused.values())
        if all(map(_is_final, codes)):
            raise MailRefusedError(codes[0], len(codes)) from None
        if CLOSES in codes or not any(map(_is_final, codes)):
            raise MailDelayedError(next(code for code in codes if not _is_final(code)), len(codes)) from None
    except smtplib.SMTPResponseException as error:
        is_greeting = isinstance(
            error, smtplib.SMTPConnectError | smtplib.SMTPHeloError | smtplib.SMTPAuthenticationError
        )
        if is_greeting or delivery.is_opening or not _is_final(error.smtp_code):
            raise MailDelayedError(error.smtp_code) from None
        raise MailRefusedError(error.smtp_code) from None
    _leave_refused(mail, delivery.refused)
    return 1


class _Delivery:
    """One try to give a mail to an SMTP server, which ends in time, and knows who was refused.

    Attributes:
        is_opening: Whether the mail server has been told nothing of the mail yet.
        refused: The codes by the addresses that it has refused, where it has taken the mail for others.
    """

    def __init__(self) -> None:
        self.is_opening = False
        self.refused: dict[str, int] = {}
        self._ends = time.monotonic() + TRY_SECONDS
        self._is_cut = False

    def send(self, connection: Any, message: EmailMessage) -> None:
        """Send the mail.

        Raises:
            MailUnansweredError: The time was over after the mail was given to the server.
            OSError: What `smtplib` and the network raise.
        """
        given: float | None = connection.timeout
        self.is_opening = True
        addresses = socket.getaddrinfo(connection.host, connection.port, type=socket.SOCK_STREAM)
        connection.timeout = min(given or ADDRESS_SECONDS, CONNECTING_SECONDS / len(addresses))
        try:
            connection.open()
            self.is_opening = False
            smtp: Any = connection.connection
            smtp.sock.settimeout(given or COMMAND_SECONDS)
            with self._cut_in_time(smtp.sock), self._watched(smtp):
                connection.send_messages([message])
        finally:
            _close(connection)

    @contextmanager
    def _cut_in_time(self, sock: socket.socket) -> Iterator[None]:
        """End the connection when the time is over: limits of a socket are for each of its operations."""

        def cut() -> None:
            self._is_cut = True
            try:
                # Not `sock.shutdown`: TLS would take its state from under the thread that reads.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
            except OSError as error:
                logger.debug("The connection to the mail server had ended: %s", error)

        timer = Timer(max(0.0, self._ends - time.monotonic()), cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    @contextmanager
    def _watched(self, smtp: Any) -> Iterator[None]:
        """Learn of those that are refused, of whom Django does not tell, and wait long for the last answer."""
        plain_sendmail, plain_data = smtp.sendmail, smtp.data

        def sendmail(*args: Any, **kwargs: Any) -> Any:
            refused = plain_sendmail(*args, **kwargs)
            self.refused = {address: code for address, (code, _) in refused.items()}
            return refused

        def data(content: Any) -> Any:
            smtp.sock.settimeout(TRY_SECONDS)  # it is cut before
            try:
                return plain_data(content)
            except OSError as error:
                if self._is_cut:
                    raise MailUnansweredError(TRY_SECONDS) from error
                raise

        smtp.sendmail, smtp.data = sendmail, data
        try:
            yield
        finally:
            del smtp.sendmail, smtp.data  # a back end may keep its connections


def _close(connection: Any) -> None:
    """Say good-bye; the mail has been taken, or not, and no trouble with that may have it sent again."""
    sock = getattr(connection.connection, "sock", None)
    if sock is not None:
        sock.settimeout(ADDRESS_SECONDS)
    try:
        connection.close()
    except OSError as error:
        logger.debug("The connection to the mail server could not be closed: %s", type(error).__name__)


def _database() -> str:
    """Return where jobs are; their model is not loaded yet where this module is."""
    return router.db_for_write(apps.get_model("perfkit", "Job"))


def _is_final(code: int) -> bool:
    return code in PERMANENT and code not in LOGIN


def _later() -> Any:
    return send_mail.using(run_after=dt.timedelta(seconds=AGAIN_SECONDS))


def _leave_refused(mail: Mapping[str, Any], refused: Mapping[str, int]) -> None:
    """Give those that were refused jobs of their own, for the others have the mail.

    Those that will be refused again are sent it once more: that job is the dead letter, and holds only them.
    """
    final = [address for address, code in refused.items() if _is_final(code)]
    later = [address for address in refused if address not in final]
    with transaction.atomic(using=_database()):
        if final:
            send_mail.using().enqueue(_only_to(mail, final))
        if later:
            _later().enqueue(_only_to(mail, later))


def _only_to(mail: Mapping[str, Any], addresses: Sequence[str]) -> dict[str, Any]:
    """Return the same mail, with the same headers, for some of its recipients."""
    headers = dict(mail["headers"])
    for header, name in (("To", "to"), ("Cc", "cc")):
        if mail[name]:
            headers.setdefault(header, ", ".join(mail[name]))
    return {**mail, "headers": headers, "to": [], "cc": [], "bcc": list(addresses)}


def _batches(mails: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Yield mails in order, in lists of which each fits one statement."""
    batch: list[dict[str, Any]] = []
    size = 0
    for mail in mails:
        added = _size(mail)
        if batch and size + added > MOST_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(mail)
        size += added
    if batch:
        yield batch


def _size(values: Mapping[str, Any]) -> int:
    return len(json.dumps(values))


def mail_values(message: EmailMessage) -> dict[str, Any]:
    """Return what a mail is made of, as JSON can hold it.

    Raises:
        MailArgumentError: A worker could not make it again, or it is too large.
    """
    _check_kind(message)
    if not isinstance(message.encoding, str | None):
        raise MailArgumentError("its encoding is no name.")
    headers = {
        str(name): format_datetime(value) if isinstance(value, dt.datetime) else str(value)
        for name, value in message.extra_headers.items()
    }
    given = {name.lower() for name in headers}
    if "message-id" not in given:
        headers["Message-ID"] = make_msgid(domain=str(DNS_NAME))
    if "date" not in given:
        headers["Date"] = formatdate(localtime=settings.EMAIL_USE_LOCALTIME)
    values: dict[str, Any] = {
        "subject": str(message.subject),
        "body": str(message.body),
        "from_email": str(message.from_email),
        "to": [str(each) for each in message.to],
        "cc": [str(each) for each in message.cc],
        "bcc": [str(each) for each in message.bcc],
        "reply_to": [str(each) for each in message.reply_to],
        "headers": headers,
        "kinds": {name: getattr(message, name) for name in KINDS if hasattr(message, name)},
        "attachments": [_attachment_values(each) for each in message.attachments],
    }
    if isinstance(message, EmailMultiAlternatives):
        values["alternatives"] = [
            {"mimetype": _text(mimetype), **_content_values(content)}
            for content, mimetype in message.alternatives
        ]
    size = _size(values)
    if size > MOST_BYTES:
        raise MailArgumentError(
            f"it has {size:,} bytes, and {MOST_BYTES:,} can be kept. Send a link instead."
        )
    return values


def _check_kind(message: EmailMessage) -> None:
    """Refuse a mail with more than Django's own have: a worker would send it without.

    Raises:
        MailArgumentError: Its class or it itself has something of its own.
    """
    kind = type(message)
    plain = EmailMultiAlternatives if isinstance(message, EmailMultiAlternatives) else EmailMessage
    for each in kind.__mro__[: kind.__mro__.index(plain)]:
        for name, value in vars(each).items():
            is_field = name in KINDS and hasattr(plain, name)
            is_own_method = callable(value) and not hasattr(plain, name)
            if not (is_field or is_own_method or (name.startswith("__") and name.endswith("__"))):
                raise MailArgumentError(f"its class has its own {each.__name__}.{name}, which would be lost.")
    known = {*vars(plain()), *(name for name in KINDS if hasattr(plain, name)), "connection"}
    if more := sorted(vars(message).keys() - known):
        raise MailArgumentError(f"its attribute {more[0]!r} would be lost.")


def mail_of(values: Mapping[str, Any]) -> EmailMessage:
    """Return the mail that `mail_values` has taken apart."""
    kind = EmailMultiAlternatives if "alternatives" in values else EmailMessage
    names = ("subject", "body", "from_email", "to", "cc", "bcc", "reply_to", "headers")
    message = kind(**{name: values[name] for name in names})
    for name, value in values["kinds"].items():
        setattr(message, name, value)
    message.attachments.extend(map(_attachment, values["attachments"]))
    if isinstance(message, EmailMultiAlternatives):
        message.alternatives.extend(
            EmailAlternative(_content(each), each["mimetype"]) for each in values["alternatives"]
        )
    return message


def _attachment_values(attachment: Any) -> dict[str, Any]:
    if isinstance(attachment, Message):
        return {"part": _coded(attachment.as_bytes())}
    name, content, mimetype = attachment
    return {"name": _text(name), "mimetype": _text(mimetype), **_content_values(content)}


def _content_values(content: Any) -> dict[str, str]:
    if isinstance(content, EmailMessage):
        content = content.message()
    if isinstance(content, Message):
        content = content.as_bytes()
    if isinstance(content, str | Promise):
        return {"text": str(content)}
    if not isinstance(content, bytes | bytearray | memoryview):
        raise MailArgumentError(f"a part of it is neither text nor bytes, but {type(content).__name__}.")
    return {"bytes": _coded(content)}


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _attachment(values: Mapping[str, Any]) -> Any:
    if "part" in values:
        return _part(base64.b64decode(values["part"]))
    return EmailAttachment(values["name"], _content(values), values["mimetype"])


def _content(values: Mapping[str, str]) -> str | bytes:
    return values["text"] if "text" in values else base64.b64decode(values["bytes"])


def _part(content: bytes) -> Message:
    """Return a part of a message as the class that mails take: it keeps headers such as `Content-ID`."""
    if django.VERSION >= (6, 0):
        return email.message_from_bytes(content, policy=email.policy.default)
    parsed = email.message_from_bytes(content)
    part = MIMEBase(parsed.get_content_maintype(), parsed.get_content_subtype())
    for name in part.keys():  # noqa: SIM118  # a Message is no dict: it would be asked for by numbers
        del part[name]
    for name, value in parsed.items():
        part[name] = value
    part.set_payload(parsed.get_payload())
    return part


def _coded(content: bytes | bytearray | memoryview) -> str:
    return base64.b64encode(content).decode("ascii")


def sender() -> Any:
    """Return what sends the mails that were left to workers, as `PERFKIT["MAIL_BACKEND"]` names it.

    Raises:
        SettingsError: It cannot be loaded, or would leave them to workers once more.
    """
    name = options.MAIL_BACKEND
    mailers = _mailers()
    if mailers is None:
        # From 6.1 on Django tells back ends that are made otherwise than by an alias from others.
        backend = _loaded(name, name)
        return backend(alias=None) if django.VERSION >= (6, 1) else backend()
    if name not in mailers:
        text = (
            f"must name an entry of MAILERS, and {name!r} is none. Add one that sends mails, and name that."
        )
        raise SettingsError("MAIL_BACKEND", text)
    _loaded(name, mailers[name].get("BACKEND", SMTP))
    core_mail: Any = import_module("django.core.mail")
    return core_mail.mailers[name]


def _mailers() -> Mapping[str, Any] | None:
    """Return Django's `MAILERS`, from 6.1 on, where the project has them."""
    return getattr(settings, "MAILERS", None) if django.VERSION >= (6, 1) else None


def _loaded(name: str, path: str) -> Any:
    try:
        backend = import_string(path)
    except ImportError as error:
        raise SettingsError("MAIL_BACKEND", f"{path!r} cannot be loaded: {error}") from error
    if not callable(backend):
        raise SettingsError("MAIL_BACKEND", f"{path!r} is no e-mail back end.")
    if isinstance(backend, type) and issubclass(backend, JobEmailBackend):
        text = f"must be what sends mails, and {name!r} leaves them to workers."
        raise SettingsError("MAIL_BACKEND", text)
    return backend
