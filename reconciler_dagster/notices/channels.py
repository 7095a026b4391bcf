"""The ways by which a notice leaves: Slack, e-mail, a signed webhook, PagerDuty.

Plain `smtplib` and `requests`: a library of many services tells only whether it worked, and what
the receiver answered is what somebody needs to know when it did not.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import smtplib
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, getaddresses
from queue import Empty, SimpleQueue
from threading import Thread
from urllib.parse import unquote, urlsplit

from reconciler_dagster import environment
from reconciler_dagster.notices.settings import ChannelName, NoticeSettings
from reconciler_dagster.notices.words import Message
from reconciler_dagster.redaction import redacted
from reconciler_dagster.telling import told

CHANNEL_TIMEOUT = 10.0
# Of a whole attempt: a server that sends a byte now and then never lets a read time out.
LONGEST = 30.0
NO_ANSWER = "no answer in time"
_BADGES = {"info": "🔵", "warning": "🟠", "critical": "🔴"}


@dataclass(frozen=True)
class Answer:
    """What came of an attempt. ``words``: the receiver's, or why there were none."""

    taken: bool
    words: str


Send = Callable[[Message, str], Answer]
"""Send a message; the second argument names this delivery, and stays the same when it is tried
again, so that a receiver can tell that it has it already."""


def channels(settings: NoticeSettings) -> dict[ChannelName, Send]:
    """The channels that are set. ConfigurationError where one is half set."""
    ways: dict[ChannelName, Send] = {
        "slack": lambda message, _: _slack(settings, message),
        "email": lambda message, name: _email(settings, message, name),
        "webhook": lambda message, name: _webhook(settings, message, name),
        "pagerduty": lambda message, _: _pagerduty(settings, message),
    }
    return {name: _careful(ways[name]) for name, there in settings.is_set.items() if there}


def _careful(send: Send) -> Send:
    def sent(message: Message, name: str) -> Answer:
        try:
            answer = send(message, name)
        except smtplib.SMTPException as error:
            answer = Answer(False, _of_smtp(error))
        except ssl.SSLError:
            answer = Answer(False, "the certificate or the TLS version is not accepted")
        except TimeoutError:
            answer = Answer(False, NO_ANSWER)
        except socket.gaierror:
            answer = Answer(False, "its host name cannot be resolved")
        except (OSError, ValueError) as error:  # requests' own kinds among them
            answer = Answer(False, told(error))
        return Answer(answer.taken, redacted(answer.words)[:500])

    return lambda message, name: _in_time(lambda: sent(message, name))


def _in_time(send: Callable[[], Answer]) -> Answer:
    """The answer of an attempt, which is left to itself where it takes too long."""
    given: SimpleQueue[Answer] = SimpleQueue()
    Thread(target=lambda: given.put(send()), name="telling", daemon=True).start()
    with suppress(Empty):
        return given.get(timeout=LONGEST)
    return Answer(False, NO_ANSWER)


def _slack(settings: NoticeSettings, message: Message) -> Answer:
    assert settings.slack_url is not None
    mark = "✅" if message.what == "recovered" else _BADGES[message.severity]
    # Text of others: their marks and mentions stay what they are, text.
    title, body = (
        part.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        for part in (message.title, message.text)
    )
    return _post(
        settings.slack_url.get_secret_value(),
        json.dumps({"text": f"{mark} *{title}*\n{body}"}).encode(),
        {},
    )


def _webhook(settings: NoticeSettings, message: Message, name: str) -> Answer:
    assert settings.webhook_url is not None
    body = json.dumps({"delivery": name, **message.as_json()}).encode()
    headers = {"X-Reconciler-Delivery": name}
    if settings.webhook_secret is not None:
        moment = str(int(time.time()))
        key = settings.webhook_secret.get_secret_value().encode()
        headers["X-Reconciler-Timestamp"] = moment
        headers["X-Reconciler-Signature"] = signature(key, moment, body)
    return _post(settings.webhook_url.get_secret_value(), body, headers)


def signature(key: bytes, moment: str, body: bytes) -> str:
    """HMAC-SHA256 over moment, a point and the body: a receiver refuses old ones played again."""
    return f"sha256={hmac.new(key, moment.encode() + b'.' + body, hashlib.sha256).hexdigest()}"


def _pagerduty(settings: NoticeSettings, message: Message) -> Answer:
    assert settings.pagerduty_key is not None
    event = {
        "routing_key": settings.pagerduty_key.get_secret_value(),
        "event_action": "resolve" if message.what == "recovered" else "trigger",
        "dedup_key": f"reconciler-notice-{message.notice}",
        "payload": {
            "summary": message.title[:1024],
            "source": "reconciler",
            "severity": message.severity,
            "class": message.kind,
            "custom_details": message.as_json(),
        },
        "links": [{"href": message.link, "text": "The page that shows it"}],
    }
    return _post(settings.pagerduty_url, json.dumps(event).encode(), {})


def _post(url: str, body: bytes, headers: dict[str, str]) -> Answer:
    import requests  # slow to import; most who import this module send nothing

    response = requests.post(
        url,
        data=body,
        headers={"Content-Type": "application/json", "User-Agent": "reconciler", **headers},
        timeout=CHANNEL_TIMEOUT,
        allow_redirects=False,
        stream=True,
    )
    with response:
        words = response.raw.read(300, decode_content=True).decode("utf-8", "replace").strip()
    taken = 200 <= response.status_code < 300
    return Answer(taken, f"HTTP {response.status_code} {words}".strip())


def _email(settings: NoticeSettings, message: Message, name: str) -> Answer:
    assert settings.smtp_url is not None
    assert settings.email_to is not None
    parts = urlsplit(settings.smtp_url.get_secret_value())
    host = parts.hostname or ""
    sender = settings.email_from or f"reconciler@{_domain(settings.email_to)}"
    mail = _mail(message, name, sender, settings.email_to)
    secure = parts.scheme == "smtps"
    context = ssl.create_default_context(cafile=environment.value("SSL_CERT_FILE"))
    port = parts.port or (465 if secure else 587)
    server = (
        smtplib.SMTP_SSL(host, port, timeout=CHANNEL_TIMEOUT, context=context)
        if secure
        else smtplib.SMTP(host, port, timeout=CHANNEL_TIMEOUT)
    )
    with server:
        server.ehlo()
        encrypted = secure
        if not secure and server.has_extn("starttls"):
            server.starttls(context=context)
            server.ehlo()
            encrypted = True
        if parts.username:
            if not encrypted and host not in ("localhost", "127.0.0.1", "::1"):
                return Answer(False, "not sent: the server has no TLS, and a password is set")
            try:
                server.login(unquote(parts.username), unquote(parts.password or ""))
            except (smtplib.SMTPAuthenticationError, smtplib.SMTPServerDisconnected):
                return Answer(False, "the server does not accept this user and password")
        refused = server.send_message(mail)
    if refused:
        return Answer(True, f"taken, but refused for {len(refused)} of the addresses")
    return Answer(True, "250 taken")


def _mail(message: Message, name: str, sender: str, to: str) -> EmailMessage:
    mail = EmailMessage()
    mail["Subject"] = f"[Reconciler] {' '.join(message.title.split())}"
    mail["From"], mail["To"] = sender, to
    mail["Date"] = formatdate()
    domain = _domain(sender)
    mail["Message-ID"] = f"<reconciler-{name}@{domain}>"
    # One thread a notice, in whatever people read their mail with.
    mail["References"] = f"<reconciler-notice-{message.notice}@{domain}>"
    mail["Auto-Submitted"] = "auto-generated"
    if message.severity == "critical" and message.what != "recovered":
        mail["X-Priority"] = "1"
    mail.set_content(message.text)
    return mail


def _domain(addresses: str) -> str:
    return next(
        (address.rpartition("@")[2] for _, address in getaddresses([addresses]) if "@" in address),
        "localhost",
    )


def _of_smtp(error: smtplib.SMTPException) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        words = error.smtp_error
        said = words.decode("utf-8", "replace") if isinstance(words, bytes) else str(words)
        return f"{error.smtp_code} {said}"
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return "the server refuses every address"
    return "the server ended the conversation"
