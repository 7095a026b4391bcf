"""Whether the tables of a database are those of a portal as a run needs them. Pure.

Looked at before anything is migrated or written. What is wrong is said in sentences for a person,
each with its remedy; the statements among them are SQL that can be run as it stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from reconciler_dagster.core.binding import unfilled
from reconciler_dagster.core.fields import FieldMap
from reconciler_dagster.core.guard import Problem
from reconciler_dagster.core.pairs import Column, column_loss

_TEXT = ("varchar", "text", "bpchar", "citext", "user-defined")
_KEY = ("varchar", "text")
_MOMENT = ("timestamptz", "timestamp", "date")


@dataclass(frozen=True)
class Needed:
    """A column that statements of the engine or of its API name. ``types``: as Postgres names them
    inside. ``definition``: what makes one where there is none. ``by_runs``: without it no run can
    work; otherwise only the API.
    """

    types: tuple[str, ...]
    definition: str
    by_runs: bool = True


_ACTIVE: Final = "boolean NOT NULL DEFAULT true"
TABLES: Final[Mapping[str, Mapping[str, Needed]]] = {
    "clients": {
        "id": Needed(("uuid",), "uuid NOT NULL DEFAULT gen_random_uuid()"),
        "company_name": Needed(_TEXT, "varchar(255)"),
        "airtable_base_id": Needed(_TEXT, "varchar(255)"),
        "is_active": Needed(("bool",), _ACTIVE),
        "last_sync_at": Needed(_MOMENT, "timestamptz"),
    },
    "users": {
        "id": Needed(("uuid",), "uuid NOT NULL DEFAULT gen_random_uuid()"),
        "email": Needed(_TEXT, "varchar(255)"),
        "first_name": Needed(_TEXT, "varchar(255)", by_runs=False),
        "last_name": Needed(_TEXT, "varchar(255)", by_runs=False),
        "role": Needed(_TEXT, "varchar(50) NOT NULL DEFAULT 'CLIENT_USER'", by_runs=False),
        "client_id": Needed(("uuid",), "uuid", by_runs=False),
        "is_active": Needed(("bool",), _ACTIVE, by_runs=False),
    },
    "leads": {
        "id": Needed(("uuid",), "uuid NOT NULL DEFAULT gen_random_uuid()"),
        "client_id": Needed(("uuid",), "uuid"),
        "airtable_record_id": Needed(_KEY, "varchar(255) UNIQUE"),
        "is_active": Needed(("bool",), _ACTIVE),
    },
    "lead_activity_log": {
        "id": Needed(("uuid",), "uuid NOT NULL DEFAULT gen_random_uuid()"),
        "event_type": Needed(_TEXT, "varchar(100)"),
        "event_category": Needed(_TEXT, "varchar(50)"),
        "lead_id": Needed(("uuid",), "uuid"),
        "lead_airtable_id": Needed(_TEXT, "varchar(255)"),
        "client_id": Needed(("uuid",), "uuid"),
        "description": Needed(_TEXT, "text"),
        "message_content": Needed(_TEXT, "text", by_runs=False),
        "metadata": Needed(("jsonb", "json"), "jsonb", by_runs=False),
        "source": Needed(_TEXT, "varchar(100)"),
        "execution_id": Needed(_TEXT, "varchar(255)"),
        "created_by": Needed(_TEXT, "varchar(255)", by_runs=False),
        "timestamp": Needed(_MOMENT, "timestamptz"),
        "created_at": Needed(_MOMENT, "timestamptz NOT NULL DEFAULT now()"),
    },
}
# What tells a portal's `leads` from any other table of that name.
RECORD_ID: Final = "airtable_record_id"


@dataclass(frozen=True)
class PortalCatalogue:
    """What the catalogue says. ``types``: by table of ``public`` and column, whoever may read it.
    ``columns``: of each table, those that the role may see. ``elsewhere``: by schema, the tables
    that it has, where its leads are a portal's. ``has_leads``: whether a row is in
    ``public.leads``. ``nobodys_claims``: values of a textual claimed_by that are no user's id.
    """

    role: str = ""
    types: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    columns: Mapping[str, Sequence[Column]] = field(default_factory=dict)
    elsewhere: Mapping[str, Sequence[str]] = field(default_factory=dict)
    has_leads: bool = False
    nobodys_claims: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing of a portal is there."""
        return not self.types and not self.elsewhere


def problems(found: PortalCatalogue, fields: FieldMap) -> list[Problem]:
    """What is wrong with the portal's tables; ``fields``: what is mapped."""
    if away := in_another_schema(found):
        return [away]
    if found.is_empty:
        return []
    return [
        *_unreadable(found),
        *_missing_tables(found),
        *_missing_columns(found),
        *_of_claims(found),
        *_without_zone(found, fields),
        *_misfits(found, fields),
        *_not_filled(found, fields),
    ]


def in_another_schema(found: PortalCatalogue) -> Problem | None:
    """The portal's tables are not where the engine looks for them."""
    if not found.elsewhere or found.has_leads:
        return None
    schema, tables = sorted(found.elsewhere.items(), key=lambda one: -len(one[1]))[0]
    moves = [f"ALTER TABLE {identifier(schema)}.{table} SET SCHEMA public;" for table in tables]
    if "leads" in found.types:
        moves.insert(0, "`reconciler migrate --down` (public.leads is there too, but empty), then")
    return Problem(
        f"The portal's leads are in the schema {schema}; the engine reads and writes the schema "
        "public alone.",
        f"Move its tables, as their owner: {' '.join(moves)} The portal finds them there with "
        f"search_path = {identifier(schema)}, public. `reconciler migrate` does nothing before.",
        stops=True,
    )


def required(columns: Iterable[Column]) -> list[str]:
    """Columns that whoever inserts a row has to give."""
    return [column.name for column in columns if not column.may_be_left_out]


def identifier(name: str) -> str:
    """A name as a statement may have it."""
    plain = name.isascii() and name.replace("_", "a").isalnum() and name == name.lower()
    return name if plain and not name[0].isdigit() else '"' + name.replace('"', '""') + '"'


def _unreadable(found: PortalCatalogue) -> Iterator[Problem]:
    for table in found.types.keys() - found.columns.keys():
        yield Problem(
            f"The database role {found.role} may not read public.{table}.",
            "Run migrations/least_privilege.sql as the owner of the tables, or grant it.",
            stops=True,
        )


def _missing_tables(found: PortalCatalogue) -> Iterator[Problem]:
    for table in TABLES:
        if table not in found.types:
            there = ", ".join(f"public.{name}" for name in found.types)
            yield Problem(
                f"There is no table public.{table}, as there is of {there}.",
                "Where it has another name, give it this one; else `reconciler migrate` makes it, "
                "empty.",
                stops=True,
            )


def _missing_columns(found: PortalCatalogue) -> Iterator[Problem]:
    for table, types in found.types.items():
        for name, needed in TABLES[table].items():
            whose = "No run" if needed.by_runs else "The portal's API"
            what = "works without it" if needed.by_runs else "cannot work without it"
            if name not in types:
                yield Problem(
                    f"{table}.{name} is missing. {whose} {what}.",
                    "Where it has another name, give it this one; else ALTER TABLE "
                    f"public.{table} ADD COLUMN {name} {needed.definition};",
                    stops=needed.by_runs,
                )
            elif types[name] not in needed.types:
                yield Problem(
                    f"{table}.{name} is of type {types[name]}, expected {needed.types[0]}.",
                    "Change it back.",
                    stops=needed.by_runs,
                )


def _of_claims(found: PortalCatalogue) -> Iterator[Problem]:
    claimed = _column(found, "claimed_by")
    if claimed is None or claimed.type not in _TEXT:
        return
    nobodys = found.nobodys_claims
    many = "one value is" if nobodys == 1 else f"{nobodys} of its values are"
    yield Problem(
        f"leads.claimed_by is {claimed.sql_type}, expected uuid, the id of a user: {many} no "
        "user's id, and the portal's API cannot say who holds a lead.",
        "UPDATE public.leads l SET claimed_by = u.id::text FROM public.users u WHERE "
        "lower(btrim(l.claimed_by)) IN (lower(u.email), lower(concat_ws(' ', u.first_name, "
        "u.last_name))); ALTER TABLE public.leads ALTER COLUMN claimed_by TYPE uuid USING "
        "claimed_by::uuid; (what is still nobody's then keeps the second from being done: correct "
        "it, or empty it together with claimed_at)",
    )


def _without_zone(found: PortalCatalogue, fields: FieldMap) -> Iterator[Problem]:
    naive = [c for c in found.columns.get("leads", ()) if c.type == "timestamp"]
    if not naive:
        return
    mapped = [
        c.name
        for c in naive
        if c.name in fields.columns and column_loss(fields[c.name].codec, c, "leads")
    ]
    changes = ", ".join(
        f"ALTER COLUMN {identifier(c.name)} TYPE timestamptz USING {identifier(c.name)} AT TIME "
        "ZONE 'UTC'"
        for c in naive
    )
    stopped = f" The fields of {', '.join(mapped)} are stopped until then." if mapped else ""
    yield Problem(
        f"{', '.join(f'leads.{c.name}' for c in naive)}: timestamp without time zone, so nobody "
        "can tell which moment a value means.",
        f"ALTER TABLE public.leads {changes}; (in place of UTC the zone that the portal writes "
        f"in).{stopped}",
    )


def _misfits(found: PortalCatalogue, fields: FieldMap) -> Iterator[Problem]:
    """Mapped columns that cannot hold their field's values at all."""
    there = found.types.get("leads")
    for mapped in fields if there else ():
        column = _column(found, mapped.column)
        if there and mapped.column not in there:
            yield Problem(
                f"leads.{mapped.column} is missing, so '{mapped.airtable}' is stopped.", "Add it."
            )
        elif (
            column
            and column.type != "timestamp"
            and (why := column_loss(mapped.codec, column, "leads"))
        ):
            yield Problem(f"'{mapped.airtable}' is stopped: {why}.", "Change the column back.")


def _not_filled(found: PortalCatalogue, fields: FieldMap) -> Iterator[Problem]:
    for sentence in unfilled(fields, found.columns.get("leads", ()), "leads"):
        what, _, remedy = sentence.partition("; ")
        yield Problem(f"{what}:", remedy)
    log = found.columns.get("lead_activity_log", ())
    others = [name for name in required(log) if name not in TABLES["lead_activity_log"]]
    for name in others:
        yield Problem(
            f"lead_activity_log.{name} is NOT NULL without default, and nothing here fills it: "
            "what is done to a lead could not be logged, so it would not be done.",
            f"ALTER TABLE public.lead_activity_log ALTER COLUMN {identifier(name)} DROP NOT NULL; "
            "or give it a default.",
            stops=True,
        )


def _column(found: PortalCatalogue, name: str) -> Column | None:
    return next((c for c in found.columns.get("leads", ()) if c.name == name), None)
