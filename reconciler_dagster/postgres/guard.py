"""The guard: one look at the catalogue before a run reads, so that nothing is missed in silence.

Triggers get disabled and forgotten, tables made anew, functions replaced, privileges revoked, rows
hidden. What is wrong is told with its remedy; what can be mended is mended by `reconciler migrate`.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import md5
from typing import Any

from sqlalchemy import Connection, text

from reconciler_dagster.core import guard as judged
from reconciler_dagster.core.guard import Facts, Fired, Trouble, Unfit
from reconciler_dagster.core.sync import Pair
from reconciler_dagster.postgres import trigger
from reconciler_dagster.postgres.jsonb import dump
from reconciler_dagster.postgres.listed import LISTED
from reconciler_dagster.postgres.names import regclass
from reconciler_dagster.postgres.trigger import Watched

# Tables of the portal beside the one that is synced: what a run does with them. Of the synced one
# it needs every column to read, and some to write.
_NEEDED = [
    ("public.clients", "SELECT", False),
    ("public.clients", "UPDATE", False),
    ("public.users", "SELECT", False),
]
_PORTAL = ("public.clients", "public.users")
# Rows of these must not be hidden. Commands as in pg_policy.polcmd.
_SEEN = [("public.clients", "r"), ("public.users", "r")]

# Whether row level security may keep rows of a table from the current role: it is active, and no
# policy lets the role see (r), add (a) or write (w) every row.
_HIDES = """
    row_security_active({oid}) AND (
        EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = {oid} AND NOT p.polpermissive)
        OR EXISTS (SELECT FROM regexp_split_to_table({commands}, '') AS c WHERE NOT EXISTS (
            SELECT FROM pg_policy p, LATERAL (
                SELECT pg_get_expr(p.polqual, p.polrelid) AS seen,
                    pg_get_expr(p.polwithcheck, p.polrelid) AS written) e
            WHERE p.polrelid = {oid} AND p.polcmd IN (c::"char", '*')
              AND EXISTS (SELECT FROM unnest(p.polroles) AS r
                          WHERE CASE WHEN r = 0 THEN true ELSE pg_has_role(r, 'USAGE') END)
              AND (c = 'a' OR coalesce(e.seen, '') = 'true')
              AND (c = 'r' OR coalesce(e.written, e.seen, '') = 'true'))))
"""

# Where the clients are listed in the settings, tables of those names are nobody's business here.
_USED = f"(name NOT IN {_PORTAL} OR to_regclass('{LISTED}') IS NULL)"

# One query, a few milliseconds. What it is given: sources of the functions (md5), and the triggers.
_LOOK = f"""
WITH source AS (
    SELECT * FROM jsonb_each_text(CAST(:sources AS jsonb)) AS s (name, hash)
), given AS (
    SELECT * FROM jsonb_to_recordset(CAST(:triggers AS jsonb))
        AS g (name text, function text, type int2)
), watched AS (
    SELECT oid, relkind FROM pg_class WHERE oid = to_regclass(:table)
), tree AS (  -- the table with its partitions
    SELECT oid FROM watched UNION SELECT p.relid FROM watched w, pg_partition_tree(w.oid) AS p
), named AS (
    SELECT c.oid, c.relfilenode, format('%I.%I', n.nspname, c.relname) AS name
    FROM tree JOIN pg_class c USING (oid) JOIN pg_namespace n ON n.oid = c.relnamespace
), ours AS (
    SELECT p.oid, p.xmin, p.proname, p.proowner, p.prosecdef AND md5(p.prosrc) = s.hash
        AND coalesce(p.proconfig, '{{}}') = CAST(:settings AS text[]) AS as_written
    FROM source s JOIN pg_proc p ON p.proname = s.name AND p.pronargs = 0
    AND p.pronamespace = to_regnamespace('reconciler')
), fired AS (
    SELECT t.tgrelid, t.oid, t.xmin, t.tgname, t.tgenabled, o.proname = g.function
        AND t.tgtype = g.type AND t.tgargs = :arguments AND t.tgqual IS NULL
        AND t.tgattr = '' AS fits
    FROM tree JOIN pg_trigger t ON t.tgrelid = tree.oid JOIN ours o ON o.oid = t.tgfoid
    LEFT JOIN given g ON g.name = t.tgname
), wanted AS (  -- the trigger for TRUNCATE is not inherited by partitions
    SELECT n.name AS "table", n.oid, g.name FROM named n, watched, given g
    WHERE g.type & 1 = 1 OR n.oid = watched.oid
), used AS (
    SELECT name, to_regclass(name) AS oid
    FROM unnest(ARRAY['reconciler.guard', 'reconciler.trigger_trouble', 'reconciler.unsettled'])
        AS name
), rows_seen AS (
    SELECT *, to_regclass(name) AS oid FROM jsonb_to_recordset(CAST(:seen AS jsonb))
        AS s (name text, commands text) WHERE {_USED}
), needed AS (
    SELECT *, to_regclass(name) AS oid FROM jsonb_to_recordset(CAST(:needed AS jsonb))
        AS n (name text, privilege text, whole boolean) WHERE {_USED}
)
SELECT coalesce((SELECT relkind::text FROM watched), '') AS kind, current_user::text AS role,
(SELECT coalesce(jsonb_agg(jsonb_build_object('table', w."table", 'name', w.name, 'state',
    CASE WHEN f.oid IS NULL THEN 'missing' WHEN f.fits THEN f.tgenabled::text ELSE 'altered' END)
    ORDER BY w."table", w.name), '[]')
 FROM wanted w LEFT JOIN fired f ON f.tgrelid = w.oid AND f.tgname = w.name) AS triggers,
array(SELECT 'reconciler.' || name FROM source WHERE NOT EXISTS (
    SELECT FROM ours WHERE proname = name AND as_written) ORDER BY 1) AS functions,
array(SELECT name FROM used WHERE oid IS NULL ORDER BY 1) AS gone,
array(SELECT name FROM used WHERE name <> 'reconciler.guard' AND EXISTS (SELECT FROM ours
    WHERE NOT has_table_privilege(proowner, used.oid, 'INSERT')) ORDER BY 1) AS unwritable,
array(SELECT name FROM rows_seen s WHERE oid IS NOT NULL
    AND {_HIDES.format(oid="s.oid", commands="s.commands")}) AS hidden,
array(SELECT privilege || ' ON ' || name FROM needed n
    WHERE oid IS NOT NULL AND CASE WHEN whole THEN EXISTS (
        SELECT FROM pg_attribute a WHERE a.attrelid = n.oid AND a.attnum > 0
        AND NOT a.attisdropped AND NOT has_column_privilege(n.oid, a.attnum, privilege))
    ELSE NOT has_any_column_privilege(oid, privilege) END
    UNION ALL
    SELECT privilege || ' ON reconciler.' || c.relname
    FROM pg_class c, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS privilege
    WHERE c.relnamespace = to_regnamespace('reconciler') AND c.relkind IN ('r', 'p')
    AND c.relname <> 'alembic_version' AND NOT has_table_privilege(c.oid, privilege)) AS denied,
md5(concat_ws(' ',
    (SELECT string_agg(concat_ws(',', oid, relfilenode), ';' ORDER BY oid) FROM named),
    (SELECT string_agg(concat_ws(',', oid, xmin, tgenabled), ';' ORDER BY oid) FROM fired),
    (SELECT string_agg(concat_ws(',', oid, xmin), ';' ORDER BY oid) FROM ours),
    (SELECT string_agg(concat_ws(',', a.attname, a.attnum, a.atttypid), ';' ORDER BY a.attnum)
     FROM watched JOIN pg_attribute a ON a.attrelid = watched.oid
     WHERE a.attname = ANY(:columns) AND NOT a.attisdropped),
    (SELECT string_agg(concat_ws(',', c.oid, c.relfilenode, c.relacl), ';' ORDER BY c.oid)
     FROM used JOIN pg_class c USING (oid) WHERE used.name <> 'reconciler.guard'))) AS fingerprint
"""  # noqa: S608

# Row triggers: ROW 1, BEFORE 2, INSERT 4, DELETE 8, UPDATE 16; TRUNCATE 32 (pg_trigger.tgtype).
_TYPES = {trigger.EDIT_TRIGGER: 31, trigger.TRUNCATE_TRIGGER: 32}

# Of each kind of trouble: those that this client's runs have not made up for yet; all of them
# where no client is given.
_TROUBLES = """
    SELECT table_name, sqlstate, CASE WHEN sqlstate = :own THEN min(message) END, count(*),
        min(noted_at), max(noted_at)
    FROM reconciler.trigger_trouble t WHERE NOT EXISTS (
        SELECT FROM reconciler.guard g WHERE g.client_id = CAST(:client_id AS uuid)
        AND g.sync = :sync AND pg_visible_in_snapshot(t.transaction, g.compared))
    GROUP BY table_name, sqlstate ORDER BY min(noted_at)
"""


def read_facts(connection: Connection, watched: Watched, client_id: str | None = None) -> Facts:
    """What the catalogue says of a table that is watched, and of the rights of this role.

    ``client_id``: whose trouble is told, that is, what its runs have not made up for yet.
    """
    row = connection.execute(text(_LOOK), _expected(watched)).one()
    facts: dict[str, Any] = {
        "table": str(watched.table),
        "kind": row.kind,
        "role": row.role,
        "fingerprint": row.fingerprint,
        "triggers": [Fired(**fired) for fired in row.triggers],
        "functions": list(row.functions),
        "gone": list(row.gone),
        "unwritable": list(row.unwritable),
        "hidden": list(row.hidden),
        "denied": list(row.denied),
    }
    if not row.gone:
        found = {
            "own": trigger.OWN_SQLSTATE,
            "client_id": client_id,
            "sync": watched.sync,
        }
        facts["troubles"] = [Trouble(*row) for row in connection.execute(text(_TROUBLES), found)]
    return Facts(**facts)


def _expected(watched: Watched) -> dict[str, Any]:
    table = regclass(watched.table)
    needed = [(table, "SELECT", True), (table, "INSERT", False), (table, "UPDATE", False), *_NEEDED]
    if watched.table.log is not None:
        needed.append((watched.table.log.table, "INSERT", False))
    return {
        "table": table,
        "columns": list(filter(None, watched.arguments[:3])),
        "sources": dump(
            {
                name: md5(src.encode(), usedforsecurity=False).hexdigest()
                for name, src in trigger.SOURCES.items()
            }
        ),
        "settings": [f"{name}={value}" for name, value in trigger.SETTINGS.items()],
        "arguments": b"".join(argument.encode() + b"\0" for argument in watched.arguments),
        "triggers": dump(
            [
                {"name": name, "function": function, "type": _TYPES[name]}
                for name, function in trigger.FUNCTION_BY_TRIGGER.items()
            ]
        ),
        "needed": dump([{"name": t, "privilege": p, "whole": w} for t, p, w in needed]),
        "seen": dump([{"name": t, "commands": c} for t, c in [(table, "raw"), *_SEEN]]),
    }


def require(connection: Connection, pair: Pair) -> Facts:
    """A look before a run; Unfit where nothing can be carried over as things stand."""
    facts = read_facts(connection, Watched(pair.table, pair.sync), pair.client_id)
    stopping = [str(problem) for problem in judged.problems(facts) if problem.stops]
    if stopping:
        raise Unfit(" ".join(stopping))
    return facts


_CLIENTS = f"""
    SELECT has_any_column_privilege(c.oid, 'SELECT') AS may, current_user::text AS role,
        {_HIDES.format(oid="c.oid", commands=":commands")} AS hides
    FROM pg_class c WHERE c.oid = to_regclass('public.clients') AND to_regclass('{LISTED}') IS NULL
"""  # noqa: S608


def require_clients(connection: Connection) -> None:
    """Raise Unfit where clients may be hidden from this role, or it may not read them: a client
    that is not seen would look like one that is not there.
    """
    row = connection.execute(text(_CLIENTS), {"commands": "r"}).one_or_none()
    if row is None or (row.may and not row.hides):
        return
    facts = Facts("public.clients", "r", row.role, "", denied=["SELECT ON public.clients"])
    problem = judged.hidden("public.clients", row.role)
    raise Unfit(str(problem if row.may else judged.problems(facts)[0]))


def mend(connection: Connection, watched: Watched) -> list[str]:
    """Put functions, tables and triggers back as they have to be. Grants nothing.

    Returns what was wrong and is no more; empty where there was nothing to mend.
    """
    facts = read_facts(connection, watched)
    wrong = list(judged.unwatched(facts))
    if not wrong or facts.kind not in ("r", "p"):
        return []
    connection.execute(text(trigger.TABLES))
    if facts.functions:
        trigger.put_functions(connection)
    for name in trigger.FUNCTION_BY_TRIGGER:
        states = {fired.state for fired in facts.triggers if fired.name == name}
        if facts.functions or states & {"missing", "altered"}:
            trigger.put_trigger(connection, watched, name)
        elif states != {"A"}:
            trigger.enable(connection, watched, name)
    left = list(judged.unwatched(read_facts(connection, watched)))
    return [what for what in wrong if what not in left]


def is_table(connection: Connection, watched: Watched) -> bool:
    """Whether triggers can be put there: it may be gone, or a view in its place."""
    return read_facts(connection, watched).kind in ("r", "p")


def remove_strays(connection: Connection, watched: Iterable[Watched]) -> None:
    """Triggers under another name, on a table that has made way for another one, or on one that no
    sync names any more.
    """
    strays = connection.execute(
        text(
            "SELECT format('DROP TRIGGER %I ON %s', t.tgname, t.tgrelid::regclass) "
            "FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid "
            "WHERE p.pronamespace = to_regnamespace('reconciler') AND p.proname = ANY(:functions) "
            "AND t.tgparentid = 0 AND NOT EXISTS ("
            "SELECT FROM unnest(CAST(:tables AS text[])) AS w (name) "
            "WHERE t.tgrelid = to_regclass(w.name) AND t.tgname = ANY(:names))"
        ),
        {
            "functions": list(trigger.SOURCES),
            "names": list(trigger.FUNCTION_BY_TRIGGER),
            "tables": [regclass(one.table) for one in watched],
        },
    ).scalars()
    for statement in list(strays):
        connection.execute(text(statement.replace(":", "\\:")))


def to_install(connection: Connection, watched: Iterable[Watched]) -> list[str]:
    """What ``mend`` would do, a sentence each."""
    return [
        f"{regclass(one.table)}, for the sync {one.sync}: {what}"
        for one in watched
        for what in judged.unwatched(read_facts(connection, one))
    ]
