"""What the portal's HTTP API keeps: the answers to requests that must act only once."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.execute("""
        CREATE TABLE reconciler.idempotency_key (
            user_id uuid NOT NULL,
            key text NOT NULL,
            -- A hash of method, path and body: the same key must come with the same request.
            fingerprint text NOT NULL,
            answer jsonb,
            created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            PRIMARY KEY (user_id, key)
        );
        CREATE INDEX ON reconciler.idempotency_key (created_at);
    """)


def downgrade() -> None:
    op.execute("DROP TABLE reconciler.idempotency_key")
