"""A trigger that cannot make a portal's write fail, and what tells that it was not at work.

Written out as it was then: the engine's own text moves on.
"""

import sqlalchemy as sa
from alembic import context, op

from reconciler_dagster.core.records import WHOLE

revision = "0006"
down_revision = "0005"

OLD = ("note_lead_edit", "note_leads_truncated")

TABLES = """
-- Leads to look at again. Append-only, so that no writer ever waits for another here; a lead is
-- settled by deleting exactly the revisions that were read.
CREATE TABLE IF NOT EXISTS reconciler.unsettled (
    revision bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id uuid NOT NULL,
    lead_id uuid NOT NULL,
    record_id text NOT NULL,
    cause text NOT NULL,
    deleted_row jsonb,
    noted_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX IF NOT EXISTS unsettled_client_id_revision_idx
    ON reconciler.unsettled (client_id, revision);

-- Transactions whose edits the trigger could not note; each is one row, whatever it wrote.
CREATE TABLE IF NOT EXISTS reconciler.trigger_trouble (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    table_name text NOT NULL,
    sqlstate text NOT NULL,
    message text NOT NULL,
    transaction xid8 NOT NULL DEFAULT pg_current_xact_id(),
    noted_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What table and trigger looked like when the leads of a client were last known to be watched.
CREATE TABLE IF NOT EXISTS reconciler.guard (
    client_id uuid PRIMARY KEY,
    fingerprint text NOT NULL,
    -- What the last comparison saw, and what it must have seen to be the last one: transactions
    -- that were under way when something had changed may have written without being noted.
    compared pg_snapshot NOT NULL,
    horizon xid8 NOT NULL,
    compared_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
"""

FUNCTIONS = """
CREATE OR REPLACE FUNCTION reconciler.note_edit() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = 2000 AS $source$
-- Arguments: the columns of the key, the client, the record id and the stamp.
DECLARE
    before jsonb; -- OLD and NEW, the one as it was and the other as it is to be
    after jsonb;
    was jsonb; -- the same of an update, without the stamp
    is_now jsonb;
    computed text[];
    stampable boolean;
BEGIN
    -- The engine's own writes set this for their transaction alone: no echo, no stamp.
    IF current_setting('reconciler.writer', true) = 'engine' THEN
        IF TG_OP = 'DELETE' THEN RETURN OLD; ELSE RETURN NEW; END IF;
    END IF;
    BEGIN
        IF TG_OP <> 'INSERT' THEN before := to_jsonb(OLD); END IF;
        IF TG_OP <> 'DELETE' THEN after := to_jsonb(NEW); END IF;
        IF TG_OP = 'UPDATE' THEN
            -- Whether anything but the stamp differs, which a trigger of the portal may have moved.
            was := before - TG_ARGV[3];
            is_now := after - TG_ARGV[3];
            IF was = is_now THEN RETURN NEW; END IF;
            -- NEW does not hold its generated columns yet. The first test is the cheaper one.
            IF was @> jsonb_strip_nulls(is_now) THEN
                SELECT array_agg(attname::text) INTO computed FROM pg_attribute
                WHERE attrelid = TG_RELID AND attgenerated <> '' AND NOT attisdropped;
                IF was - computed = is_now - computed THEN RETURN NEW; END IF;
            END IF;
            IF before -> TG_ARGV[3] = after -> TG_ARGV[3]
                AND current_setting('session_replication_role') <> 'replica'
            THEN
                SELECT true INTO stampable FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
                WHERE a.attrelid = TG_RELID AND a.attname = TG_ARGV[3] AND a.attgenerated = ''
                AND CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END
                    IN ('timestamptz'::regtype, 'timestamp'::regtype, 'date'::regtype);
                IF pg_partition_root(TG_RELID) IS NOT NULL THEN
                    -- The stamp must not send the row to another partition.
                    stampable := stampable AND NOT EXISTS (
                        SELECT FROM pg_partition_ancestors(TG_RELID) AS p (oid)
                        JOIN pg_partitioned_table k ON k.partrelid = p.oid
                        LEFT JOIN pg_attribute a ON a.attrelid = p.oid AND a.attname = TG_ARGV[3]
                        WHERE a.attnum = ANY (k.partattrs) OR 0 = ANY (k.partattrs));
                END IF;
                IF stampable THEN
                    -- Only as a query: as a bare call it keeps the row's columns of before an
                    -- ALTER TABLE in the same transaction, and Postgres may crash.
                    NEW := (SELECT jsonb_populate_record(
                        NEW, jsonb_build_object(TG_ARGV[3], clock_timestamp())));
                END IF;
            END IF;
        END IF;
        IF current_setting('reconciler.trouble', true) = 'noted' THEN
            IF TG_OP = 'DELETE' THEN RETURN OLD; ELSE RETURN NEW; END IF;
        END IF;
        IF NOT COALESCE(after, before) ?& TG_ARGV[0:2] THEN
            RAISE EXCEPTION USING ERRCODE = 'RC001', MESSAGE =
                'it does not have the columns ' || array_to_string(TG_ARGV[0:2], ', ');
        END IF;
        -- Leads of the portal's own have a record id of another shape, or none.
        IF before ->> TG_ARGV[2] ~ '^rec[A-Za-z0-9]{14}$'
            AND before -> TG_ARGV[2] IS DISTINCT FROM after -> TG_ARGV[2]
        THEN
            INSERT INTO reconciler.unsettled (client_id, lead_id, record_id, cause, deleted_row)
            VALUES ((before ->> TG_ARGV[1])::uuid, (before ->> TG_ARGV[0])::uuid,
                before ->> TG_ARGV[2],
                CASE TG_OP WHEN 'DELETE' THEN 'deleted' ELSE 'record id changed' END,
                CASE TG_OP WHEN 'DELETE' THEN before END);
        END IF;
        IF after ->> TG_ARGV[2] ~ '^rec[A-Za-z0-9]{14}$' THEN
            INSERT INTO reconciler.unsettled (client_id, lead_id, record_id, cause)
            VALUES ((after ->> TG_ARGV[1])::uuid, (after ->> TG_ARGV[0])::uuid,
                after ->> TG_ARGV[2], lower(TG_OP));
        END IF;
    EXCEPTION WHEN OTHERS THEN
        BEGIN
            PERFORM set_config('reconciler.trouble', 'noted', true);
            INSERT INTO reconciler.trigger_trouble (table_name, sqlstate, message)
            VALUES (TG_RELID::regclass::text, SQLSTATE, left(SQLERRM, 500));
        EXCEPTION WHEN OTHERS THEN
            PERFORM set_config('reconciler.trouble', 'noted', true);
            RAISE WARNING 'The reconciler could not note an edit of % (SQLSTATE %).',
                TG_RELID::regclass, SQLSTATE;
        END;
    END;
    IF TG_OP = 'DELETE' THEN RETURN OLD; ELSE RETURN NEW; END IF;
END$source$;

CREATE OR REPLACE FUNCTION reconciler.note_truncate() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = 2000 AS $source$
BEGIN
    BEGIN
        INSERT INTO reconciler.unsettled (client_id, lead_id, record_id, cause)
        SELECT client_id, lead_id, record_id, 'truncated' FROM reconciler.baseline;
    EXCEPTION WHEN OTHERS THEN
        BEGIN
            PERFORM set_config('reconciler.trouble', 'noted', true);
            INSERT INTO reconciler.trigger_trouble (table_name, sqlstate, message)
            VALUES (TG_RELID::regclass::text, SQLSTATE, left(SQLERRM, 500));
        EXCEPTION WHEN OTHERS THEN
            PERFORM set_config('reconciler.trouble', 'noted', true);
            RAISE WARNING 'The reconciler could not note an edit of % (SQLSTATE %).',
                TG_RELID::regclass, SQLSTATE;
        END;
    END;
    RETURN NULL;
END$source$;
"""

TRIGGERS = """
DROP TRIGGER IF EXISTS zz_reconciler_note_edit ON public.leads;
CREATE TRIGGER zz_reconciler_note_edit BEFORE INSERT OR UPDATE OR DELETE ON public.leads
    FOR EACH ROW EXECUTE FUNCTION
    reconciler.note_edit('id', 'client_id', 'airtable_record_id', 'updated_at');
ALTER TABLE public.leads ENABLE ALWAYS TRIGGER zz_reconciler_note_edit;
DROP TRIGGER IF EXISTS zz_reconciler_note_truncate ON public.leads;
CREATE TRIGGER zz_reconciler_note_truncate AFTER TRUNCATE ON public.leads
    FOR EACH STATEMENT EXECUTE FUNCTION
    reconciler.note_truncate('id', 'client_id', 'airtable_record_id', 'updated_at');
ALTER TABLE public.leads ENABLE ALWAYS TRIGGER zz_reconciler_note_truncate;
"""


def upgrade() -> None:
    for name in OLD:  # and the triggers with them
        op.execute(f"DROP FUNCTION IF EXISTS reconciler.{name}() CASCADE")
    op.execute(TABLES)
    op.execute(FUNCTIONS)
    if not context.config.attributes.get("listed"):
        op.execute(TRIGGERS)
    # Leads of the portal's own, without a record of Airtable, are nobody's to miss.
    for table in ("unsettled", "quarantine", "tombstone"):
        kept = " AND state <> 'deleted'" if table == "tombstone" else ""
        op.get_bind().execute(
            sa.text(f"DELETE FROM reconciler.{table} WHERE record_id !~ :whole{kept}"),
            {"whole": WHOLE},
        )


def downgrade() -> None:
    for name in ("note_edit", "note_truncate"):  # and the triggers with them, wherever they are
        op.execute(f"DROP FUNCTION IF EXISTS reconciler.{name}() CASCADE")
    op.execute("DROP TABLE IF EXISTS reconciler.guard, reconciler.trigger_trouble")
    leads = sa.text(
        "SELECT FROM pg_class WHERE oid = to_regclass('public.leads') AND relkind IN ('r', 'p')"
    )
    listed = context.config.attributes.get("listed")
    if not listed and op.get_bind().execute(leads).first() is not None:
        op.execute(context.script.get_revision("0002").module.TRIGGER)
