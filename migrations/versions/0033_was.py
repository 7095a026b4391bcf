"""An edit in Postgres says what a row held before: whom it pointed to is counted anew at once."""

from alembic import op

from reconciler_dagster.postgres import trigger

revision = "0033"
down_revision = "0031"


def upgrade() -> None:
    op.execute("ALTER TABLE reconciler.unsettled ADD COLUMN was jsonb")
    trigger.put_functions(op.get_bind())


def downgrade() -> None:
    # Edits that the function cannot note until `reconciler migrate` has put the older one back are
    # found by comparing.
    op.execute("ALTER TABLE IF EXISTS reconciler.unsettled DROP COLUMN IF EXISTS was")
