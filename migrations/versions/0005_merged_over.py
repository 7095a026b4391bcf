"""What a merged text was built on, so that an interrupted merge is known again as one."""

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.execute("""
        -- Airtable's texts, by field, on which the portal's additions were put.
        ALTER TABLE reconciler.journal ADD COLUMN merged_over jsonb NOT NULL DEFAULT '{}';
    """)


def downgrade() -> None:
    op.execute("ALTER TABLE reconciler.journal DROP COLUMN merged_over")
