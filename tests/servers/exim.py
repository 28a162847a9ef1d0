"""A private Exim: a real mail server with TLS and AUTH that delivers to a maildir.

It takes mail only from somebody who logged in (alice, s3cret), and offers AUTH only inside TLS.
``nosuch@…`` is refused, ``defer@…`` put off, everything else arrives.
"""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import smtplib
from pathlib import Path
from string import Template
from types import TracebackType

import trustme

from tests.servers.process import (
    HOST,
    ServerProcess,
    find_program,
    free_port,
    private_folder,
    unprivileged_user,
)
from tests.waiting import wait_until

HINT = "exim4 is not installed: apt-get install exim4-daemon-light"
NAME = "mail.example.test"
USERNAME = "alice"
PASSWORD = "s3cret"

CONFIGURATION = Template("""\
# Who it is, where it lives.
primary_hostname = $name
qualify_domain = example.test
exim_path = $program
exim_user = $user
exim_group = $group
never_users =
deliver_drop_privilege = true
keep_environment =
add_environment = PATH=/usr/bin:/bin
spool_directory = $folder/spool
log_file_path = $folder/log/%slog
pid_file_path = $folder/pid

# Where it listens: $port speaks STARTTLS, $tls_port speaks TLS from the first byte.
local_interfaces = 127.0.0.1
daemon_smtp_ports = $port : $tls_port
tls_on_connect_ports = $tls_port
host_lookup =
rfc1413_query_timeout = 0s
smtp_accept_max = 200
smtp_accept_queue_per_connection = 0
smtp_accept_max_per_connection = 0
smtp_enforce_sync = true
message_size_limit = 1M

# TLS for everybody, AUTH only inside it.
tls_advertise_hosts = *
tls_certificate = $folder/certificate.pem
tls_privatekey = $folder/key.pem
auth_advertise_hosts = $${if def:tls_in_cipher {*}{}}

acl_smtp_rcpt = check_recipient
acl_smtp_data = accept

begin acl

check_recipient:
  deny
    local_parts = nosuch
    message     = 550 5.1.1 no such user here
  defer
    local_parts = defer
    message     = 451 4.7.1 greylisted, try again later
  accept
    authenticated = *
  deny
    message = 550 5.7.1 relaying denied, log in first

begin routers

everything:
  driver    = accept
  transport = folder

begin transports

folder:
  driver = appendfile
  maildir_format
  create_directory
  directory = $folder/mail
  user = $user
  group = $group
  envelope_to_add
  return_path_add

begin retry

* * F,1h,1m

begin authenticators

by_plain:
  driver           = plaintext
  public_name      = PLAIN
  server_prompts   = :
  server_condition = $${if and {{eq {$$auth2}{$username}} {eq {$$auth3}{$password}}}}
  server_set_id    = $$auth2

by_login:
  driver           = plaintext
  public_name      = LOGIN
  server_prompts   = <| Username: | Password:
  server_condition = $${if and {{eq {$$auth1}{$username}} {eq {$$auth2}{$password}}}}
  server_set_id    = $$auth1

by_cram_md5:
  driver        = cram_md5
  public_name   = CRAM-MD5
  server_secret = $${if eq {$$auth1}{$username} {$password} fail}
  server_set_id = $$auth1
""")


class EximServer:
    """An Exim on loopback; a context manager. It can be stopped and started on the same ports.

    :raises ServerMissing: Exim is not installed.
    """

    def __init__(self) -> None:
        installed = find_program("exim4", "exim", hint=HINT)
        self.host = HOST
        self.name = NAME
        self.username = USERNAME
        self.password = PASSWORD
        self.port = free_port()
        self.tls_port = free_port()
        owner = unprivileged_user()  # Exim delivers to no mailbox of root
        self._folder = private_folder("exim", owner)
        self.ca_pem = self._write_certificate()
        # A copy, because the installed one is set-uid root: that would clear the signal which ends
        # it with us.
        program = self._folder / "exim"
        shutil.copy(os.path.realpath(installed), program)
        configuration = self._write_configuration(program, owner)
        for path in self._folder.iterdir():
            shutil.chown(path, owner or os.geteuid())
        self._process = ServerProcess(
            [program, "-C", configuration, "-bdf", "-q30s"],
            ready=self._answers,
            log=self._folder / "output",
            user=owner,
        )
        self.start = self._process.start
        self.stop = self._process.stop
        self.kill = self._process.kill

    def __enter__(self) -> EximServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def restart(self) -> None:
        """Stop and start on the same ports; what was delivered stays."""
        self.stop()
        self.start()

    def messages(self) -> list[bytes]:
        """What was delivered, oldest first; Exim adds Return-path and Envelope-to headers."""
        # By time, as Maildir names do not sort within a second.
        delivered = sorted(self._delivered(), key=lambda path: path.stat().st_mtime_ns)
        return [path.read_bytes() for path in delivered]

    def wait_for(self, count: int) -> list[bytes]:
        """Wait until at least ``count`` messages are in the maildir and return them all."""
        wait_until(lambda: len(self.messages()) >= count, what=f"{count} messages at Exim")
        return self.messages()

    def clear(self) -> None:
        """Forget what was delivered, and what Exim has accepted and is about to deliver."""
        spool = self._folder / "spool" / "input"
        wait_until(lambda: not any(spool.glob("*-H")), what="Exim's empty spool")
        for path in self._delivered():
            path.unlink()

    def log(self) -> str:
        """Exim's main log, for a failing test's report."""
        path = self._folder / "log" / "mainlog"
        return path.read_text(errors="replace") if path.exists() else ""

    def _delivered(self) -> list[Path]:
        return list((self._folder / "mail" / "new").glob("*"))

    def _write_certificate(self) -> str:
        """Make a certificate for the server's name and address; return its authority's PEM."""
        authority = trustme.CA()
        issued = authority.issue_cert(NAME, "localhost", HOST)
        issued.private_key_pem.write_to_path(self._folder / "key.pem")
        for part in issued.cert_chain_pems:
            part.write_to_path(self._folder / "certificate.pem", append=True)
        return authority.cert_pem.bytes().decode()

    def _write_configuration(self, program: Path, owner: str) -> Path:
        user = pwd.getpwnam(owner) if owner else pwd.getpwuid(os.geteuid())
        path = self._folder / "exim.conf"
        path.write_text(
            CONFIGURATION.substitute(
                name=NAME,
                program=program,
                user=user.pw_name,
                group=grp.getgrgid(user.pw_gid).gr_name,
                folder=self._folder,
                port=self.port,
                tls_port=self.tls_port,
                username=USERNAME,
                password=PASSWORD,
            )
        )
        path.chmod(0o600)
        return path

    def _answers(self) -> bool:
        try:
            with smtplib.SMTP(self.host, self.port, timeout=5):
                pass
            with smtplib.SMTP_SSL(self.host, self.tls_port, timeout=5):
                return True
        except (OSError, smtplib.SMTPException):
            return False
