"""Where each client's Airtable token comes from, and which deployments use this database."""

from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.execute("""
        -- A client without a row has the default, AIRTABLE_API_KEY.
        CREATE TABLE reconciler.client_token (
            client_id uuid PRIMARY KEY,
            -- Another kind (OAuth) is another word here, and what it has to keep is in `sealed`.
            kind text NOT NULL CHECK (kind IN ('env', 'file', 'table')),
            name text CHECK ((kind = 'table') = (name IS NULL)),
            sealed bytea CHECK ((kind = 'table') = (sealed IS NOT NULL)),
            changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
        );
        COMMENT ON COLUMN reconciler.client_token.name IS
            'The environment variable, or the path of the file.';
        COMMENT ON COLUMN reconciler.client_token.sealed IS
            'Encrypted with RECONCILER_TOKEN_KEYS, which is kept elsewhere.';

        CREATE TABLE reconciler.deployment (
            id text PRIMARY KEY,
            environment text NOT NULL,
            host text NOT NULL,
            ui_url text NOT NULL,
            first_seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            seen_at timestamptz NOT NULL DEFAULT clock_timestamp()
        );
        COMMENT ON TABLE reconciler.deployment IS
            'A Dagster storage whose sensors run on this database.';

        -- Signs of life of runs that are executed on other machines.
        CREATE TABLE reconciler.run_beat (
            run_id text PRIMARY KEY,
            process text NOT NULL,
            seen_at timestamptz NOT NULL DEFAULT clock_timestamp()
        );
    """)


def downgrade() -> None:
    op.execute("""
        DROP TABLE reconciler.run_beat;
        DROP TABLE reconciler.deployment;
        DROP TABLE reconciler.client_token;
    """)
