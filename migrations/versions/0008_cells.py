"""Attempts at single leads, and what the engine's memory of a client is about."""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.execute("""
        -- What the engine itself put into a lead in place of a cell that it could not take, by
        -- field: nobody's edit, and not agreed on.
        ALTER TABLE reconciler.baseline ADD COLUMN placeholders jsonb NOT NULL DEFAULT '{}';

        -- Baseline, cursor and the rest describe this base and this table. NULL: bound by an
        -- earlier version, to whatever base the client had then.
        ALTER TABLE reconciler.table_binding ADD COLUMN base_id text;
        -- What was said when base or table last became another one, and which run has told it.
        ALTER TABLE reconciler.table_binding ADD COLUMN moved_at timestamptz;
        ALTER TABLE reconciler.table_binding ADD COLUMN notice text;
        ALTER TABLE reconciler.table_binding ADD COLUMN told_by text;

        -- Carries out attempts one by one, each in a subtransaction of its own, so that what
        -- Postgres refuses stops alone and one call can try many. An attempt names a statement
        -- (counted from 1), which answers a lead's record id and the lead, and its rows; one that
        -- is not for good is taken back, whatever came of it. It runs with its caller's rights.
        -- No search_path is set: triggers of the portal run inside of it.
        CREATE FUNCTION reconciler.attempt(statements text[], attempts jsonb, trouble text[])
        RETURNS TABLE (written jsonb, state text, message text, about_schema text,
            about_table text, about_column text, about_type text, about_constraint text)
        LANGUAGE plpgsql AS $$
        DECLARE one jsonb; record_id text;
        BEGIN
            FOR one IN SELECT value FROM jsonb_array_elements(attempts) LOOP
                written := NULL; state := NULL; message := NULL; about_schema := NULL;
                about_table := NULL; about_column := NULL; about_type := NULL;
                about_constraint := NULL;
                BEGIN
                    EXECUTE statements[(one ->> 'statement')::int] INTO record_id, written
                        USING one -> 'rows';
                    IF NOT (one ->> 'for_good')::boolean THEN
                        RAISE SQLSTATE 'RC001';
                    END IF;
                EXCEPTION WHEN OTHERS THEN
                    -- Not about the data: the whole run is to hear of it.
                    IF left(SQLSTATE, 2) = ANY (trouble) OR SQLSTATE = ANY (trouble) THEN
                        RAISE;
                    END IF;
                    IF SQLSTATE <> 'RC001' THEN
                        GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE,
                            message = MESSAGE_TEXT, about_schema = SCHEMA_NAME,
                            about_table = TABLE_NAME, about_column = COLUMN_NAME,
                            about_type = PG_DATATYPE_NAME, about_constraint = CONSTRAINT_NAME;
                    END IF;
                END;
                RETURN NEXT;
            END LOOP;
        END $$;
    """)


def downgrade() -> None:
    op.execute("""
        DROP FUNCTION reconciler.attempt(text[], jsonb, text[]);
        ALTER TABLE reconciler.table_binding DROP COLUMN told_by;
        ALTER TABLE reconciler.table_binding DROP COLUMN notice;
        ALTER TABLE reconciler.table_binding DROP COLUMN moved_at;
        ALTER TABLE reconciler.table_binding DROP COLUMN base_id;
        ALTER TABLE reconciler.baseline DROP COLUMN placeholders;
    """)
