"""The portal's tables where they are missing; a portal that has them keeps all that it has.

What is created here is marked with a comment, so that the way down removes only our own tables,
and these only while they are empty: a migration never destroys a lead.
"""

import sqlalchemy as sa
from alembic import context, op

from reconciler_dagster.config import ConfigurationError

revision = "0001"
down_revision = None

MARK = "Created by the reconciler."

TABLES = {
    "clients": """
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        company_name varchar(255) NOT NULL,
        email varchar(255),
        phone varchar(50),
        airtable_base_id varchar(255) NOT NULL UNIQUE,
        is_active boolean NOT NULL DEFAULT true,
        last_sync_at timestamptz,
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now()
    """,
    "users": """
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        email varchar(255) NOT NULL UNIQUE,
        first_name varchar(255),
        last_name varchar(255),
        role varchar(50) NOT NULL DEFAULT 'CLIENT_USER',
        client_id uuid REFERENCES public.clients (id) ON DELETE SET NULL,
        is_active boolean NOT NULL DEFAULT true,
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now()
    """,
    "campaigns": """
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        client_id uuid NOT NULL REFERENCES public.clients (id) ON DELETE CASCADE,
        name varchar(255) NOT NULL,
        airtable_record_id varchar(255) UNIQUE,
        is_paused boolean NOT NULL DEFAULT false,
        messages_sent int NOT NULL DEFAULT 0,
        total_leads int NOT NULL DEFAULT 0,
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now()
    """,
    "leads": """
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        client_id uuid NOT NULL REFERENCES public.clients (id) ON DELETE CASCADE,
        campaign_id uuid REFERENCES public.campaigns (id) ON DELETE SET NULL,
        airtable_record_id varchar(255) NOT NULL UNIQUE,
        first_name varchar(255) NOT NULL,
        last_name varchar(255) NOT NULL,
        email varchar(255) NOT NULL,
        phone varchar(20),
        company varchar(255),
        title varchar(255),
        icp_score int NOT NULL DEFAULT 0,
        status varchar(50) NOT NULL DEFAULT 'New',
        processing_status varchar(50),
        hrq_status varchar(50),
        claimed_by uuid REFERENCES public.users (id) ON DELETE SET NULL,
        claimed_at timestamptz,
        notes text,
        campaign_name varchar(255),
        lead_source varchar(50) DEFAULT 'Standard Form',
        campaign_variant varchar(10),
        campaign_batch varchar(100),
        sms_sequence_position int DEFAULT 0,
        sms_sent_count int DEFAULT 0,
        click_count int DEFAULT 0,
        sms_last_sent_at timestamptz,
        booked_at timestamptz,
        first_clicked_at timestamptz,
        webinar_datetime timestamptz,
        sms_eligible boolean DEFAULT true,
        sms_stop boolean DEFAULT false,
        sms_stop_reason varchar(500),
        booked boolean DEFAULT false,
        clicked_link boolean DEFAULT false,
        short_link_id varchar(100),
        short_link_url varchar(500),
        linkedin_url varchar(500),
        company_linkedin varchar(500),
        enrichment_outcome varchar(100),
        enrichment_attempted_at timestamptz,
        form_id varchar(255),
        kajabi_tags text[],
        engagement_level varchar(50),
        last_message_at timestamptz,
        last_activity_at timestamptz,
        is_active boolean NOT NULL DEFAULT true,
        completed_at timestamptz,
        campaign_history jsonb,
        enrolled_campaign_version varchar(50),
        enrolled_message_count int NOT NULL DEFAULT 0,
        enrolled_at timestamptz,
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now()
    """,
    "lead_activity_log": """
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
        event_type varchar(100) NOT NULL,
        event_category varchar(100) NOT NULL,
        lead_id uuid REFERENCES public.leads (id) ON DELETE CASCADE,
        lead_airtable_id varchar(255),
        client_id uuid,
        description text NOT NULL,
        message_content text,
        metadata jsonb,
        source varchar(100) NOT NULL,
        execution_id varchar(255),
        created_by varchar(255),
        timestamp timestamptz NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now()
    """,
}


# What the trigger on leads reads: without it, every write of the portal would fail.
NEEDED = {"id": "uuid", "client_id": "uuid", "airtable_record_id": "character varying"}


def require_leads() -> None:
    rows = op.get_bind().execute(
        sa.text(
            "SELECT column_name, data_type FROM information_schema.columns "
            "WHERE table_schema = 'public' AND table_name = 'leads'"
        )
    )
    found = {row.column_name: row.data_type for row in rows}
    for column, expected in NEEDED.items() if found else ():
        accepted = {expected} | ({"text"} if expected == "character varying" else set())
        if found.get(column) not in accepted:
            raise ConfigurationError(
                f"leads.{column} is {found.get(column, 'missing')}, expected {expected}: "
                "this database is no lead portal, and was left as it is."
            )


def upgrade() -> None:
    if context.config.attributes.get("listed"):  # without a portal, nothing of one is made
        return
    require_leads()
    for name, columns in TABLES.items():
        op.execute(f"""
            DO $$ BEGIN
                IF to_regclass('public.{name}') IS NULL THEN
                    CREATE TABLE public.{name} ({columns});
                    COMMENT ON TABLE public.{name} IS '{MARK}';
                END IF;
            END $$
        """)
    # An index only on a table of ours: an adopted one keeps exactly the indexes that it has.
    for name, columns in (("leads", "client_id"), ("lead_activity_log", "lead_id, timestamp")):
        op.execute(f"""
            DO $$ BEGIN
                IF obj_description('public.{name}'::regclass) = '{MARK}' THEN
                    CREATE INDEX ON public.{name} ({columns});
                END IF;
            END $$
        """)
    op.execute(f"""
        DO $$ BEGIN
            IF NOT EXISTS (SELECT FROM information_schema.columns WHERE table_schema = 'public'
                           AND table_name = 'leads' AND column_name = 'updated_at') THEN
                ALTER TABLE public.leads ADD COLUMN updated_at timestamptz NOT NULL DEFAULT now();
                COMMENT ON COLUMN public.leads.updated_at IS '{MARK}';
            END IF;
        END $$
    """)


def downgrade() -> None:
    op.execute(f"""
        DO $$ BEGIN
            IF col_description(to_regclass('public.leads'),
                    (SELECT attnum FROM pg_attribute WHERE attname = 'updated_at'
                     AND attrelid = to_regclass('public.leads'))) = '{MARK}' THEN
                ALTER TABLE public.leads DROP COLUMN updated_at;
            END IF;
        END $$
    """)
    for name in reversed(TABLES):
        op.execute(f"""
            DO $$ DECLARE holds_rows boolean; BEGIN
                IF obj_description(to_regclass('public.{name}')) = '{MARK}' THEN
                    EXECUTE 'SELECT EXISTS (SELECT FROM public.{name})' INTO holds_rows;
                    IF NOT holds_rows AND NOT EXISTS (
                        SELECT FROM pg_constraint
                        WHERE contype = 'f' AND confrelid = 'public.{name}'::regclass
                          AND conrelid <> confrelid
                    ) THEN
                        DROP TABLE public.{name};
                    END IF;
                END IF;
            END $$
        """)
