"""Deletions, what the Great Sync has covered, and the count that tells a stale listing."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.execute("""
        -- Counts every advance of a baseline. A listing notes where the count stood before it was
        -- asked for: a baseline advanced since then knows more than that listing.
        CREATE SEQUENCE reconciler.advance;
        ALTER TABLE reconciler.baseline ADD COLUMN advance bigint NOT NULL DEFAULT 0;

        -- Leads whose records Airtable no longer lists.
        CREATE TABLE reconciler.tombstone (
            client_id uuid NOT NULL,
            record_id text NOT NULL,
            lead_id uuid NOT NULL,
            created_time timestamptz NOT NULL,
            state text NOT NULL DEFAULT 'missing' CHECK (state IN
                ('missing', 'awaiting_approval', 'approved', 'rejected', 'deleted', 'returned')),
            missing_since timestamptz NOT NULL DEFAULT clock_timestamp(),
            -- Complete listings of its window that did not have it, and the run of the last one.
            listings int NOT NULL DEFAULT 0,
            run_id text,
            looked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            reason text NOT NULL,
            -- The lead as it was before it was deactivated.
            archived jsonb,
            decided_by text,
            decided_at timestamptz,
            deleted_at timestamptz,
            PRIMARY KEY (client_id, record_id)
        );

        -- A Great Sync from the command line, so that a killed one goes on with what is left.
        CREATE TABLE reconciler.great_sync (
            client_id uuid PRIMARY KEY,
            months text[] NOT NULL,
            started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            finished_at timestamptz
        );
        CREATE TABLE reconciler.month_listing (
            client_id uuid NOT NULL,
            month text NOT NULL,
            -- On Airtable's clock: certainly not after the first answer of the listing.
            moment timestamptz NOT NULL,
            -- The same on ours.
            noted_at timestamptz NOT NULL,
            reconciled_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            PRIMARY KEY (client_id, month)
        );
    """)


def downgrade() -> None:
    op.execute("""
        DROP TABLE reconciler.month_listing;
        DROP TABLE reconciler.great_sync;
        DROP TABLE reconciler.tombstone;
        ALTER TABLE reconciler.baseline DROP COLUMN advance;
        DROP SEQUENCE reconciler.advance;
    """)
