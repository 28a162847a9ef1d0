"""Clients of the Redis that wakes the workers: a single server, or whichever the sentinels name.

Owns making them, and saying in plain words why one does not get through. Must not know queues, nor
show a password: some versions of redis-py print them with a client, or in an error of a sentinel.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import (
    MasterNotFoundError,
    Sentinel,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)

from .. import redis_address
from ..config import Config

CONNECT_SECONDS = 1.0
ANSWER_SECONDS = 3.0


def hurried(config: Config) -> redis.Redis:
    """Return a client for whoever must not wait long; nothing is sent yet.

    Without its limits redis-py would try four times with growing pauses, in the middle of a request.
    """
    return _client(
        config,
        socket_connect_timeout=CONNECT_SECONDS,
        socket_timeout=ANSWER_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )


def patient(config: Config) -> redis.Redis:
    """Return a client for a worker that listens; nothing is sent yet."""
    return _client(config)


def _client(config: Config, **defaults: Any) -> redis.Redis:
    """Return a client; what the address says of an option counts more than ``defaults``."""
    address = config.redis_url
    assert address is not None
    if not redis_address.is_sentinel(address):
        defaults = _with_name_checked(defaults, address.startswith("rediss://"), address)
        return redis.Redis.from_url(address, **defaults)
    return _master(redis_address.sentinels(address), defaults)


def _master(found: redis_address.Sentinels, defaults: dict[str, Any]) -> redis.Redis:
    # A sentinel that is away must not keep anybody long: the next one knows the same.
    hurry = {
        "socket_connect_timeout": CONNECT_SECONDS,
        "socket_timeout": ANSWER_SECONDS,
        "retry": Retry(NoBackoff(), 0),
    }
    own = _with_name_checked({**hurry, "ssl": found.tls}, found.tls, found.own_options)
    kind = _CleanTLSConnection if found.tls else _CleanConnection
    options = _with_name_checked({**defaults, "connection_class": kind}, found.tls, found.options)
    watchers: Any = _Watchers(found.hosts, sentinel_kwargs={**own, **found.own_options})  # type: ignore[no-untyped-call]
    client: redis.Redis = watchers.master_for(found.service, **{**options, **found.options})
    return client


def _with_name_checked(defaults: dict[str, Any], tls: bool, said: Container[str]) -> dict[str, Any]:
    """Have the name in a certificate checked, as newer versions of redis-py do by themselves.

    :param said: what the address says; who does not want the certificate checked says so there.
    """
    if not tls or "ssl_cert_reqs" in said:
        return defaults
    return {**defaults, "ssl_check_hostname": True}


class _Clean:
    """Drops a connection whose reading was broken off, as redis-py does without sentinels.

    Kept, it would still wait for the answer: a signal that ends a worker in its blocking read would
    have it say goodbye over a connection that hears nothing for minutes, and an answer that came too
    late would be taken for that to the next question.
    """

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        """Read the answer to a command."""
        kwargs.setdefault("disconnect_on_error", True)
        return super().read_response(*args, **kwargs)  # type: ignore[misc]


class _CleanConnection(_Clean, SentinelManagedConnection):
    """To the master, in clear."""


class _CleanTLSConnection(_Clean, SentinelManagedSSLConnection):
    """To the master, with TLS."""


class _Watchers(Sentinel):
    """The sentinels, asked one after the other."""

    def discover_master(self, service_name: str) -> tuple[str, int]:
        """Return where the master is.

        :raises MasterNotFoundError: nobody knows; with what each said, and without passwords.
        """
        answers = []
        for number, sentinel in enumerate(self.sentinels):
            try:
                states: Any = sentinel.sentinel_masters()
            except redis.RedisError as error:
                answers.append(in_words(error))
                continue
            state = states.get(service_name)
            if state and self._is_up(state):
                # It is asked first the next time.
                self.sentinels[0], self.sentinels[number] = sentinel, self.sentinels[0]
                return state["ip"], state["port"]
            answers.append("its master is down" if state else "it knows no such service")
        told = "; ".join(
            f"{_place(sentinel)}: {answer}"
            for sentinel, answer in zip(self.sentinels, answers, strict=True)
        )
        raise MasterNotFoundError(f"no sentinel names a master of {service_name!r} ({told})")

    @staticmethod
    def _is_up(state: dict[str, Any]) -> bool:
        return bool(state["is_master"] and not state["is_sdown"] and not state["is_odown"])


def _place(sentinel: redis.Redis) -> str:
    settings = sentinel.connection_pool.connection_kwargs
    return f"{settings['host']}:{settings['port']}"


def in_words(error: Exception) -> str:
    """Return what went wrong, with what to do about it where that is known."""
    text = str(error)
    for sign, advice in _ADVICE.items():
        if sign in text or sign in str(error.__context__):
            return f"{advice} ({text})"
    return text


_ADVICE = {
    "Hostname mismatch": "its certificate is for another name than the address has",
    "IP address mismatch": "its certificate is for another name than the address has",
    "certificate has expired": "its certificate has expired",
    "CERTIFICATE_VERIFY_FAILED": (
        "its certificate is signed by nobody whom we trust; ssl_ca_certs in SMTP_ADMIN_REDIS_URL "
        "names the file of the authority that signed it"
    ),
    "WRONG_VERSION_NUMBER": "it does not speak TLS on that port; redis:// is without TLS",
    "handshake operation timed out": (
        "it does not answer in TLS on that port; redis:// is without TLS"
    ),
    "record layer failure": "it does not speak TLS on that port; redis:// is without TLS",
    "WRONGPASS": "SMTP_ADMIN_REDIS_URL has a wrong user or password for it",
    "invalid username-password": "SMTP_ADMIN_REDIS_URL has a wrong user or password for it",
    "invalid password": "SMTP_ADMIN_REDIS_URL has a wrong user or password for it",
    "NOAUTH": "it wants a password, and SMTP_ADMIN_REDIS_URL has none for it",
    "client already authenticated": "it wants a password, and SMTP_ADMIN_REDIS_URL has none for it",
    "Authentication required": "it wants a password, and SMTP_ADMIN_REDIS_URL has none for it",
}
"""By what redis-py or OpenSSL say; the first one that fits counts."""
