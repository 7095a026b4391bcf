"""Everything that the engine remembers is of one sync of a client; what is there is of `leads`.

So is what somebody else writes there without saying of which sync it is: the default stays. It
costs no rewrite of a table, being constant; what takes time is the primary keys.
"""

from alembic import context, op

from reconciler_dagster.core.table import Table
from reconciler_dagster.postgres import trigger

revision = "0020"
down_revision = "0015"

LEADS = trigger.Watched(
    Table(
        "public",
        "leads",
        "id",
        "airtable_record_id",
        client="client_id",
        updated_at="updated_at",
    ),
    "leads",
)
# The primary key of each table, without the sync.
KEYS = {
    "baseline": "client_id, record_id",
    "cursor": "client_id",
    "seen": "client_id, record_id",
    "quarantine": "client_id, record_id, field, direction",
    "table_binding": "client_id",
    "field_binding": "client_id, field",
    "tombstone": "client_id, record_id",
    "great_sync": "client_id",
    "month_listing": "client_id, month",
    "own_write": "client_id, record_id, field",
    "guard": "client_id",
    "fight": "client_id, record_id, field",
}
# Tables whose rows have a number of their own.
NUMBERED = ("unsettled", "journal", "conflict", "history")
# Indexes: name, table, columns without the sync, and what of the table.
INDEXES = [
    ("baseline_client_id_created_time_idx", "baseline", "created_time", ""),
    ("unsettled_client_id_revision_idx", "unsettled", "revision", ""),
    ("journal_client_id_record_id_idx", "journal", "record_id", "WHERE state <> 'acknowledged'"),
]


def upgrade() -> None:
    # Made again where somebody has dropped them: what they held is found by comparing.
    op.execute(context.script.get_revision("0006").module.TABLES)
    for table in (*KEYS, *NUMBERED):
        op.execute(f"ALTER TABLE reconciler.{table} ADD COLUMN sync text NOT NULL DEFAULT 'leads'")
    for table, key in KEYS.items():
        _key(table, key.replace("client_id", "client_id, sync", 1))
    for name, table, column, which in INDEXES:
        _index(name, table, f"client_id, sync, {column}", which)
    # Of a column that several fields of Airtable feed: all of them.
    op.execute("ALTER TABLE reconciler.field_binding ADD COLUMN also jsonb NOT NULL DEFAULT '[]'")
    # A row of a table that does not say whose it is belongs to whoever has met its record.
    op.execute("ALTER TABLE reconciler.unsettled ALTER COLUMN client_id DROP NOT NULL")
    # The functions as this version has them; the triggers say of which sync a table is.
    trigger.put_functions(op.get_bind())
    if _leads_are_there():
        for name in trigger.FUNCTION_BY_TRIGGER:
            trigger.put_trigger(op.get_bind(), LEADS, name)


def downgrade() -> None:
    """What is of another sync than leads is forgotten."""
    there = [table for table in (*KEYS, *NUMBERED) if _exists(table)]
    for table in there:
        op.execute(f"DELETE FROM reconciler.{table} WHERE sync <> 'leads'")
    if "unsettled" in there:
        op.execute("DELETE FROM reconciler.unsettled WHERE client_id IS NULL")
        op.execute("ALTER TABLE reconciler.unsettled ALTER COLUMN client_id SET NOT NULL")
    for table, key in KEYS.items():
        if table in there:
            _key(table, key)
    for name, table, column, which in INDEXES:
        if table in there:
            _index(name, table, f"client_id, {column}", which)
    for table in there:
        op.execute(f"ALTER TABLE reconciler.{table} DROP COLUMN sync")
    op.execute("ALTER TABLE reconciler.field_binding DROP COLUMN also")
    for name in ("note_edit", "note_truncate"):  # and the triggers with them, on every table
        op.execute(f"DROP FUNCTION IF EXISTS reconciler.{name}() CASCADE")
    op.execute("DROP FUNCTION reconciler.row_id(text)")
    before = context.script.get_revision("0006").module
    op.execute(before.FUNCTIONS)
    if _leads_are_there():
        op.execute(before.TRIGGERS)


def _key(table: str, columns: str) -> None:
    op.execute(f"ALTER TABLE reconciler.{table} DROP CONSTRAINT {table}_pkey")
    op.execute(f"ALTER TABLE reconciler.{table} ADD PRIMARY KEY ({columns})")


def _index(name: str, table: str, columns: str, which: str) -> None:
    op.execute(f"DROP INDEX IF EXISTS reconciler.{name}")
    op.execute(f"CREATE INDEX {name} ON reconciler.{table} ({columns}) {which}")


def _leads_are_there() -> bool:
    if context.config.attributes.get("listed"):
        return False
    leads = "SELECT FROM pg_class WHERE oid = to_regclass('public.leads') AND relkind IN ('r', 'p')"
    return op.get_bind().exec_driver_sql(leads).first() is not None


def _exists(table: str) -> bool:
    """Somebody may have dropped it."""
    found = op.get_bind().exec_driver_sql(f"SELECT to_regclass('reconciler.{table}')")
    return found.scalar() is not None
