"""The data folder: where the example keeps everything that outlives a start.

Owns its layout, the generated secrets, and the note with which the processes find each other. Must
not know Flask.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

VARIABLE = "EXAMPLE_APP_DATA"
DEFAULT = Path(__file__).resolve().parent.parent / "instance"
LONGEST_SOCKET_PATH = 100
"""Bytes; the address of a Unix socket holds 104 on some systems and 108 on Linux."""
LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"
"""What a person copies from a terminal without taking one for another."""


@dataclass(frozen=True)
class Notes:
    """What one start decided and the processes, and a shell beside them, have to know."""

    smtp_port: int | None = None
    redis_url: str | None = None
    """Address of the Valkey server; ``None``: the web server delivers by itself."""
    web_url: str = ""


@dataclass(frozen=True)
class DataFolder:
    """The folder of one example; nothing is made before it is asked for."""

    path: Path

    @classmethod
    def from_environment(cls) -> DataFolder:
        """Return the folder that ``EXAMPLE_APP_DATA`` names, or ``instance/`` beside the package."""
        return cls(Path(os.environ.get(VARIABLE) or DEFAULT).resolve())

    @property
    def database_uri(self) -> str:
        """Address of the shop's database, which holds the outbox too."""
        return f"sqlite:///{self._database}"

    @property
    def mail(self) -> Path:
        """What the mail server took, one file a message."""
        return self.path / "mail"

    @property
    def redis(self) -> Path:
        """The data of the Valkey server."""
        return self.path / "valkey"

    @property
    def logs(self) -> Path:
        """What the processes print."""
        return self.path / "logs"

    @property
    def lock(self) -> Path:
        """Locked while the example runs."""
        return self.path / "running"

    def make(self) -> None:
        """Create the folder and its parts, readable by their owner alone."""
        for folder in (self.path, self.mail, self.redis, self.logs):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite would make it readable for all; its -wal and -shm take the mode of the file.
        self._database.touch(mode=0o600)

    def socket_path(self, name: str) -> Path:
        """Return where a Unix socket may be: here, or in a private folder when the path is long.

        :raises PermissionError: that folder belongs to somebody else.
        """
        here = self.path / f"{name}.sock"
        if len(os.fsencode(here)) <= LONGEST_SOCKET_PATH:
            return here
        digest = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:16]
        folder = Path(tempfile.gettempdir()) / f"example-app-{digest}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        if found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise PermissionError(f"{folder} is not private to this user; remove it.")
        return folder / f"{name}.sock"

    def secret_key(self) -> str:
        """Return the application's ``SECRET_KEY``, made at the first start."""
        return self._kept("secret-key", lambda: secrets.token_hex(32))

    def password(self) -> str:
        """Return the administrator's password, made at the first start."""

        def invent() -> str:
            letters = [secrets.choice(LETTERS) for _ in range(12)]
            return "-".join("".join(letters[start : start + 4]) for start in (0, 4, 8))

        return self._kept("password", invent)

    def read_notes(self) -> Notes | None:
        """Return what the last start decided, or ``None`` before the first."""
        try:
            return Notes(**json.loads(self._notes.read_text("utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def write_notes(self, notes: Notes) -> None:
        """Keep what this start decided."""
        write_whole(self._notes, json.dumps(asdict(notes)).encode())

    @property
    def _database(self) -> Path:
        return self.path / "shop.sqlite3"

    @property
    def _notes(self) -> Path:
        return self.path / "notes.json"

    def _kept(self, name: str, invent: Callable[[], str]) -> str:
        file = self.path / name
        with contextlib.suppress(FileNotFoundError):
            return file.read_text("ascii")
        self.make()
        value = invent()
        write_whole(file, value.encode("ascii"))
        return value


def write_whole(file: Path, content: bytes) -> None:
    """Write a file so that no reader ever finds a part of it; its owner alone may read it."""
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    with open(beside, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as stream:
        stream.write(content)
    beside.replace(file)
