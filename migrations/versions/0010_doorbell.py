"""The doorbell: a request for a sync tells a listener, and is submitted by one submitter alone."""

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.execute("""
        -- The run key that a run was last submitted under, by whom and when. The sensor and the
        -- listener both submit; what one of them has taken the other leaves alone.
        ALTER TABLE reconciler.manual_sync_request
            ADD COLUMN submitted_as text, ADD COLUMN submitted_by text,
            ADD COLUMN submitted_at timestamptz;

        -- The process that waits for the notices: one row, with its last sign of life.
        CREATE TABLE reconciler.listener (
            single boolean PRIMARY KEY DEFAULT true CHECK (single),
            process text NOT NULL,
            hears boolean NOT NULL,
            seen_at timestamptz NOT NULL DEFAULT clock_timestamp()
        );

        -- A notice that is lost costs seconds: the sensor looks as well.
        CREATE FUNCTION reconciler.ring_for_sync() RETURNS trigger LANGUAGE plpgsql
        SET search_path = pg_catalog, pg_temp AS $$
        BEGIN
            PERFORM pg_notify('reconciler_manual_sync', '');
            RETURN NULL;
        END $$;
        CREATE TRIGGER ring_for_sync AFTER INSERT ON reconciler.manual_sync_request
            FOR EACH STATEMENT EXECUTE FUNCTION reconciler.ring_for_sync();
    """)


def downgrade() -> None:
    op.execute("""
        DROP TRIGGER ring_for_sync ON reconciler.manual_sync_request;
        DROP FUNCTION reconciler.ring_for_sync();
        DROP TABLE reconciler.listener;
        ALTER TABLE reconciler.manual_sync_request
            DROP COLUMN submitted_as, DROP COLUMN submitted_by, DROP COLUMN submitted_at;
    """)
