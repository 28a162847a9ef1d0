"""How much is measured: the full form, and the short one that CI can afford.

Owns every count. Must not know how anything is measured.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """The counts of a run.

    :param rounds: how often contenders take turns.
    :param messages: how many an outbox holds that is drained.
    :param messages_plain: so many that it lasts as long as the others. With a server that is far it
        sends fewer: its rate is that of the way, each time.
    :param sessions: numbers of SMTP sessions that ours is given.
    """

    name: str
    rounds: int
    messages: int
    messages_plain: int
    messages_mailer: int
    messages_flask_mail: int
    messages_rq: int
    messages_far: int
    messages_far_plain: int
    messages_enqueued: int
    sessions: tuple[int, ...]
    wakes: int
    urgent: int
    history: int
    due: int
    claims: int
    contended: int
    page_views: int
    memory_messages: int
    large_bytes: int
    requests: int
    starts: int


FULL = Scale(
    name="full",
    rounds=5,
    messages=5_000,
    messages_plain=20_000,
    messages_mailer=5_000,
    messages_flask_mail=5_000,
    messages_rq=5_000,
    messages_far=5_000,
    messages_far_plain=200,
    messages_enqueued=5_000,
    sessions=(1, 10, 20, 40),
    wakes=200,
    urgent=100,
    history=1_000_000,
    due=100_000,
    claims=40,
    contended=40_000,
    page_views=40,
    memory_messages=100_000,
    large_bytes=15_000_000,
    requests=2_000,
    starts=5,
)
QUICK = Scale(
    name="quick",
    rounds=1,
    messages=300,
    messages_plain=3_000,
    messages_mailer=100,
    messages_flask_mail=100,
    messages_rq=100,
    messages_far=300,
    messages_far_plain=20,
    messages_enqueued=100,
    sessions=(20,),
    wakes=20,
    urgent=3,
    history=20_000,
    due=2_000,
    claims=5,
    contended=2_000,
    page_views=5,
    memory_messages=2_000,
    large_bytes=15_000_000,
    requests=500,
    starts=2,
)
