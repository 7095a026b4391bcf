"""Consent is to the syncs that a person was shown: one that is added later waits for its own."""

from alembic import op

revision = "0031"
down_revision = "0030"


def upgrade() -> None:
    op.execute("""
        -- Which of the client's syncs were adopted; NULL: every one that it has or gets. Those that
        -- have agreed on anything were in use, and count as adopted.
        ALTER TABLE reconciler.adoption ADD COLUMN syncs text[];
        UPDATE reconciler.adoption a SET syncs = ARRAY(
            SELECT 'leads' UNION
            SELECT sync FROM reconciler.cursor WHERE client_id = a.client_id UNION
            SELECT sync FROM reconciler.baseline WHERE client_id = a.client_id
        );
    """)


def downgrade() -> None:
    op.execute("ALTER TABLE reconciler.adoption DROP COLUMN syncs")
