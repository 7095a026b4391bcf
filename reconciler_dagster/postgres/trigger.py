"""The trigger that notes every writer's edits: what it does, how it is installed and mended.

It names no column: a portal's schema moves on, and a trigger that no longer fits its table would
make every write of the portal fail. Whatever goes wrong in it is noted for the next run, which then
compares every lead; the write itself always goes through.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sqlalchemy import Connection, text

from reconciler_dagster.core.records import WHOLE
from reconciler_dagster.core.table import Table
from reconciler_dagster.postgres.names import qualified


@dataclass(frozen=True)
class Watched:
    """A table whose edits are noted, and the sync that they are noted for."""

    table: Table
    sync: str

    @property
    def arguments(self) -> list[str]:
        """What the trigger is told, in this order: the columns of the key, the client, the record
        id and the stamp, empty where there is none; and the sync.
        """
        own = self.table
        return [own.key, own.client or "", own.record_id, own.updated_at or "", self.sync]


NOTE_EDIT, NOTE_TRUNCATE = "note_edit", "note_truncate"
# The name sorts last: Postgres fires triggers by name, and an older updated_at trigger of the
# portal is to have had its turn before this one looks whether the stamp has moved.
EDIT_TRIGGER, TRUNCATE_TRIGGER = "zz_reconciler_note_edit", "zz_reconciler_note_truncate"
FUNCTION_BY_TRIGGER = {EDIT_TRIGGER: NOTE_EDIT, TRUNCATE_TRIGGER: NOTE_TRUNCATE}
# A write of the portal does not wait longer than 2,000 ms for a table of the engine.
SETTINGS = {"search_path": "pg_catalog, pg_temp", "lock_timeout": "2000"}

# What is done about trouble. Once a transaction has had some, all that it wrote is found by
# comparing: so it is noted once. Append-only, for two writers must not wait for each other here.
_NOTE_TROUBLE = """
        BEGIN
            PERFORM set_config('reconciler.trouble', 'noted', true);
            INSERT INTO reconciler.trigger_trouble (table_name, sqlstate, message)
            VALUES (TG_RELID::regclass::text, SQLSTATE, left(SQLERRM, 500));
        EXCEPTION WHEN OTHERS THEN
            PERFORM set_config('reconciler.trouble', 'noted', true);
            RAISE WARNING 'The reconciler could not note an edit of % (SQLSTATE %).',
                TG_RELID::regclass, SQLSTATE;
        END;"""

_NOTE_EDIT = """
-- Arguments: the columns of the key, the client, the record id and the stamp; the sync.
DECLARE
    needed text[] := array_remove(TG_ARGV[0:2], '');
    before jsonb; -- OLD and NEW, the one as it was and the other as it is to be
    after jsonb;
    was jsonb; -- the same of an update, without the stamp
    is_now jsonb;
    computed text[];
    stampable boolean;
BEGIN
    -- The engine's own writes set this for their transaction alone: no echo, no stamp.
    IF current_setting('reconciler.writer', true)
        IN ('first_contact', 'repair', 'delta', 'engine')
    THEN
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
        IF NOT COALESCE(after, before) ?& needed THEN
            RAISE EXCEPTION USING ERRCODE = '{own}', MESSAGE =
                'it does not have the columns ' || array_to_string(needed, ', ');
        END IF;
        -- Rows of the portal's own have a record id of another shape, or none.
        IF before ->> TG_ARGV[2] ~ '{record_id}'
            AND before -> TG_ARGV[2] IS DISTINCT FROM after -> TG_ARGV[2]
        THEN
            INSERT INTO reconciler.unsettled
                (sync, client_id, lead_id, record_id, cause, deleted_row)
            VALUES (TG_ARGV[4], (before ->> TG_ARGV[1])::uuid,
                reconciler.row_id(before ->> TG_ARGV[0]), before ->> TG_ARGV[2],
                CASE TG_OP WHEN 'DELETE' THEN 'deleted' ELSE 'record id changed' END,
                CASE TG_OP WHEN 'DELETE' THEN before END);
        END IF;
        IF after ->> TG_ARGV[2] ~ '{record_id}' THEN
            -- What it pointed to. Keys are short, and long texts are nobody's business here.
            INSERT INTO reconciler.unsettled (sync, client_id, lead_id, record_id, cause, was)
            SELECT TG_ARGV[4], (after ->> TG_ARGV[1])::uuid,
                reconciler.row_id(after ->> TG_ARGV[0]), after ->> TG_ARGV[2], lower(TG_OP),
                (SELECT jsonb_object_agg(key, value) FROM jsonb_each(before)
                 WHERE value <> 'null' AND after -> key IS DISTINCT FROM value
                 AND key <> TG_ARGV[3] AND length(value::text) <= 100);
        END IF;
    EXCEPTION WHEN OTHERS THEN{note_trouble}
    END;
    IF TG_OP = 'DELETE' THEN RETURN OLD; ELSE RETURN NEW; END IF;
END"""

_NOTE_TRUNCATE = """
BEGIN
    BEGIN
        INSERT INTO reconciler.unsettled (sync, client_id, lead_id, record_id, cause)
        SELECT sync, client_id, lead_id, record_id, 'truncated' FROM reconciler.baseline
        WHERE sync = TG_ARGV[4];
    EXCEPTION WHEN OTHERS THEN{note_trouble}
    END;
    RETURN NULL;
END"""

# SQLSTATE of trouble that the trigger found itself: its message is ours, and names no value.
OWN_SQLSTATE = "RC001"


def _filled(source: str) -> str:
    filled = {"own": OWN_SQLSTATE, "record_id": WHOLE, "note_trouble": _NOTE_TROUBLE}
    return re.sub(r"\{(own|record_id|note_trouble)\}", lambda m: filled[m[1]], source)


SOURCES = {NOTE_EDIT: _filled(_NOTE_EDIT), NOTE_TRUNCATE: _filled(_NOTE_TRUNCATE)}


# Made again where they are missing: all that they held is found by comparing.
TABLES = """
-- Rows to look at again. Append-only, so that no writer ever waits for another here; a row is
-- settled by deleting exactly the revisions that were read. No client: the row does not say whose
-- it is, and belongs to whoever has met its record.
CREATE TABLE IF NOT EXISTS reconciler.unsettled (
    revision bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    client_id uuid,
    sync text NOT NULL,
    lead_id uuid NOT NULL,
    record_id text NOT NULL,
    cause text NOT NULL,
    deleted_row jsonb,
    noted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- Of an update: the short values that it changed, as they were.
    was jsonb
);
CREATE INDEX IF NOT EXISTS unsettled_client_id_revision_idx
    ON reconciler.unsettled (client_id, sync, revision);

-- Transactions whose edits the trigger could not note; each is one row, whatever it wrote.
CREATE TABLE IF NOT EXISTS reconciler.trigger_trouble (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    table_name text NOT NULL,
    sqlstate text NOT NULL,
    message text NOT NULL,
    transaction xid8 NOT NULL DEFAULT pg_current_xact_id(),
    noted_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- What table and trigger looked like when the rows of a client were last known to be watched.
CREATE TABLE IF NOT EXISTS reconciler.guard (
    client_id uuid NOT NULL,
    sync text NOT NULL,
    fingerprint text NOT NULL,
    -- What the last comparison saw, and what it must have seen to be the last one: transactions
    -- that were under way when something had changed may have written without being noted.
    compared pg_snapshot NOT NULL,
    horizon xid8 NOT NULL,
    compared_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (client_id, sync)
);
"""

# What the engine knows a row by: its key where that is a uuid, else one that follows from the key.
ROW_ID = """
CREATE OR REPLACE FUNCTION reconciler.row_id(key text) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $source$
    SELECT CASE WHEN key ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN key
        ELSE md5(key) END::uuid
$source$
"""


def put_functions(connection: Connection) -> None:
    """Write the functions as this version has them."""
    connection.execute(text(ROW_ID))
    settings = " ".join(f"SET {name} = {value}" for name, value in SETTINGS.items())
    for name, source in SOURCES.items():
        connection.execute(
            text(
                f"CREATE OR REPLACE FUNCTION reconciler.{name}() RETURNS trigger "
                f"LANGUAGE plpgsql SECURITY DEFINER {settings} AS $source${source}$source$"
            )
        )


def put_trigger(connection: Connection, watched: Watched, name: str) -> None:
    """Make one of the triggers anew. It also fires for what replication and restores write."""
    arguments = ", ".join(literal(argument) for argument in watched.arguments)
    table = qualified(watched.table)
    when = {
        EDIT_TRIGGER: f"BEFORE INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW",
        TRUNCATE_TRIGGER: f"AFTER TRUNCATE ON {table} FOR EACH STATEMENT",
    }[name]
    connection.execute(text(f"DROP TRIGGER IF EXISTS {name} ON {table}"))
    connection.execute(
        text(
            f"CREATE TRIGGER {name} {when} "
            f"EXECUTE FUNCTION reconciler.{FUNCTION_BY_TRIGGER[name]}({arguments})"
        )
    )
    enable(connection, watched, name)


def enable(connection: Connection, watched: Watched, name: str) -> None:
    """Switch a trigger on, for ordinary sessions and for replication."""
    table = qualified(watched.table)
    connection.execute(text(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}"))


def literal(value: str) -> str:
    """A text as a literal, for a statement in ``sqlalchemy.text``."""
    return "'" + value.replace("'", "''").replace(":", "\\:") + "'"
