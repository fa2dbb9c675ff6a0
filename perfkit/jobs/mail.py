"""Mails are left to workers: the request need not wait for the mail server, nor fail with it.

Whatever sends mails by Django does so, with `EMAIL_BACKEND = "perfkit.jobs.mail.JobEmailBackend"`.
"""

from __future__ import annotations

import base64
import email
import json
from collections.abc import Mapping, Sequence
from email.message import Message
from email.mime.base import MIMEBase
from email.utils import formatdate, make_msgid
from smtplib import SMTPRecipientsRefused, SMTPResponseException
from typing import Any, Final

from django.conf import settings
from django.core.mail import DNS_NAME, EmailMessage, EmailMultiAlternatives, get_connection
from django.core.mail.backends.base import BaseEmailBackend
from django.db import Error
from django.utils.module_loading import import_string

from perfkit.conf import options
from perfkit.errors import MailArgumentError, MailRefusedError, SettingsError
from perfkit.jobs.declared import job

MOST_BYTES: Final = 10 * 1024 * 1024
"""Of a mail with its attachments, as it is kept in the database until it is sent."""

TIMEOUT_SECONDS: Final = 20.0
"""For a mail server to answer, where `EMAIL_TIMEOUT` says nothing; Django would wait for ever."""

PERMANENT: Final = range(500, 600)
"""Answers of a mail server that will not be others later."""


class JobEmailBackend(BaseEmailBackend):
    """Leaves mails to workers, which send them by the back end `PERFKIT["MAIL_BACKEND"]`.

    Within a transaction they are sent only if that commits. What is returned is how many were left.

    Raises:
        MailArgumentError: Somebody has given a server or a login, which belong into the settings, or a mail that a
            worker could not make again. None is left then.
    """

    def __init__(self, fail_silently: bool = False, **kwargs: Any) -> None:
        super().__init__(fail_silently=fail_silently)
        given = sorted(name for name, value in kwargs.items() if value)
        if given:
            raise MailArgumentError(
                f"{given[0]} would be kept in the database: configure it in the settings."
            )

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Leave mails to workers, all or none of them."""
        calls = [(mail_values(message),) for message in email_messages if message.recipients()]
        try:
            return len(send_mail.using().enqueue_many(calls))
        except Error:
            if not self.fail_silently:
                raise
            return 0


@job(
    name="perfkit.send_mail",
    atomic=False,
    retries=12,
    retry_on=[OSError],
    backoff=5,
    longest_backoff=3600,
    forget=True,
)
def send_mail(mail: dict[str, Any]) -> int:
    """Send a mail that `JobEmailBackend` has left.

    A mail server that does not answer, or says that it will later, is tried again for hours.
    A worker that dies between the server's answer and its own note of that sends it twice, with one `Message-ID`.

    Raises:
        MailRefusedError: The server will not take it.
    """
    connection: Any = get_connection(real_backend())
    if getattr(connection, "timeout", TIMEOUT_SECONDS) is None:
        connection.timeout = TIMEOUT_SECONDS
    try:
        return int(connection.send_messages([mail_of(mail)]) or 0)
    except SMTPResponseException as error:
        if error.smtp_code in PERMANENT:
            raise MailRefusedError(error.smtp_code) from error
        raise
    except SMTPRecipientsRefused as error:
        codes = [code for code, _ in error.recipients.values()]
        if codes and all(code in PERMANENT for code in codes):
            raise MailRefusedError(codes[0]) from error
        raise


def mail_values(message: EmailMessage) -> dict[str, Any]:
    """Return what a mail is made of, as JSON can hold it.

    Raises:
        MailArgumentError: A worker could not make it again, or it is too large.
    """
    kind = type(message)
    if kind.message is not EmailMessage.message:
        raise MailArgumentError(f"{kind.__name__} makes its message itself, which a worker could not.")
    if not isinstance(message.encoding, str | None):
        raise MailArgumentError("its encoding is no name.")
    headers = {str(name): str(value) for name, value in message.extra_headers.items()}
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
        "subtype": message.content_subtype,
        "encoding": message.encoding,
        "attachments": [_attachment_values(each) for each in message.attachments],
    }
    if isinstance(message, EmailMultiAlternatives):
        values["alternatives"] = [[str(content), str(mimetype)] for content, mimetype in message.alternatives]
    size = len(json.dumps(values))
    if size > MOST_BYTES:
        raise MailArgumentError(
            f"it has {size:,} bytes, and {MOST_BYTES:,} can be kept. Send a link instead."
        )
    return values


def mail_of(values: Mapping[str, Any]) -> EmailMessage:
    """Return the mail that `mail_values` has taken apart."""
    kind = EmailMultiAlternatives if "alternatives" in values else EmailMessage
    names = ("subject", "body", "from_email", "to", "cc", "bcc", "reply_to", "headers")
    message = kind(**{name: values[name] for name in names})
    message.content_subtype = values["subtype"]
    message.encoding = values["encoding"]
    for each in values["attachments"]:
        _attach(message, each)
    if isinstance(message, EmailMultiAlternatives):
        for content, mimetype in values["alternatives"]:
            message.attach_alternative(content, mimetype)
    return message


def _attachment_values(attachment: Any) -> dict[str, Any]:
    if isinstance(attachment, Message):
        return {"part": _coded(attachment.as_bytes())}
    name, content, mimetype = attachment
    if isinstance(content, EmailMessage):
        content = content.message()
    if isinstance(content, Message):
        content = content.as_bytes()
    kept = {"text": content} if isinstance(content, str) else {"bytes": _coded(content)}
    return {"name": name, "mimetype": mimetype, **kept}


def _attach(message: EmailMessage, values: Mapping[str, Any]) -> None:
    if "part" in values:
        message.attach(_part(base64.b64decode(values["part"])))
        return
    content = values["text"] if "text" in values else base64.b64decode(values["bytes"])
    message.attach(values["name"], content, values["mimetype"])


def _part(content: bytes) -> MIMEBase:
    """Return a part of a message as the class that mails take: it keeps headers such as `Content-ID`."""
    parsed = email.message_from_bytes(content)
    part = MIMEBase(parsed.get_content_maintype(), parsed.get_content_subtype())
    for name in part.keys():  # noqa: SIM118  # a Message is no dict: it would be asked for by numbers
        del part[name]
    for name, value in parsed.items():
        part[name] = value
    part.set_payload(parsed.get_payload())
    return part


def _coded(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def real_backend() -> str:
    """Return the dotted name of what sends mails.

    Raises:
        SettingsError: It cannot be loaded, or would leave them to workers once more.
    """
    name = options.MAIL_BACKEND
    try:
        backend = import_string(name)
    except ImportError as error:
        raise SettingsError("MAIL_BACKEND", f"{name!r} cannot be loaded: {error}") from error
    if not callable(backend):
        raise SettingsError("MAIL_BACKEND", f"{name!r} is no e-mail back end.")
    if isinstance(backend, type) and issubclass(backend, JobEmailBackend):
        raise SettingsError("MAIL_BACKEND", "must be what sends mails, not what leaves them to workers.")
    return name
