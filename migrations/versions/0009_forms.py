"""What Airtable's fields hold, and which cells the engine itself writes again and again."""

from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.execute("""
        ALTER TABLE reconciler.field_binding
            -- The type of a computed field's values, and the decimals of a number.
            ADD COLUMN holds text,
            ADD COLUMN precision int,
            -- False where what the field is computed from is gone.
            ADD COLUMN valid boolean NOT NULL DEFAULT true;
        -- The next run reads the metadata again, to know them.
        UPDATE reconciler.table_binding SET read_at = to_timestamp(0);

        -- Cells that runs have written to Airtable though nobody had edited them, one run after the
        -- other. Gone once the two sides are seen to agree, or a person edits the lead.
        CREATE TABLE reconciler.own_write (
            client_id uuid NOT NULL,
            record_id text NOT NULL,
            field text NOT NULL,
            runs int NOT NULL DEFAULT 1,
            run_id text NOT NULL,
            written_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            PRIMARY KEY (client_id, record_id, field)
        );
    """)


def downgrade() -> None:
    op.execute("""
        DROP TABLE reconciler.own_write;
        ALTER TABLE reconciler.field_binding
            DROP COLUMN holds, DROP COLUMN precision, DROP COLUMN valid;
    """)
