-- A Postgres role that can do what the engine does, and nothing else. Run once by the owner of the
-- portal's database, after `reconciler migrate`; then set a password and put the role in the
-- DATABASE_URL of the runs. Migrations themselves go on being run by the owner.
--
--   psql "$DATABASE_URL" -f migrations/least_privilege.sql
--   psql "$DATABASE_URL" -c '\password reconciler_engine'

DO $$ BEGIN
    CREATE ROLE reconciler_engine LOGIN NOINHERIT;
EXCEPTION WHEN duplicate_object THEN NULL;
END $$;

GRANT USAGE ON SCHEMA public, reconciler TO reconciler_engine;

-- The portal: leads are read, written and brought back, never deleted.
GRANT SELECT, INSERT, UPDATE ON public.leads TO reconciler_engine;
-- What a deletion leaves in the lead's activity; the log itself is not read.
GRANT INSERT ON public.lead_activity_log TO reconciler_engine;
GRANT SELECT ON public.clients TO reconciler_engine;
GRANT UPDATE (last_sync_at) ON public.clients TO reconciler_engine;
GRANT SELECT (id, email, first_name, last_name) ON public.users TO reconciler_engine;

-- The engine's own memory, with what later migrations add to it.
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA reconciler TO reconciler_engine;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA reconciler TO reconciler_engine;
ALTER DEFAULT PRIVILEGES IN SCHEMA reconciler
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO reconciler_engine;
ALTER DEFAULT PRIVILEGES IN SCHEMA reconciler
    GRANT USAGE ON SEQUENCES TO reconciler_engine;
