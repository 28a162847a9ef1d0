"""A lease ends in time, whatever happens to the machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone

import pytest

from flask_smtp_admin.delivery import lease
from flask_smtp_admin.delivery.lease import Clockwork, Lease, Leases
from tests.servers.process import ServerMissing, find_program, skip_or_fail

SUSPENDED = 1000
"""Seconds."""


def test_a_lease_ends_while_the_machine_is_suspended(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Lease(timedelta(seconds=45), 2.0)
    assert one.holds()
    before = lease.uptime()
    monkeypatch.setattr(lease, "uptime", lambda: before + SUSPENDED)
    assert not one.holds()
    one.renewed(before + SUSPENDED)
    assert one.holds()


def test_who_cannot_renew_a_lease_leaves_the_server_time_for_its_last_reply(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lasts, reply, margin = timedelta(minutes=15), 600.0, 2.0
    one = Leases(lasts, margin, is_renewed=False).new(reply)
    before = lease.uptime()
    assert one.lasts == timedelta(minutes=25)
    monkeypatch.setattr(lease, "uptime", lambda: before + 15 * 60 - 2 * margin)
    assert one.lets_end()
    monkeypatch.setattr(lease, "uptime", lambda: before + 15 * 60)
    assert not one.lets_end()
    assert one.holds(), "what came of it can still be written"
    renewed = Leases(timedelta(seconds=45), margin).new(reply)
    assert renewed.lasts == timedelta(seconds=45)
    assert renewed.lets_end()


def test_after_a_suspension_nothing_is_taken_back_until_living_workers_have_renewed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The clock of the database has gone on, and so has ours, but nobody could renew anything."""
    clockwork, now = Clockwork(pause=21.0), datetime.now(timezone.utc)
    assert clockwork.is_steady(now)
    slept = timedelta(seconds=SUSPENDED)
    after = lease.uptime() + slept.total_seconds()
    monkeypatch.setattr(lease, "uptime", lambda: after)
    assert not clockwork.is_steady(now + slept)
    assert not clockwork.is_trusted(now + slept)
    monkeypatch.setattr(time, "monotonic", lambda: after)
    assert Clockwork(pause=21.0).is_steady(now + slept)


def test_after_an_outage_nothing_is_taken_back_until_living_workers_have_renewed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clockwork, now = Clockwork(pause=21.0, gap=24.0, doubt=5.0), datetime.now(timezone.utc)
    began, since = time.monotonic(), lease.uptime()

    def look(seconds: float) -> tuple[bool, bool]:
        monkeypatch.setattr(time, "monotonic", lambda: began + seconds)
        monkeypatch.setattr(lease, "uptime", lambda: since + seconds)
        then = now + timedelta(seconds=seconds)
        return clockwork.is_steady(then), clockwork.is_trusted(then)

    assert look(0) == (True, False), "what was before it looked, it does not know"
    assert look(4) == (True, False)
    assert look(6) == (True, True)
    assert look(29) == (True, True)
    assert look(44) == (True, True)
    assert look(84) == (False, False)
    assert look(94) == (False, False)
    assert look(106) == (True, True)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can be told how long it has slept")
def test_the_time_goes_on_while_the_machine_is_suspended() -> None:
    """A process for which the machine has been suspended: its two clocks differ by as much."""
    try:
        unshare = find_program("unshare", hint="apt-get install util-linux")
    except ServerMissing as missing:
        skip_or_fail(missing)
    mapped = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    asked = "import time; from flask_smtp_admin.delivery.lease import uptime as u"
    told = subprocess.run(
        [
            *(unshare, *mapped, "--time", "--boottime", str(SUSPENDED), "--fork"),
            *(sys.executable, "-c", f"{asked}; print(round(u() - time.monotonic()))"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if told.stderr.startswith("unshare"):
        pytest.skip(f"this kernel has no clocks for one process alone: {told.stderr}")
    assert int(told.stdout) >= SUSPENDED
