"""A trigger that cannot make a portal's write fail, and what tells that it was not at work."""

import sqlalchemy as sa
from alembic import context, op

from reconciler_dagster.core.records import WHOLE
from reconciler_dagster.postgres import trigger

revision = "0006"
down_revision = "0005"

OLD = ("note_lead_edit", "note_leads_truncated")


def upgrade() -> None:
    for name in OLD:  # and the triggers with them
        op.execute(f"DROP FUNCTION IF EXISTS reconciler.{name}() CASCADE")
    trigger.install(op.get_bind())
    # Leads of the portal's own, without a record of Airtable, are nobody's to miss.
    for table in ("unsettled", "quarantine", "tombstone"):
        kept = " AND state <> 'deleted'" if table == "tombstone" else ""
        op.get_bind().execute(
            sa.text(f"DELETE FROM reconciler.{table} WHERE record_id !~ :whole{kept}"),
            {"whole": WHOLE},
        )


def downgrade() -> None:
    trigger.remove(op.get_bind())
    op.execute("DROP TABLE IF EXISTS reconciler.guard, reconciler.trigger_trouble")
    leads = sa.text(
        "SELECT FROM pg_class WHERE oid = to_regclass('public.leads') AND relkind IN ('r', 'p')"
    )
    if op.get_bind().execute(leads).first() is not None:
        op.execute(context.script.get_revision("0002").module.TRIGGER)
