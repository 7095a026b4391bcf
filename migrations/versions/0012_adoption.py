"""Consent: which clients may be written, what was shown for it, and what came of it."""

from alembic import op

from reconciler_dagster.postgres import guarded

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.execute("""
        -- Clients that a person has adopted; one without a row is new, and nothing of it is
        -- written. Clients that were in use before there was a consent count as adopted.
        CREATE TABLE reconciler.adoption (
            client_id uuid PRIMARY KEY,
            state text NOT NULL CHECK (state IN ('adopted', 'paused')),
            changed_by text NOT NULL,
            changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            -- What the person was shown.
            rehearsal_id bigint
        );
        INSERT INTO reconciler.adoption (client_id, state, changed_by)
        SELECT client_id, 'adopted', 'the update, for it was in use' FROM (
            SELECT client_id FROM reconciler.cursor UNION SELECT client_id FROM reconciler.baseline
        ) used;

        -- What a rehearsal of a client's first contact found, and what then happened.
        CREATE TABLE reconciler.rehearsal (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            client_id uuid NOT NULL,
            rehearsed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            report jsonb NOT NULL,
            approved_by text,
            approved_at timestamptz,
            run_id text,
            outcome jsonb
        );
        CREATE INDEX rehearsal_client_id_idx ON reconciler.rehearsal (client_id, id);
        CREATE INDEX rehearsal_rehearsed ON reconciler.rehearsal (rehearsed_at);

        -- Rehearsals and approvals that the console asks for; a job carries them out.
        CREATE TABLE reconciler.adoption_request (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            client_id uuid NOT NULL,
            approve boolean NOT NULL DEFAULT false,
            requested_by text NOT NULL,
            requested_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            state text NOT NULL DEFAULT 'pending'
                CHECK (state IN ('pending', 'started', 'succeeded', 'failed')),
            message text,
            finished_at timestamptz
        );
        CREATE INDEX adoption_request_finished ON reconciler.adoption_request (finished_at);

        -- Cells that go back and forth: the engine writes one value, somebody else the other.
        CREATE TABLE reconciler.fight (
            client_id uuid NOT NULL,
            record_id text NOT NULL,
            field text NOT NULL,
            losing jsonb,
            -- Runs in which this value lost once more, and the last of them.
            runs int NOT NULL DEFAULT 1,
            run_id text NOT NULL,
            began_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            PRIMARY KEY (client_id, record_id, field)
        );
        CREATE INDEX fight_seen ON reconciler.fight (seen_at);

        -- Triggers of the portal that were given a guard, with what they were before.
        CREATE TABLE reconciler.guarded_trigger (
            table_name text NOT NULL,
            trigger_name text NOT NULL,
            before text NOT NULL,
            enabled "char" NOT NULL,
            guarded_by text NOT NULL,
            guarded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            PRIMARY KEY (table_name, trigger_name)
        );
    """)


def downgrade() -> None:
    guarded.take_back(op.get_bind())
    op.execute("""
        DROP TABLE reconciler.guarded_trigger, reconciler.fight, reconciler.adoption_request,
            reconciler.rehearsal, reconciler.adoption;
    """)
