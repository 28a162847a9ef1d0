"""Trying a connection: what "Test SMTP" does, from a page or the command line.

Owns the bounds of a trial, its test message, and what a trial of a stored connection says of its
health. It speaks through :func:`flask_smtp_admin.smtp.probe.probe`, which is the worker's own session.
Must not know Flask.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from flask_smtp_admin import wording
from flask_smtp_admin.core import Core
from flask_smtp_admin.models import Connection, ConnectionHealth
from flask_smtp_admin.smtp import Draft, Endpoint, Envelope, ProbeReport, Step, freeze
from flask_smtp_admin.smtp.probe import probe

from .breaker import event_of, note_success
from .drivers import probe_driver
from .health import stored_password

CONNECT_SECONDS = 10
REPLY_SECONDS = 15
TOTAL_SECONDS = 60
"""A person waits for a trial, so it waits less patiently than a worker."""


def endpoint_of(
    connection: Connection, core: Core, *, password: str | None = None, **changes: Any
) -> Endpoint:
    """Return how to reach a connection's server.

    :param password: use this one instead of the stored one.
    :param changes: values of :class:`~flask_smtp_admin.smtp.Endpoint` to use instead.
    :raises SecretMissing: the connection logs in, and no password is stored.
    :raises SecretUnreadable: the stored password does not open with today's keys.
    :raises ConfigurationError: a value is one that no session can be made from.
    """
    if password is None:
        password = stored_password(connection, core.keys) if connection.use_auth else ""
    values: dict[str, Any] = {
        "host": connection.host,
        "port": connection.port,
        "encryption": connection.encryption.value,
        "use_auth": connection.use_auth,
        "username": connection.username,
        "password": password,
        "auth_mechanism": connection.auth_mechanism.value,
        "allow_plain_auth": connection.allow_plain_auth,
        "ca_certificate": connection.ca_certificate,
        "connect_timeout": connection.connect_timeout,
        "reply_timeout": connection.reply_timeout,
        "final_timeout": connection.final_timeout,
        "session_deadline": connection.session_deadline,
        "allow_private": core.config.allow_private_hosts,
    }
    return Endpoint(**{**values, **changes})


def trial_endpoint(connection: Connection, core: Core, *, password: str | None = None) -> Endpoint:
    """Return the endpoint of a trial: the connection's, with less patience.

    Parameters and errors as for :func:`endpoint_of`.
    """
    return endpoint_of(
        connection,
        core,
        password=password,
        connect_timeout=min(connection.connect_timeout, CONNECT_SECONDS),
        reply_timeout=min(connection.reply_timeout, REPLY_SECONDS),
        final_timeout=min(connection.final_timeout, REPLY_SECONDS),
        session_deadline=min(connection.session_deadline, TOTAL_SECONDS),
    )


def transient(values: Mapping[str, Any]) -> Connection:
    """Return a connection of values that are not stored, to be tried only."""
    return Connection(**values)


def run(
    connection: Connection,
    endpoint: Endpoint,
    core: Core,
    *,
    to: str = "",
    on_stage: Callable[[Step], None] | None = None,
) -> ProbeReport:
    """Try an endpoint stage by stage. Without ``to`` it stops before a message is sent.

    :param connection: whose sender is used; it need not be stored.
    :param to: where a real test message goes.
    :raises MessageError: ``to`` is no address that a server would take.
    :raises ConfigurationError: the connection's driver is not registered.
    """
    content = _test_message(connection, endpoint, core, to) if to else None
    driver = connection.driver or "smtp"
    if driver != "smtp":
        envelope = None if content is None else Envelope(connection.sender_address, (to,), content)
        return probe_driver(driver, endpoint, envelope, on_stage or _ignore)
    return probe(
        endpoint,
        sender=connection.sender_address,
        recipient=to or connection.sender_address,
        content=content,
        on_stage=on_stage,
    )


def _ignore(_step: Step) -> None:
    """For a caller who waits for the whole report."""


def _test_message(connection: Connection, endpoint: Endpoint, core: Core, to: str) -> bytes:
    now = core.now()
    local = now.astimezone(core.config.zone)
    site = core.config.site_name or "this application"
    address = f", sent from {core.config.base_url}" if core.config.base_url else ""
    text = (
        f"This is a test message from {site}{address}.\n\n"
        f"It came through the connection “{connection.caption or 'not saved yet'}” "
        f"({endpoint.label}), sent by a person\nwho pressed “Test” on "
        f"{wording.WEEKDAYS[local.weekday()]} at {local:%H:%M} ({core.config.timezone}).\n\n"
        "If you can read it, the connection works. Nothing else needs to be done.\n"
    )
    draft = Draft(
        subject=f"Test message from {site}",
        sender=(connection.sender_name or "", connection.sender_address),
        to=(to,),
        text=text,
        headers={"Auto-Submitted": "auto-generated"},
    )
    return freeze(draft, now=now).content


def record(core: Core, connection: Connection, report: ProbeReport) -> None:
    """Note what a trial of a stored connection, as it is stored, says of its health.

    Success closes its breaker, so that waiting messages leave at once. A failure is noted, but
    whether the connection is paused is decided by what the workers meet.
    """
    now = core.now()
    recovered = False
    with core.database.write() as written:
        if report.ok:
            recovered = note_success(written, connection.id, now).recovered
        else:
            written.execute(
                sa.update(ConnectionHealth)
                .where(ConnectionHealth.connection_id == connection.id)
                .values(**_failure(report, now))
            )
    if report.ok:
        core.ring()
    if recovered:
        core.publish(event_of("connection_recovered", connection, now))


def _failure(report: ProbeReport, now: datetime) -> dict[str, Any]:
    failed, verdict = report.failed, report.verdict
    return {
        "last_failure_at": now,
        "last_stage": failed.stage.value if failed else None,
        "last_code": failed.reply.code if failed and failed.reply else None,
        "last_reply": str(failed.reply) if failed and failed.reply else None,
        "last_reason": verdict.summary if verdict else report.summary,
        "last_advice": verdict.advice if verdict else None,
    }
