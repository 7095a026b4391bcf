-- A Postgres role that can do what the engine does, and nothing else. Run by the owner of the
-- synced tables, after `reconciler migrate`, and again once another table is synced; then set a
-- password and put the role in the DATABASE_URL of the runs. Migrations themselves go on being run
-- by the owner.
--
--   psql "$DATABASE_URL" -f migrations/least_privilege.sql
--   psql "$DATABASE_URL" -c '\password reconciler_engine'

DO $$ BEGIN
    CREATE ROLE reconciler_engine LOGIN NOINHERIT;
EXCEPTION WHEN duplicate_object THEN NULL;
END $$;

-- What is synced: the tables that bear the engine's triggers. Their rows are read, written and
-- brought back, never deleted.
DO $$
DECLARE
    synced record;
    counter regclass;
BEGIN
    FOR synced IN
        SELECT DISTINCT c.oid::regclass AS name, c.relnamespace::regnamespace AS home
        FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_class c ON c.oid = t.tgrelid
        WHERE p.pronamespace = 'reconciler'::regnamespace AND NOT c.relispartition
    LOOP
        EXECUTE format('GRANT USAGE ON SCHEMA %s TO reconciler_engine', synced.home);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE ON %s TO reconciler_engine', synced.name);
        -- A key of the type serial: a new row takes its number from there.
        FOR counter IN
            SELECT d.objid::regclass FROM pg_depend d JOIN pg_class s ON s.oid = d.objid
            WHERE d.refobjid = synced.name AND d.deptype = 'a' AND s.relkind = 'S'
        LOOP
            EXECUTE format('GRANT USAGE ON SEQUENCE %s TO reconciler_engine', counter);
        END LOOP;
    END LOOP;
END $$;

-- The portal, where there is one: whose leads these are, and who its people are.
DO $$ BEGIN
    IF to_regclass('public.clients') IS NOT NULL THEN
        GRANT USAGE ON SCHEMA public TO reconciler_engine;
        GRANT SELECT ON public.clients TO reconciler_engine;
        GRANT UPDATE (last_sync_at) ON public.clients TO reconciler_engine;
    END IF;
    IF to_regclass('public.users') IS NOT NULL THEN
        GRANT SELECT (id, email, first_name, last_name) ON public.users TO reconciler_engine;
    END IF;
    IF to_regclass('public.lead_activity_log') IS NOT NULL THEN
        -- What a deletion leaves in the lead's activity; the log itself is not read.
        GRANT INSERT ON public.lead_activity_log TO reconciler_engine;
        -- But where each text message is noted in it once, with the state that it is in by now.
        IF has_table_privilege('reconciler_engine', to_regclass('public.sms_audit'), 'INSERT') THEN
            GRANT SELECT (source, metadata), UPDATE (metadata)
            ON public.lead_activity_log TO reconciler_engine;
        END IF;
    END IF;
END $$;

-- The engine's own memory, with what later migrations add to it.
GRANT USAGE ON SCHEMA reconciler TO reconciler_engine;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA reconciler TO reconciler_engine;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA reconciler TO reconciler_engine;
ALTER DEFAULT PRIVILEGES IN SCHEMA reconciler
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO reconciler_engine;
ALTER DEFAULT PRIVILEGES IN SCHEMA reconciler
    GRANT USAGE ON SEQUENCES TO reconciler_engine;
