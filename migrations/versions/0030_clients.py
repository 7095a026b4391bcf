"""Which clients there are is asked in one place: the portal's table, or a list in the settings."""

from alembic import op

from reconciler_dagster.postgres import listed

revision = "0030"
down_revision = "0021"


def upgrade() -> None:
    listed.read_the_portal(op.get_bind())


def downgrade() -> None:
    op.execute("DROP FUNCTION IF EXISTS reconciler.clients()")
    op.execute("DROP TABLE IF EXISTS reconciler.listed_client")
