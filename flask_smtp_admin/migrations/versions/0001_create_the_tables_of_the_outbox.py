"""Create the tables of the outbox."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "smtp_admin_connection",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("uid", sa.String(length=32), nullable=False),
        sa.Column("caption", sa.String(length=100), nullable=False),
        sa.Column("driver", sa.String(length=40), nullable=False),
        sa.Column("host", sa.String(length=100), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("encryption", sa.String(length=20), nullable=False),
        sa.Column("sender_name", sa.String(length=100), nullable=False),
        sa.Column("sender_address", sa.String(length=255), nullable=False),
        sa.Column("use_auth", sa.Boolean(), nullable=False),
        sa.Column("username", sa.String(length=255), nullable=False),
        sa.Column("password_token", sa.Text(), nullable=True),
        sa.Column(
            "password_changed_at",
            sa.DateTime(timezone=True)
            .with_variant(mysql.DATETIME(fsp=6), "mariadb")
            .with_variant(mysql.DATETIME(fsp=6), "mysql"),
            nullable=True,
        ),
        sa.Column("auth_mechanism", sa.String(length=20), nullable=False),
        sa.Column("allow_plain_auth", sa.Boolean(), nullable=False),
        sa.Column("ca_certificate", sa.Text(), nullable=True),
        sa.Column("connect_timeout", sa.Integer(), nullable=False),
        sa.Column("reply_timeout", sa.Integer(), nullable=False),
        sa.Column("final_timeout", sa.Integer(), nullable=False),
        sa.Column("session_deadline", sa.Integer(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("fallback_id", sa.Integer(), nullable=True),
        sa.Column("hands_over", sa.Boolean(), nullable=False),
        sa.Column("sender_patterns", sa.Text(), nullable=False),
        sa.Column("limit_per_minute", sa.Integer(), nullable=True),
        sa.Column("limit_per_hour", sa.Integer(), nullable=True),
        sa.Column("limit_per_day", sa.Integer(), nullable=True),
        sa.Column("max_sessions", sa.Integer(), nullable=False),
        sa.Column("messages_per_session", sa.Integer(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=True),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True)
            .with_variant(mysql.DATETIME(fsp=6), "mariadb")
            .with_variant(mysql.DATETIME(fsp=6), "mysql"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True)
            .with_variant(mysql.DATETIME(fsp=6), "mariadb")
            .with_variant(mysql.DATETIME(fsp=6), "mysql"),
            nullable=False,
        ),
        sa.CheckConstraint(
            "auth_mechanism IN ('auto', 'CRAM-MD5', 'LOGIN', 'PLAIN', 'XOAUTH2')",
            name=op.f("ck_smtp_admin_connection_auth_mechanism"),
        ),
        sa.CheckConstraint(
            "encryption IN ('none', 'starttls', 'implicit')",
            name=op.f("ck_smtp_admin_connection_encryption"),
        ),
        sa.ForeignKeyConstraint(
            ["fallback_id"],
            ["smtp_admin_connection.id"],
            name=op.f("fk_smtp_admin_connection_fallback_id"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_smtp_admin_connection")),
        sa.UniqueConstraint("caption", name=op.f("uq_smtp_admin_connection_caption")),
        sa.UniqueConstraint("uid", name=op.f("uq_smtp_admin_connection_uid")),
        sqlite_autoincrement=True,
        mysql_charset="utf8mb4",
        mariadb_charset="utf8mb4",
    )
    op.create_table(
        "smtp_admin_worker",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("hostname", sa.String(length=100), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True)
            .with_variant(mysql.DATETIME(fsp=6), "mariadb")
            .with_variant(mysql.DATETIME(fsp=6), "mysql"),
            nullable=False,
        ),
        sa.Column(
            "seen_at",
            sa.DateTime(timezone=True)
            .with_variant(mysql.DATETIME(fsp=6), "mariadb")
            .with_variant(mysql.DATETIME(fsp=6), "mysql"),
            nullable=False,
        ),
        sa.Column(
            "swept_at",
            sa.DateTime(timezone=True)
            .with_variant(mysql.DATETIME(fsp=6), "mariadb")
            .with_variant(mysql.DATETIME(fsp=6), "mysql"),
            nullable=True,
        ),
        sa.Column(
            "stopped_at",
            sa.DateTime(timezone=True)
            .with_variant(mysql.DATETIME(fsp=6), "mariadb")
            .with_variant(mysql.DATETIME(fsp=6), "mysql"),
            nullable=True,
        ),
        sa.Column("sent_count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_smtp_admin_worker")),
        mysql_charset="utf8mb4",
        mariadb_charset="utf8mb4",
    )
    op.create_index(
        op.f("ix_smtp_admin_worker_seen_at"), "smtp_admin_worker", ["seen_at"], unique=False
    )
    op.create_table(
        "smtp_admin_connection_health",
        sa.Column("connection_id", sa.Integer(), nullable=False),
        sa.Column("breaker", sa.String(length=20), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column(
            "retry_at",
            sa.DateTime(timezone=True)
            .with_variant(mysql.DATETIME(fsp=6), "mariadb")
            .with_variant(mysql.DATETIME(fsp=6), "mysql"),
            nullable=True,
        ),
        sa.Column(
            "failing_since",
            sa.DateTime(timezone=True)
            .with_variant(mysql.DATETIME(fsp=6), "mariadb")
            .with_variant(mysql.DATETIME(fsp=6), "mysql"),
            nullable=True,
        ),
        sa.Column(
            "last_ok_at",
            sa.DateTime(timezone=True)
            .with_variant(mysql.DATETIME(fsp=6), "mariadb")
            .with_variant(mysql.DATETIME(fsp=6), "mysql"),
            nullable=True,
        ),
        sa.Column(
            "last_failure_at",
            sa.DateTime(timezone=True)
            .with_variant(mysql.DATETIME(fsp=6), "mariadb")
            .with_variant(mysql.DATETIME(fsp=6), "mysql"),
            nullable=True,
        ),
        sa.Column("last_stage", sa.String(length=20), nullable=True),
        sa.Column("last_code", sa.Integer(), nullable=True),
        sa.Column("last_reply", sa.Text(), nullable=True),
        sa.Column("last_reason", sa.Text(), nullable=True),
        sa.Column("last_advice", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "breaker IN ('closed', 'open', 'paused')",
            name=op.f("ck_smtp_admin_connection_health_breaker"),
        ),
        sa.ForeignKeyConstraint(
            ["connection_id"],
            ["smtp_admin_connection.id"],
            name=op.f("fk_smtp_admin_connection_health_connection_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("connection_id", name=op.f("pk_smtp_admin_connection_health")),
        mysql_charset="utf8mb4",
        mariadb_charset="utf8mb4",
    )
    op.create_table(
        "smtp_admin_message",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("message_id", sa.String(length=255), nullable=False),
        sa.Column(
            "idempotency_key",
            sa.String(length=200)
            .with_variant(mysql.VARCHAR(length=200, collation="utf8mb4_bin"), "mariadb")
            .with_variant(mysql.VARCHAR(length=200, collation="utf8mb4_bin"), "mysql")
            .with_variant(sa.String(length=200, collation="C"), "postgresql"),
            nullable=True,
        ),
        sa.Column("connection_id", sa.Integer(), nullable=True),
        sa.Column("pinned", sa.Boolean(), nullable=False),
        sa.Column("sender", sa.String(length=320), nullable=False),
        sa.Column("from_header", sa.String(length=500), nullable=False),
        sa.Column("subject", sa.String(length=500), nullable=False),
        sa.Column(
            "subject_key",
            sa.String(length=100)
            .with_variant(mysql.VARCHAR(collation="utf8mb4_bin", length=100), "mariadb")
            .with_variant(mysql.VARCHAR(collation="utf8mb4_bin", length=100), "mysql")
            .with_variant(sa.String(length=100, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("first_recipient", sa.String(length=320), nullable=False),
        sa.Column("recipient_count", sa.Integer(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("smtputf8", sa.Boolean(), nullable=False),
        sa.Column("eight_bit", sa.Boolean(), nullable=False),
        sa.Column("automated", sa.Boolean(), nullable=False),
        sa.Column("sensitive", sa.Boolean(), nullable=False),
        sa.Column("at_most_once", sa.Boolean(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column(
            "due_at",
            sa.DateTime(timezone=True)
            .with_variant(mysql.DATETIME(fsp=6), "mariadb")
            .with_variant(mysql.DATETIME(fsp=6), "mysql"),
            nullable=False,
        ),
        sa.Column(
            "expires_at",
            sa.DateTime(timezone=True)
            .with_variant(mysql.DATETIME(fsp=6), "mariadb")
            .with_variant(mysql.DATETIME(fsp=6), "mysql"),
            nullable=True,
        ),
        sa.Column("attempts_count", sa.Integer(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=True),
        sa.Column("crash_count", sa.SmallInteger(), nullable=False),
        sa.Column("lease_token", sa.String(length=36), nullable=True),
        sa.Column(
            "lease_until",
            sa.DateTime(timezone=True)
            .with_variant(mysql.DATETIME(fsp=6), "mariadb")
            .with_variant(mysql.DATETIME(fsp=6), "mysql"),
            nullable=True,
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True)
            .with_variant(mysql.DATETIME(fsp=6), "mariadb")
            .with_variant(mysql.DATETIME(fsp=6), "mysql"),
            nullable=False,
        ),
        sa.Column(
            "last_attempt_at",
            sa.DateTime(timezone=True)
            .with_variant(mysql.DATETIME(fsp=6), "mariadb")
            .with_variant(mysql.DATETIME(fsp=6), "mysql"),
            nullable=True,
        ),
        sa.Column(
            "finished_at",
            sa.DateTime(timezone=True)
            .with_variant(mysql.DATETIME(fsp=6), "mariadb")
            .with_variant(mysql.DATETIME(fsp=6), "mysql"),
            nullable=True,
        ),
        sa.Column("last_stage", sa.String(length=20), nullable=True),
        sa.Column("last_code", sa.Integer(), nullable=True),
        sa.Column("last_enhanced", sa.String(length=12), nullable=True),
        sa.Column("last_reply", sa.Text(), nullable=True),
        sa.Column("detour", sa.String(length=250), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "status IN ('queued', 'sending', 'held', 'sent', 'partial', 'failed', 'deleted')",
            name=op.f("ck_smtp_admin_message_status"),
        ),
        sa.ForeignKeyConstraint(
            ["connection_id"],
            ["smtp_admin_connection.id"],
            name=op.f("fk_smtp_admin_message_connection_id"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_smtp_admin_message")),
        sqlite_autoincrement=True,
        mysql_charset="utf8mb4",
        mariadb_charset="utf8mb4",
    )
    op.create_index(
        op.f("ix_smtp_admin_message_connection_id_id"),
        "smtp_admin_message",
        ["connection_id", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_smtp_admin_message_lease_token"),
        "smtp_admin_message",
        ["lease_token"],
        unique=False,
        sqlite_where=sa.text("lease_token IS NOT NULL"),
        postgresql_where=sa.text("lease_token IS NOT NULL"),
    )
    op.create_index(
        op.f("ix_smtp_admin_message_idempotency_key"),
        "smtp_admin_message",
        ["idempotency_key"],
        unique=True,
        sqlite_where=sa.text("idempotency_key IS NOT NULL"),
        postgresql_where=sa.text("idempotency_key IS NOT NULL"),
    )
    op.create_index(
        op.f("ix_smtp_admin_message_message_id"), "smtp_admin_message", ["message_id"], unique=False
    )
    op.create_index(
        op.f("ix_smtp_admin_message_status_connection_id_priority_due_at_id"),
        "smtp_admin_message",
        ["status", "connection_id", "priority", "due_at", "id"],
        unique=False,
        sqlite_where=sa.text("status = 'queued'"),
        postgresql_where=sa.text("status = 'queued'"),
    )
    op.create_index(
        op.f("ix_smtp_admin_message_status_due_at_id"),
        "smtp_admin_message",
        ["status", "due_at", "id"],
        unique=False,
        sqlite_where=sa.text("status = 'queued'"),
        postgresql_where=sa.text("status = 'queued'"),
    )
    op.create_index(
        op.f("ix_smtp_admin_message_status_expires_at"),
        "smtp_admin_message",
        ["status", "expires_at"],
        unique=False,
        sqlite_where=sa.text("expires_at IS NOT NULL"),
        postgresql_where=sa.text("expires_at IS NOT NULL"),
    )
    op.create_index(
        op.f("ix_smtp_admin_message_status_finished_at"),
        "smtp_admin_message",
        ["status", "finished_at"],
        unique=False,
        sqlite_where=sa.text("finished_at IS NOT NULL"),
        postgresql_where=sa.text("finished_at IS NOT NULL"),
    )
    op.create_index(
        op.f("ix_smtp_admin_message_status_id"),
        "smtp_admin_message",
        ["status", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_smtp_admin_message_status_lease_until"),
        "smtp_admin_message",
        ["status", "lease_until"],
        unique=False,
        sqlite_where=sa.text("lease_until IS NOT NULL"),
        postgresql_where=sa.text("lease_until IS NOT NULL"),
    )
    op.create_index(
        op.f("ix_smtp_admin_message_subject_key_id"),
        "smtp_admin_message",
        ["subject_key", "id"],
        unique=False,
    )
    op.create_table(
        "smtp_admin_attempt",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "message_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("connection_id", sa.Integer(), nullable=True),
        sa.Column("counted", sa.Boolean(), nullable=False),
        sa.Column("lease_token", sa.String(length=36), nullable=True),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column(
            "finished_at",
            sa.DateTime(timezone=True)
            .with_variant(mysql.DATETIME(fsp=6), "mariadb")
            .with_variant(mysql.DATETIME(fsp=6), "mysql"),
            nullable=False,
        ),
        sa.Column("milliseconds", sa.Integer(), nullable=True),
        sa.Column("stage", sa.String(length=20), nullable=True),
        sa.Column("smtp_code", sa.Integer(), nullable=True),
        sa.Column("enhanced_code", sa.String(length=12), nullable=True),
        sa.Column("reply", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("advice", sa.Text(), nullable=True),
        sa.Column("tls", sa.String(length=200), nullable=True),
        sa.Column("connection", sa.String(length=100), nullable=False),
        sa.Column("host", sa.String(length=100), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("encryption", sa.String(length=20), nullable=False),
        sa.Column("use_auth", sa.Boolean(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("sender", sa.String(length=320), nullable=False),
        sa.Column(
            "recipient",
            sa.String(length=320)
            .with_variant(mysql.VARCHAR(collation="utf8mb4_bin", length=320), "mariadb")
            .with_variant(mysql.VARCHAR(collation="utf8mb4_bin", length=320), "mysql")
            .with_variant(sa.String(length=320, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("recipient_count", sa.Integer(), nullable=False),
        sa.Column("subject", sa.String(length=500), nullable=False),
        sa.Column(
            "subject_key",
            sa.String(length=100)
            .with_variant(mysql.VARCHAR(collation="utf8mb4_bin", length=100), "mariadb")
            .with_variant(mysql.VARCHAR(collation="utf8mb4_bin", length=100), "mysql")
            .with_variant(sa.String(length=100, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("detour", sa.String(length=250), nullable=True),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True)
            .with_variant(mysql.DATETIME(fsp=6), "mariadb")
            .with_variant(mysql.DATETIME(fsp=6), "mysql"),
            nullable=False,
        ),
        sa.Column("worker", sa.String(length=120), nullable=True),
        sa.Column("dialogue", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "status IN ('FAIL', 'SUCCESS')",
            name=op.f("ck_smtp_admin_attempt_status"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_smtp_admin_attempt")),
        sqlite_autoincrement=True,
        mysql_charset="utf8mb4",
        mariadb_charset="utf8mb4",
    )
    op.create_index(
        op.f("ix_smtp_admin_attempt_connection_id_id"),
        "smtp_admin_attempt",
        ["connection_id", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_smtp_admin_attempt_connection_id_started_at"),
        "smtp_admin_attempt",
        ["connection_id", "started_at"],
        unique=False,
    )
    op.create_index(
        op.f("ix_smtp_admin_attempt_message_id_id"),
        "smtp_admin_attempt",
        ["message_id", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_smtp_admin_attempt_recipient_id"),
        "smtp_admin_attempt",
        ["recipient", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_smtp_admin_attempt_smtp_code_id"),
        "smtp_admin_attempt",
        ["smtp_code", "id"],
        unique=False,
        sqlite_where=sa.text("smtp_code >= 300"),
        postgresql_where=sa.text("smtp_code >= 300"),
    )
    op.create_index(
        op.f("ix_smtp_admin_attempt_status_id"),
        "smtp_admin_attempt",
        ["status", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_smtp_admin_attempt_subject_key_id"),
        "smtp_admin_attempt",
        ["subject_key", "id"],
        unique=False,
    )
    op.create_table(
        "smtp_admin_flight",
        sa.Column(
            "message_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("connection_id", sa.Integer(), nullable=True),
        sa.Column("lease_token", sa.String(length=36), nullable=False),
        sa.Column("connection", sa.String(length=100), nullable=False),
        sa.Column("host", sa.String(length=100), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("encryption", sa.String(length=20), nullable=False),
        sa.Column("use_auth", sa.Boolean(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("sender", sa.String(length=320), nullable=False),
        sa.Column(
            "recipient",
            sa.String(length=320)
            .with_variant(mysql.VARCHAR(collation="utf8mb4_bin", length=320), "mariadb")
            .with_variant(mysql.VARCHAR(collation="utf8mb4_bin", length=320), "mysql")
            .with_variant(sa.String(length=320, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("recipient_count", sa.Integer(), nullable=False),
        sa.Column("subject", sa.String(length=500), nullable=False),
        sa.Column(
            "subject_key",
            sa.String(length=100)
            .with_variant(mysql.VARCHAR(collation="utf8mb4_bin", length=100), "mariadb")
            .with_variant(mysql.VARCHAR(collation="utf8mb4_bin", length=100), "mysql")
            .with_variant(sa.String(length=100, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("detour", sa.String(length=250), nullable=True),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True)
            .with_variant(mysql.DATETIME(fsp=6), "mariadb")
            .with_variant(mysql.DATETIME(fsp=6), "mysql"),
            nullable=False,
        ),
        sa.Column("worker", sa.String(length=120), nullable=True),
        sa.PrimaryKeyConstraint("message_id", name=op.f("pk_smtp_admin_flight")),
        mysql_charset="utf8mb4",
        mariadb_charset="utf8mb4",
    )
    op.create_table(
        "smtp_admin_session_hold",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("connection_id", sa.Integer(), nullable=False),
        sa.Column("sessions", sa.Integer(), nullable=False),
        sa.Column(
            "held_until",
            sa.DateTime(timezone=True)
            .with_variant(mysql.DATETIME(fsp=6), "mariadb")
            .with_variant(mysql.DATETIME(fsp=6), "mysql"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["connection_id"],
            ["smtp_admin_connection.id"],
            name=op.f("fk_smtp_admin_session_hold_connection_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_smtp_admin_session_hold")),
        mysql_charset="utf8mb4",
        mariadb_charset="utf8mb4",
    )
    op.create_index(
        op.f("ix_smtp_admin_session_hold_connection_id"),
        "smtp_admin_session_hold",
        ["connection_id"],
        unique=False,
    )
    op.create_table(
        "smtp_admin_message_body",
        sa.Column(
            "message_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("part", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column(
            "content",
            sa.LargeBinary()
            .with_variant(mysql.LONGBLOB(), "mariadb")
            .with_variant(mysql.LONGBLOB(), "mysql"),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["message_id"],
            ["smtp_admin_message.id"],
            name=op.f("fk_smtp_admin_message_body_message_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("message_id", "part", name=op.f("pk_smtp_admin_message_body")),
        mysql_charset="utf8mb4",
        mariadb_charset="utf8mb4",
    )
    op.create_table(
        "smtp_admin_recipient",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "message_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("address", sa.String(length=320), nullable=False),
        sa.Column(
            "address_key",
            sa.String(length=320)
            .with_variant(mysql.VARCHAR(collation="utf8mb4_bin", length=320), "mariadb")
            .with_variant(mysql.VARCHAR(collation="utf8mb4_bin", length=320), "mysql")
            .with_variant(sa.String(length=320, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.Column("kind", sa.String(length=3), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("smtp_code", sa.Integer(), nullable=True),
        sa.Column("enhanced_code", sa.String(length=12), nullable=True),
        sa.Column("reply", sa.Text(), nullable=True),
        sa.Column(
            "finished_at",
            sa.DateTime(timezone=True)
            .with_variant(mysql.DATETIME(fsp=6), "mariadb")
            .with_variant(mysql.DATETIME(fsp=6), "mysql"),
            nullable=True,
        ),
        sa.CheckConstraint(
            "kind IN ('to', 'cc', 'bcc')", name=op.f("ck_smtp_admin_recipient_kind")
        ),
        sa.CheckConstraint(
            "status IN ('pending', 'sent', 'failed')", name=op.f("ck_smtp_admin_recipient_status")
        ),
        sa.ForeignKeyConstraint(
            ["message_id"],
            ["smtp_admin_message.id"],
            name=op.f("fk_smtp_admin_recipient_message_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_smtp_admin_recipient")),
        sqlite_autoincrement=True,
        mysql_charset="utf8mb4",
        mariadb_charset="utf8mb4",
        postgresql_with={"fillfactor": "70"},
    )
    op.create_index(
        op.f("ix_smtp_admin_recipient_address_key_message_id"),
        "smtp_admin_recipient",
        ["address_key", "message_id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_smtp_admin_recipient_message_id"),
        "smtp_admin_recipient",
        ["message_id"],
        unique=False,
    )


def downgrade() -> None:
    op.drop_index(
        op.f("ix_smtp_admin_session_hold_connection_id"), table_name="smtp_admin_session_hold"
    )
    op.drop_table("smtp_admin_session_hold")
    op.drop_table("smtp_admin_flight")
    op.drop_index(op.f("ix_smtp_admin_recipient_message_id"), table_name="smtp_admin_recipient")
    op.drop_index(
        op.f("ix_smtp_admin_recipient_address_key_message_id"), table_name="smtp_admin_recipient"
    )
    op.drop_table("smtp_admin_recipient")
    op.drop_table("smtp_admin_message_body")
    op.drop_index(op.f("ix_smtp_admin_attempt_subject_key_id"), table_name="smtp_admin_attempt")
    op.drop_index(op.f("ix_smtp_admin_attempt_status_id"), table_name="smtp_admin_attempt")
    op.drop_index(op.f("ix_smtp_admin_attempt_smtp_code_id"), table_name="smtp_admin_attempt")
    op.drop_index(op.f("ix_smtp_admin_attempt_recipient_id"), table_name="smtp_admin_attempt")
    op.drop_index(op.f("ix_smtp_admin_attempt_message_id_id"), table_name="smtp_admin_attempt")
    op.drop_index(
        op.f("ix_smtp_admin_attempt_connection_id_started_at"), table_name="smtp_admin_attempt"
    )
    op.drop_index(op.f("ix_smtp_admin_attempt_connection_id_id"), table_name="smtp_admin_attempt")
    op.drop_table("smtp_admin_attempt")
    op.drop_index(op.f("ix_smtp_admin_message_subject_key_id"), table_name="smtp_admin_message")
    op.drop_index(
        op.f("ix_smtp_admin_message_status_lease_until"),
        table_name="smtp_admin_message",
        sqlite_where=sa.text("lease_until IS NOT NULL"),
        postgresql_where=sa.text("lease_until IS NOT NULL"),
    )
    op.drop_index(op.f("ix_smtp_admin_message_status_id"), table_name="smtp_admin_message")
    op.drop_index(
        op.f("ix_smtp_admin_message_status_finished_at"),
        table_name="smtp_admin_message",
        sqlite_where=sa.text("finished_at IS NOT NULL"),
        postgresql_where=sa.text("finished_at IS NOT NULL"),
    )
    op.drop_index(
        op.f("ix_smtp_admin_message_status_expires_at"),
        table_name="smtp_admin_message",
        sqlite_where=sa.text("expires_at IS NOT NULL"),
        postgresql_where=sa.text("expires_at IS NOT NULL"),
    )
    op.drop_index(
        op.f("ix_smtp_admin_message_status_due_at_id"),
        table_name="smtp_admin_message",
        sqlite_where=sa.text("status = 'queued'"),
        postgresql_where=sa.text("status = 'queued'"),
    )
    op.drop_index(
        op.f("ix_smtp_admin_message_status_connection_id_priority_due_at_id"),
        table_name="smtp_admin_message",
        sqlite_where=sa.text("status = 'queued'"),
        postgresql_where=sa.text("status = 'queued'"),
    )
    op.drop_index(op.f("ix_smtp_admin_message_message_id"), table_name="smtp_admin_message")
    op.drop_index(
        op.f("ix_smtp_admin_message_idempotency_key"),
        table_name="smtp_admin_message",
        sqlite_where=sa.text("idempotency_key IS NOT NULL"),
        postgresql_where=sa.text("idempotency_key IS NOT NULL"),
    )
    op.drop_index(
        op.f("ix_smtp_admin_message_lease_token"),
        table_name="smtp_admin_message",
        sqlite_where=sa.text("lease_token IS NOT NULL"),
        postgresql_where=sa.text("lease_token IS NOT NULL"),
    )
    op.drop_index(op.f("ix_smtp_admin_message_connection_id_id"), table_name="smtp_admin_message")
    op.drop_table("smtp_admin_message")
    op.drop_table("smtp_admin_connection_health")
    op.drop_index(op.f("ix_smtp_admin_worker_seen_at"), table_name="smtp_admin_worker")
    op.drop_table("smtp_admin_worker")
    op.drop_table("smtp_admin_connection")
