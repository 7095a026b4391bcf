"""The owner's portal, rebuilt from the fact sheet: its tables, constraints, trigger and writers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, text

from reconciler_dagster.core.reading import from_airtable
from reconciler_dagster.core.values import Directory
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.migrate import upgrade
from reconciler_dagster_tests.mapping import LEADS
from reconciler_dagster_tests.world import World, world

_TABLES = """
CREATE TABLE clients (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), company_name varchar(255) NOT NULL,
    email varchar(255), phone varchar(50), airtable_base_id varchar(255) NOT NULL UNIQUE,
    is_active boolean NOT NULL DEFAULT true, last_sync_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE users (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), email varchar(255) NOT NULL UNIQUE,
    first_name varchar(100) NOT NULL DEFAULT '', last_name varchar(100) NOT NULL DEFAULT '',
    role varchar(50) NOT NULL DEFAULT 'CLIENT_USER', client_id uuid REFERENCES clients (id),
    is_active boolean NOT NULL DEFAULT true
);
CREATE TABLE campaigns (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), client_id uuid NOT NULL REFERENCES clients (id),
    name varchar(255) NOT NULL, campaign_type varchar(50) DEFAULT 'Standard',
    airtable_record_id varchar(255) UNIQUE, is_paused boolean NOT NULL DEFAULT false,
    messages_sent int DEFAULT 0, total_leads int DEFAULT 0, active_leads_count int DEFAULT 0,
    completed_leads_count int DEFAULT 0, opted_out_count int DEFAULT 0, booked_count int DEFAULT 0,
    form_id varchar(255), webinar_datetime timestamptz, zoom_link varchar(500),
    resource_link varchar(500), resource_name varchar(255), auto_discovered boolean DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now(),
    messages jsonb, version int NOT NULL DEFAULT 1, is_active boolean DEFAULT true
);
CREATE TABLE leads (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    client_id uuid NOT NULL REFERENCES clients (id) ON DELETE CASCADE,
    campaign_id uuid REFERENCES campaigns (id) ON DELETE SET NULL,
    airtable_record_id varchar(255) NOT NULL UNIQUE, first_name varchar(255) NOT NULL,
    last_name varchar(255) NOT NULL, email varchar(255) NOT NULL, phone varchar(20),
    company varchar(255), title varchar(255), icp_score int NOT NULL DEFAULT 0,
    status varchar(50) NOT NULL DEFAULT 'New', processing_status varchar(50),
    hrq_status varchar(50), claimed_by uuid, claimed_at timestamptz, notes text,
    campaign_name varchar(255), lead_source varchar(50) DEFAULT 'Standard Form',
    campaign_variant varchar(10), campaign_batch varchar(100), sms_sequence_position int DEFAULT 0,
    sms_sent_count int DEFAULT 0, click_count int DEFAULT 0, sms_last_sent_at timestamptz,
    booked_at timestamptz, first_clicked_at timestamptz, webinar_datetime timestamptz,
    sms_eligible boolean DEFAULT true, sms_stop boolean DEFAULT false,
    sms_stop_reason varchar(500), booked boolean DEFAULT false,
    clicked_link boolean DEFAULT false, short_link_id varchar(100), short_link_url varchar(500),
    linkedin_url varchar(500), company_linkedin varchar(500), enrichment_outcome varchar(100),
    enrichment_attempted_at timestamptz, form_id varchar(255), kajabi_tags text[],
    engagement_level varchar(50), last_message_at timestamptz, last_activity_at timestamptz,
    is_active boolean NOT NULL DEFAULT true, completed_at timestamptz,
    campaign_history jsonb DEFAULT '[]', enrolled_campaign_version int,
    enrolled_message_count int NOT NULL DEFAULT 0, enrolled_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(), updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE lead_activity_log (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(), event_type varchar(100) NOT NULL,
    event_category varchar(50) NOT NULL, lead_id uuid REFERENCES leads (id) ON DELETE CASCADE,
    lead_airtable_id varchar(255), client_id uuid, description text NOT NULL,
    message_content text, metadata jsonb, source varchar(100) NOT NULL, execution_id varchar(255),
    created_by varchar(255), timestamp timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE FUNCTION log_sms_activity() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.sms_sent_count > OLD.sms_sent_count THEN
        INSERT INTO lead_activity_log (event_type, event_category, lead_id, lead_airtable_id,
            client_id, description, metadata, source, timestamp)
        VALUES ('SMS_SENT', 'MESSAGING', NEW.id, NEW.airtable_record_id, NEW.client_id, 'SMS sent',
            jsonb_build_object('increment', NEW.sms_sent_count - OLD.sms_sent_count),
            'system:database-trigger', now());
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER sms_activity_logger AFTER UPDATE OF sms_sent_count ON leads
    FOR EACH ROW EXECUTE FUNCTION log_sms_activity();
"""

# Databases of the same portal differ. What each has that others have not.
VARIANTS = {
    "as it is": "SELECT 1",
    "a check on lead_source": "ALTER TABLE leads ADD CHECK (lead_source IN "
    "('Webinar Form', 'Standard Form', 'Manual', 'Bulk Import')) NOT VALID",
    "campaign_id NOT NULL": "ALTER TABLE leads ALTER campaign_id SET NOT NULL",
    "campaign_id that must be given": "ALTER TABLE leads ADD CHECK (campaign_id IS NOT NULL) "
    "NOT VALID",
    "a column that must be given and is not mapped": "ALTER TABLE leads ADD import_id text; "
    "UPDATE leads SET import_id = ''; ALTER TABLE leads ALTER import_id SET NOT NULL",
    "a trigger that raises": "CREATE FUNCTION own() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
    "IF NEW.company LIKE '%a%' THEN RAISE 'no such company'; END IF; RETURN NEW; END $$; "
    "CREATE TRIGGER own BEFORE INSERT OR UPDATE ON leads FOR EACH ROW EXECUTE FUNCTION own()",
    "a trigger that raises after the row": "CREATE FUNCTION own() RETURNS trigger "
    "LANGUAGE plpgsql AS $$ BEGIN IF NEW.company LIKE '%a%' THEN RAISE 'no such company'; END IF; "
    "RETURN NULL; END $$; "
    "CREATE CONSTRAINT TRIGGER own AFTER INSERT OR UPDATE ON leads DEFERRABLE INITIALLY DEFERRED "
    "FOR EACH ROW EXECUTE FUNCTION own()",
    "a trigger that changes another column": "CREATE FUNCTION own() RETURNS trigger "
    "LANGUAGE plpgsql AS $$ BEGIN NEW.title := upper(NEW.company); NEW.updated_at := now(); "
    "RETURN NEW; END $$; "
    "CREATE TRIGGER own BEFORE UPDATE OF company ON leads FOR EACH ROW EXECUTE FUNCTION own()",
    "a trigger that changes": "CREATE FUNCTION own() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
    "NEW.title := upper(NEW.title); RETURN NEW; END $$; "
    "CREATE TRIGGER own BEFORE INSERT OR UPDATE ON leads FOR EACH ROW EXECUTE FUNCTION own()",
}

# Its writers, as the fact sheet has them.
CRON = (
    "UPDATE leads SET status = 'New', is_active = true, updated_at = now() "
    "WHERE client_id = (SELECT id FROM clients ORDER BY company_name LIMIT 1)"
)
CRON_WITH_THE_TIME = CRON.replace("'New'", "'Synced ' || clock_timestamp()")
PAUSE = "UPDATE leads SET processing_status = 'Paused' WHERE processing_status = 'In Sequence'"
DE_ENROL = (
    "UPDATE leads SET is_active = false, completed_at = now(), updated_at = now() "
    "WHERE airtable_record_id = :id"
)
CAMPAIGN_PAGE = (
    "SELECT c.name, count(*), count(*) FILTER (WHERE l.is_active), sum(l.sms_sent_count) "
    "FROM campaigns c JOIN leads l ON l.campaign_id = c.id GROUP BY c.name ORDER BY c.name"
)


def of_columns(here: World) -> dict[str, str]:
    """A hash of each column over the leads that were there first."""
    columns = here.sql(
        "SELECT column_name FROM information_schema.columns "
        "WHERE table_schema = 'public' AND table_name = 'leads'"
    )
    return {
        name: here.value(
            f'SELECT md5(string_agg(coalesce(l."{name}"::text, chr(1)), chr(2) ORDER BY id)) '  # noqa: S608
            "FROM leads l WHERE id IN (SELECT id FROM first_leads)"
        )
        for (name,) in columns
    }


BASES = ("appAcme0000000000", "appBeta0000000000")

# Leads of each client whose records have been deleted long ago, which the old sync never noticed.
GONE = 5
_GONE = (
    "INSERT INTO leads (client_id, airtable_record_id, first_name, last_name, email) "
    "SELECT id, 'rec' || substr(airtable_base_id, 4, 4) || lpad(n::text, 10, '0'), 'Gone', '', '' "
    "FROM clients, generate_series(1, :gone) n WHERE airtable_base_id = :base"
)


def create_tables(own: Engine) -> None:
    """The portal's tables, with nothing in them."""
    with own.begin() as connection:
        connection.exec_driver_sql(_TABLES)


@contextmanager
def owners_portal(
    url: str, variant: str, leads: int = 200, bases: Sequence[str] = BASES[:1]
) -> Iterator[World]:
    """The owner's portal with nearly all leads of each base, filled by its old sync some time ago;
    a client for each base.
    """
    own = engine(url)
    create_tables(own)
    upgrade(own)
    with world(url, leads=leads, adopted=False, base_ids=bases) as here:
        for base in bases[1:]:
            here.sql("INSERT INTO clients (company_name, airtable_base_id) VALUES (:b, :b)", b=base)
        for base in bases:
            records = here.sandbox.on(base).records()
            with own.begin() as connection:
                for number, record_id in enumerate(sorted(records)[10:]):
                    _insert(connection, base, record_id, records[record_id]["fields"], number)
                connection.execute(text(_GONE), {"base": base, "gone": GONE})
        here.sql("CREATE TABLE first_leads AS SELECT id FROM leads")
        here.sql(
            "WITH c AS (INSERT INTO campaigns (client_id, name) SELECT DISTINCT client_id, "
            "coalesce(campaign_name, 'None') FROM leads RETURNING id, client_id, name) "
            "UPDATE leads SET campaign_id = c.id FROM c WHERE c.client_id = leads.client_id "
            "AND c.name = coalesce(leads.campaign_name, 'None')"
        )
        here.sql(DE_ENROL, id=sorted(here.sandbox.records())[20])
        here.sql(VARIANTS[variant])
        here.sql("TRUNCATE lead_activity_log")
        yield here
    own.dispose()


def _insert(
    connection: Connection, base: str, record_id: str, cells: dict[str, Any], number: int
) -> None:
    """A lead as the old sync has it: every third has one SMS fewer, some differ otherwise."""
    by_column = {f.column: cells[f.airtable] for f in LEADS if f.airtable in cells}
    row, _ = from_airtable(by_column, LEADS, Directory())
    row = {c: v for c, v in row.items() if v is not None and c not in ("claimed_by", "claimed_at")}
    if number % 3 == 0 and row.get("sms_sent_count"):
        row["sms_sent_count"] -= 1
    if number % 10 == 0:
        row["company"], row["title"] = "Renamed a while ago", "Then"
    if number % 17 == 0:
        row["hrq_status"] = "Postponed"  # a word of the portal's own, and no option in Airtable
    if number % 23 == 0 and "sms_stop_reason" not in row:
        row["sms_stop_reason"] = "Asked by phone"  # Airtable has nothing there yet
    names = ", ".join(f'"{name}"' for name in row)
    values = ", ".join(f":{name}" for name in row)
    connection.execute(
        text(
            f"INSERT INTO leads (client_id, airtable_record_id, {names}) "  # noqa: S608
            f"SELECT id, :record_id, {values} FROM clients WHERE airtable_base_id = :base"
        ),
        {"record_id": record_id, "base": base, **row},
    )
