"""A base knows whose limit it shares: its token's. One process at a time drops what is old."""

from alembic import op

revision = "0034"
down_revision = "0033"


def upgrade() -> None:
    op.execute("""
        -- A digest of the token that the base is called with.
        ALTER TABLE reconciler.call_bucket ADD COLUMN token text;
        CREATE INDEX call_bucket_by_token ON reconciler.call_bucket (token);
        -- When somebody last dropped what is old.
        CREATE TABLE reconciler.pruned (
            single boolean PRIMARY KEY DEFAULT true CHECK (single),
            at timestamptz NOT NULL
        );
    """)


def downgrade() -> None:
    op.execute("""
        DROP TABLE IF EXISTS reconciler.pruned;
        ALTER TABLE reconciler.call_bucket DROP COLUMN IF EXISTS token;
    """)
