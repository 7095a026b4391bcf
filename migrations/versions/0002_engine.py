"""The engine's own schema, and the trigger on leads that notes every writer's edits."""

from alembic import context, op

revision = "0002"
down_revision = "0001"

TABLES = """
-- The last value of each field that both sides were seen to hold. A field without a key in
-- `fields` has not been agreed on yet: it is merged by the first-contact rule.
CREATE TABLE reconciler.baseline (
    client_id uuid NOT NULL,
    record_id text NOT NULL,
    lead_id uuid NOT NULL,
    created_time timestamptz NOT NULL,
    fields jsonb NOT NULL DEFAULT '{}',
    verified_at timestamptz,
    PRIMARY KEY (client_id, record_id)
);
CREATE INDEX ON reconciler.baseline (lead_id);
CREATE INDEX ON reconciler.baseline (client_id, created_time);

-- Where the Airtable side of the next delta starts, on Airtable's clock.
CREATE TABLE reconciler.cursor (
    client_id uuid PRIMARY KEY,
    modified_since timestamptz NOT NULL,
    -- Our clock when modified_since was read: what tells that Airtable's clock ran backward.
    moved_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    run_id text NOT NULL
);

-- Records that were already read inside the overlap, and so cost nothing to leave out.
CREATE TABLE reconciler.seen (
    client_id uuid NOT NULL,
    record_id text NOT NULL,
    listed_at timestamptz NOT NULL,
    PRIMARY KEY (client_id, record_id)
);

-- Leads to look at again. Append-only, so that no writer ever waits for another here; a lead is
-- settled by deleting exactly the revisions that were read.
CREATE TABLE reconciler.unsettled (
    revision bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id uuid NOT NULL,
    lead_id uuid NOT NULL,
    record_id text NOT NULL,
    cause text NOT NULL,
    -- The whole row of a lead deleted in Postgres, so that it comes back whole.
    deleted_row jsonb,
    noted_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX ON reconciler.unsettled (client_id, revision);

-- What was sent to Airtable, written before it is sent. A row that is not acknowledged is
-- settled by the next run, by comparing values.
CREATE TABLE reconciler.journal (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id text NOT NULL,
    client_id uuid NOT NULL,
    lead_id uuid NOT NULL,
    record_id text NOT NULL,
    fields jsonb NOT NULL,
    state text NOT NULL DEFAULT 'planned' CHECK (state IN ('planned', 'sent', 'acknowledged')),
    planned_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    sent_at timestamptz,
    acknowledged_at timestamptz
);
CREATE INDEX ON reconciler.journal (client_id, record_id) WHERE state <> 'acknowledged';
CREATE INDEX ON reconciler.journal (acknowledged_at);

CREATE TABLE reconciler.conflict (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id text NOT NULL,
    client_id uuid NOT NULL,
    lead_id uuid NOT NULL,
    record_id text NOT NULL,
    field text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('both_edited', 'first_contact', 'owned_by_airtable')),
    baseline_value jsonb,
    winning_value jsonb,
    losing_value jsonb,
    happened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    restored_at timestamptz,
    restored_by text
);
CREATE INDEX ON reconciler.conflict (client_id, happened_at);
CREATE INDEX ON reconciler.conflict (lead_id);

-- Cells that one side cannot take. Retried with back-off, always with the current value.
CREATE TABLE reconciler.quarantine (
    client_id uuid NOT NULL,
    record_id text NOT NULL,
    field text NOT NULL,
    direction text NOT NULL CHECK (direction IN ('to_postgres', 'to_airtable')),
    value jsonb,
    reason text NOT NULL,
    attempts int NOT NULL DEFAULT 1,
    first_seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    next_attempt_at timestamptz NOT NULL,
    PRIMARY KEY (client_id, record_id, field, direction)
);

-- Each change that the engine applied, on either side.
CREATE TABLE reconciler.history (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id text NOT NULL,
    client_id uuid NOT NULL,
    lead_id uuid NOT NULL,
    record_id text NOT NULL,
    field text NOT NULL,
    side text NOT NULL CHECK (side IN ('airtable', 'postgres')),
    old_value jsonb,
    new_value jsonb,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX ON reconciler.history (lead_id, changed_at);
CREATE INDEX ON reconciler.history (changed_at);

CREATE TABLE reconciler.manual_sync_request (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id uuid NOT NULL,
    requested_by text,
    requested_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    state text NOT NULL DEFAULT 'pending'
        CHECK (state IN ('pending', 'started', 'succeeded', 'failed')),
    run_id text,
    started_at timestamptz,
    finished_at timestamptz,
    counts jsonb,
    message text
);
CREATE INDEX ON reconciler.manual_sync_request (client_id, id)
    WHERE state IN ('pending', 'started');

CREATE TABLE reconciler.run_summary (
    run_id text NOT NULL,
    client_id uuid NOT NULL,
    purpose text NOT NULL,
    scope text NOT NULL,
    state text NOT NULL DEFAULT 'started' CHECK (state IN ('started', 'succeeded', 'failed')),
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    counts jsonb NOT NULL DEFAULT '{}',
    -- What was found: the change-set in numbers, stopped fields, unanswered writes.
    findings jsonb NOT NULL DEFAULT '{}',
    message text,
    PRIMARY KEY (client_id, run_id)
);
CREATE INDEX ON reconciler.run_summary (client_id, started_at);

-- Airtable's metadata as last read, and which field id each column is bound to.
CREATE TABLE reconciler.table_binding (
    client_id uuid PRIMARY KEY,
    table_id text NOT NULL,
    -- AIRTABLE_LEADS_TABLE when it was bound: another setting binds anew, a rename does not.
    configured_name text NOT NULL,
    read_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE reconciler.field_binding (
    client_id uuid NOT NULL,
    field text NOT NULL,
    airtable_field_id text,
    airtable_name text NOT NULL,
    airtable_type text,
    choices jsonb,
    -- NULL while all is well; else what is wrong and what to do. The field is then left alone.
    problem text,
    -- What the declared field looked like when its baselines were taken.
    fingerprint text,
    PRIMARY KEY (client_id, field)
);

-- One token bucket per base, shared by every process that calls.
CREATE TABLE reconciler.call_bucket (
    base_id text PRIMARY KEY,
    next_slot timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- While a delta run is calling, the audit and the Great Sync stand back.
    urgent_until timestamptz NOT NULL DEFAULT '-infinity',
    locked_until timestamptz NOT NULL DEFAULT '-infinity',
    lock_reason text
);

CREATE TABLE reconciler.call_log (
    base_id text NOT NULL,
    hour timestamptz NOT NULL,
    purpose text NOT NULL,
    calls int NOT NULL,
    PRIMARY KEY (base_id, hour, purpose)
);

-- Which run holds a client; 0007 makes a lease of it.
CREATE TABLE reconciler.lease (
    client_id uuid PRIMARY KEY,
    run_id text NOT NULL,
    taken_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What the ops of one run hand to each other: lead data lies here and in no pickle.
CREATE UNLOGGED TABLE reconciler.staged_pull (
    run_id text PRIMARY KEY,
    client_id uuid NOT NULL,
    pull jsonb NOT NULL,
    staged_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE UNLOGGED TABLE reconciler.staged_record (
    run_id text NOT NULL,
    record_id text NOT NULL,
    created_time timestamptz NOT NULL,
    fields jsonb NOT NULL,
    unreadable jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (run_id, record_id)
);
CREATE UNLOGGED TABLE reconciler.staged_lead (
    run_id text NOT NULL,
    record_id text NOT NULL,
    lead_id uuid,
    row_version text,
    -- NULL where the lead is not in Postgres.
    row jsonb,
    revisions bigint[] NOT NULL DEFAULT '{}',
    deleted_row jsonb,
    PRIMARY KEY (run_id, record_id)
);
CREATE UNLOGGED TABLE reconciler.staged_change (
    run_id text NOT NULL,
    record_id text NOT NULL,
    change jsonb NOT NULL,
    outbound boolean NOT NULL,
    PRIMARY KEY (run_id, record_id)
);
"""

TRIGGER = """
CREATE FUNCTION reconciler.note_lead_edit() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE unstamped public.leads%ROWTYPE;
BEGIN
    -- The engine's own writes set this for their transaction alone: no echo, no stamp.
    IF current_setting('reconciler.writer', true) = 'engine' THEN
        RETURN COALESCE(NEW, OLD);
    END IF;
    IF TG_OP = 'DELETE' THEN
        INSERT INTO reconciler.unsettled (client_id, lead_id, record_id, cause, deleted_row)
        VALUES (OLD.client_id, OLD.id, OLD.airtable_record_id, 'deleted', to_jsonb(OLD));
        RETURN OLD;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        -- Whether anything but the stamp differs, which a trigger of the portal may have moved.
        -- By image: a type without equality, like json, must not make the portal's write fail.
        unstamped := NEW;
        unstamped.updated_at := OLD.updated_at;
        IF unstamped *= OLD THEN
            RETURN NEW;
        END IF;
        IF NEW.updated_at IS NOT DISTINCT FROM OLD.updated_at THEN
            NEW.updated_at := clock_timestamp();
        END IF;
        IF NEW.airtable_record_id IS DISTINCT FROM OLD.airtable_record_id THEN
            INSERT INTO reconciler.unsettled (client_id, lead_id, record_id, cause)
            VALUES (OLD.client_id, OLD.id, OLD.airtable_record_id, 'record id changed');
        END IF;
    END IF;
    INSERT INTO reconciler.unsettled (client_id, lead_id, record_id, cause)
    VALUES (NEW.client_id, NEW.id, NEW.airtable_record_id, lower(TG_OP));
    RETURN NEW;
END $$;

CREATE FUNCTION reconciler.note_leads_truncated() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO reconciler.unsettled (client_id, lead_id, record_id, cause)
    SELECT client_id, lead_id, record_id, 'truncated' FROM reconciler.baseline;
    RETURN NULL;
END $$;

-- The name sorts last: Postgres fires triggers by name, and an older updated_at trigger of the
-- portal is to have had its turn before this one looks whether the stamp has moved.
CREATE TRIGGER zz_reconciler_note_edit BEFORE INSERT OR UPDATE OR DELETE ON public.leads
    FOR EACH ROW EXECUTE FUNCTION reconciler.note_lead_edit();
CREATE TRIGGER zz_reconciler_note_truncate AFTER TRUNCATE ON public.leads
    FOR EACH STATEMENT EXECUTE FUNCTION reconciler.note_leads_truncated();
"""

NAMES = [
    "baseline",
    "cursor",
    "seen",
    "unsettled",
    "journal",
    "conflict",
    "quarantine",
    "history",
    "manual_sync_request",
    "run_summary",
    "table_binding",
    "field_binding",
    "call_bucket",
    "call_log",
    "lease",
    "staged_pull",
    "staged_record",
    "staged_lead",
    "staged_change",
]


def upgrade() -> None:
    op.execute(TABLES)
    if not context.config.attributes.get("listed"):
        op.execute(TRIGGER)


def downgrade() -> None:
    op.execute("DROP TRIGGER IF EXISTS zz_reconciler_note_edit ON public.leads")
    op.execute("DROP TRIGGER IF EXISTS zz_reconciler_note_truncate ON public.leads")
    op.execute(
        "DROP FUNCTION IF EXISTS reconciler.note_lead_edit(), reconciler.note_leads_truncated()"
    )
    for name in reversed(NAMES):
        op.execute(f"DROP TABLE IF EXISTS reconciler.{name}")
