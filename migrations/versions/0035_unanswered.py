"""What runs left without an answer is found without reading a day of runs."""

from alembic import op

revision = "0035"
down_revision = "0034"


def upgrade() -> None:
    op.execute("""
        -- Almost empty: the next run of the client settles such writes.
        CREATE INDEX run_summary_unanswered ON reconciler.run_summary (finished_at)
            WHERE findings -> 'unanswered' > CAST('0' AS jsonb);
    """)


def downgrade() -> None:
    op.execute("DROP INDEX IF EXISTS reconciler.run_summary_unanswered")
