"""The address of the Redis that wakes the workers: the forms that it may have.

Owns taking one apart and refusing one that cannot be meant. Must not contact anything, and must not
show the address, which may hold passwords, nor a part of it that might be one.

A single server is written as redis-py has it. For servers that Sentinel watches over, redis-py has
no form of its own; this is the one that several other libraries share::

    redis+sentinel://[user:password@]host[:26379][,host…]/service[/database][?options]

User and password are those of the Redis itself, and so are the options, but for those that begin with
``sentinel_``: these, without the prefix, are for the sentinels.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

SINGLE_SCHEMES = ("redis://", "rediss://", "unix://")
SENTINEL_SCHEMES = ("redis+sentinel://", "rediss+sentinel://")
SCHEMES = SINGLE_SCHEMES + SENTINEL_SCHEMES
SENTINEL_PORT = 26379
SENTINEL_PREFIX = "sentinel_"
EXAMPLES = {
    "redis://": "redis://localhost:6379/0",
    "rediss://": "rediss://:password@redis.example.org:6380/0?ssl_ca_certs=/etc/ssl/redis-ca.pem",
    "unix://": "unix:///run/redis/redis.sock?db=0",
    "redis+sentinel://": "redis+sentinel://:password@host1:26379,host2:26379/mymaster/0",
    "rediss+sentinel://": "rediss+sentinel://:password@host1:26379,host2:26379/mymaster/0",
}


@dataclass(frozen=True)
class Sentinels:
    """The sentinels that know where the Redis is.

    :param hosts: names or addresses, with their ports.
    :param service: the name under which they watch over it, often ``mymaster``.
    :param tls: whether they and the Redis speak TLS.
    :param options: for connecting to the Redis, by redis-py's names.
    :param own_options: for connecting to the sentinels.
    """

    hosts: tuple[tuple[str, int], ...]
    service: str
    tls: bool
    options: dict[str, Any] = field(repr=False)
    own_options: dict[str, Any] = field(repr=False)


def is_sentinel(address: str) -> bool:
    """Tell whether the address leads to sentinels."""
    return address.startswith(SENTINEL_SCHEMES)


def check(address: str) -> None:
    """See that the address can be meant; nothing is contacted.

    :raises ValueError: it cannot. The sentence follows the name of the key, and says what to write.
    """
    if not address.startswith(SCHEMES):
        raise ValueError(
            f"must begin with one of {', '.join(SCHEMES)}; write for instance "
            f"'{EXAMPLES['redis://']}'."
        )
    if is_sentinel(address):
        for options in _options_of(sentinels(address)):
            _check_certificates(options)
    else:
        _check_certificates(_redis_options(address))
        _check_path(address)


def sentinels(address: str) -> Sentinels:
    """Take the address of sentinels apart.

    :raises ValueError: as for :func:`check`.
    """
    scheme, _, rest = address.partition("://")
    rest, _, query = rest.partition("?")
    authority, _, path = rest.partition("/")
    account, _, hosts = authority.rpartition("@")
    service, _, database = path.partition("/")
    if not service:
        raise _refused(address, "does not say which of their services the sentinels shall tell of")
    if database and not database.isdecimal():
        raise _refused(address, "must have a number for the database, behind the service's name")
    own, options = _split(query)
    at = f"{account}@localhost" if account else "localhost"
    single = "rediss://" if scheme.startswith("rediss") else "redis://"
    return Sentinels(
        hosts=tuple(_host(address, host) for host in hosts.split(",")),
        service=unquote(service),
        tls=single == "rediss://",
        options=_bare(_redis_options(f"{single}{at}/{database or 0}?{urlencode(options)}")),
        own_options=_bare(_redis_options(f"{single}localhost?{urlencode(own)}")),
    )


def _split(query: str) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return the options for the sentinels, and those for the Redis.

    What is said of TLS and of the time to wait is meant for both, unless the sentinels have a word of
    their own: mostly one authority has signed all certificates.
    """
    given = parse_qsl(query, keep_blank_values=True)
    options = [(key, value) for key, value in given if not key.startswith(SENTINEL_PREFIX)]
    own = {key: value for key, value in options if key.startswith(("ssl_", "socket_"))}
    for key, value in given:
        if key.startswith(SENTINEL_PREFIX):
            own[key.removeprefix(SENTINEL_PREFIX)] = value
    return list(own.items()), options


def _host(address: str, text: str) -> tuple[str, int]:
    """Return name and port of one sentinel; an IPv6 address stands in brackets."""
    try:
        parts = urlsplit(f"//{text}")
        name, port = parts.hostname, parts.port
    except ValueError:
        name, port = None, None
    if not name or text.endswith(":"):
        raise _refused(address, "must name the sentinels as host or host:port, with commas between")
    return name, SENTINEL_PORT if port is None else port


def _bare(options: dict[str, Any]) -> dict[str, Any]:
    """Leave out what the sentinels will tell, and what kind of connection it is."""
    known_later = ("host", "port", "connection_class")
    return {key: value for key, value in options.items() if key not in known_later}


def _options_of(found: Sentinels) -> tuple[dict[str, Any], dict[str, Any]]:
    return found.options, found.own_options


def _redis_options(address: str) -> dict[str, Any]:
    """Return what redis-py makes of the address of a single server.

    :raises ValueError: it makes nothing of it.
    """
    # Only where they are used: they take their time to import.
    import redis  # noqa: PLC0415
    from redis.connection import parse_url  # noqa: PLC0415

    try:
        pool = redis.ConnectionPool.from_url(address)
        pool.connection_class(**pool.connection_kwargs)
        options: dict[str, Any] = parse_url(address)  # type: ignore[no-untyped-call]
    except (ValueError, TypeError, AttributeError, redis.RedisError):
        raise _refused(
            address,
            "is not an address that redis-py understands. Port and database are numbers, signs such "
            "as / ? # @ in a password are written as %2F %3F %23 %40, and behind a question mark "
            "only options of redis-py may stand, those that begin with ssl_ with rediss:// alone",
        ) from None
    return options


def _check_path(address: str) -> None:
    """See that there is what redis-py would quietly do without."""
    parts = urlsplit(address)
    if address.startswith("unix://"):
        if parts.hostname or not parts.path:
            raise _refused(address, "names no socket; the path begins with a third slash")
    elif parts.path.strip("/") and not parts.path.strip("/").isdecimal():
        raise _refused(address, "must have a number for the database, behind the port")


def _check_certificates(options: dict[str, Any]) -> None:
    """See that the files of certificates and keys are there and can be used.

    :raises ValueError: one is not; with its name.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authorities = options.get("ssl_ca_certs"), options.get("ssl_ca_path")
    certificate, key = options.get("ssl_certfile"), options.get("ssl_keyfile")
    try:
        if any(authorities):
            context.load_verify_locations(*authorities)
        if certificate:
            password = options.get("ssl_password") or ""
            context.load_cert_chain(certificate, key, lambda: password)
    except OSError as error:  # ssl.SSLError is one, too
        files = [name for name in (*authorities, certificate, key) if name]
        raise ValueError(
            f"names {', '.join(files)}, which cannot be used: {error.strerror or error}. Write the "
            "paths of PEM files that this process may read."
        ) from None


def _refused(address: str, what: str) -> ValueError:
    example = EXAMPLES[f"{address.partition('://')[0]}://"]
    return ValueError(f"{what}; write for instance '{example}'.")
