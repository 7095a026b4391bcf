"""Glances are found among the runs that are kept, to be dropped after a day."""

from alembic import op

revision = "0036"
down_revision = "0035"


def upgrade() -> None:
    op.execute("""
        CREATE INDEX run_summary_glances ON reconciler.run_summary (finished_at)
        WHERE scope = 'glance'
    """)


def downgrade() -> None:
    op.execute("DROP INDEX IF EXISTS reconciler.run_summary_glances")
