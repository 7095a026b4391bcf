"""The call budget remembers when the last calls arrived, instead of when the next one may go."""

from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.execute("""
        ALTER TABLE reconciler.call_bucket
            DROP COLUMN next_slot,
            -- When the last calls arrived or will arrive, the latest first: as many as a second may
            -- see.
            ADD COLUMN arrivals timestamptz[] NOT NULL DEFAULT '{}';
    """)


def downgrade() -> None:
    op.execute("""
        ALTER TABLE reconciler.call_bucket
            DROP COLUMN arrivals,
            ADD COLUMN next_slot timestamptz NOT NULL DEFAULT clock_timestamp();
    """)
