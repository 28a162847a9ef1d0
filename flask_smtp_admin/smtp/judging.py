"""What a reply at a stage means: the table that turns both into a verdict.

Owns the rules and their sentences. Pure: it must not know sockets, settings or messages.
"""

from __future__ import annotations

from flask_smtp_admin.smtp.reply import Reply, Stage, Verdict


def judge(stage: Stage, reply: Reply) -> Verdict:
    """What *reply* at *stage* means.

    The first digit decides between accepted, temporary and permanent (RFC 5321 section 4.2.1);
    the enhanced code (RFC 3463) and, last, the words refine whom it is about.
    """
    raise NotImplementedError
