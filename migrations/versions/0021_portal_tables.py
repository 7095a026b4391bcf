"""The other tables of a portal that we have made, and what its campaigns lack. Somebody else's
portal has the tables that it has, and who has no portal needs none.

What is created here is marked like the tables of 0001, and goes down like them: while it is empty.
"""

from alembic import op

revision = "0021"
down_revision = "0020"

MARK = "Created by the reconciler."

_OF_A_CLIENT = "client_id uuid NOT NULL REFERENCES public.clients (id) ON DELETE CASCADE,"
_RECORD = "airtable_record_id varchar(255) NOT NULL UNIQUE,"
_CREATED = "created_at timestamptz NOT NULL DEFAULT now()"
_UPDATED = "updated_at timestamptz NOT NULL DEFAULT now()"
TABLES = {
    "client_project_tasks": f"""
        id varchar(50) PRIMARY KEY, {_OF_A_CLIENT} {_RECORD}
        task varchar(500) NOT NULL, status varchar(50) NOT NULL, priority varchar(50) NOT NULL,
        task_type varchar(50) NOT NULL DEFAULT 'Task', owner varchar(100), due_date timestamptz,
        notes text, dependencies text, {_CREATED}, {_UPDATED}
    """,
    "client_project_blockers": f"""
        id varchar(50) PRIMARY KEY, {_OF_A_CLIENT} {_RECORD}
        blocker varchar(500) NOT NULL, severity varchar(50) NOT NULL, status varchar(50) NOT NULL,
        action_to_resolve text, resolved_at timestamptz, {_CREATED}
    """,
    "client_project_status": f"""
        id varchar(50) PRIMARY KEY, {_OF_A_CLIENT} {_RECORD}
        metric varchar(200) NOT NULL, value text NOT NULL, category varchar(50) NOT NULL,
        display_order int, {_UPDATED}
    """,
    "sms_templates": f"""
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(), {_RECORD}
        campaign varchar(255) NOT NULL, variant varchar(10), step int NOT NULL, delay_days int,
        fast_delay_minutes int, body text NOT NULL, campaign_tag varchar(255),
        template_type varchar(50) DEFAULT 'Standard', is_active boolean, {_CREATED}, {_UPDATED}
    """,
    "sms_audit": f"""
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(), {_RECORD}
        event varchar(100), sms_campaign_id varchar(255), phone varchar(50) NOT NULL,
        status varchar(50), carrier varchar(100), lead_record_id varchar(255), text text,
        sent_at timestamptz, delivery_at timestamptz, webhook_raw text,
        clicked boolean NOT NULL DEFAULT false, clicked_at timestamptz, {_CREATED}
    """,
}
# Of campaigns as 0001 makes them.
CAMPAIGNS = {
    "campaign_type": "varchar(50) DEFAULT 'Standard'",
    "form_id": "varchar(255)",
    "webinar_datetime": "timestamptz",
    "zoom_link": "varchar(500)",
    "resource_link": "varchar(500)",
    "resource_name": "varchar(255)",
    "auto_discovered": "boolean NOT NULL DEFAULT false",
    "active_leads_count": "int NOT NULL DEFAULT 0",
    "completed_leads_count": "int NOT NULL DEFAULT 0",
    "opted_out_count": "int NOT NULL DEFAULT 0",
    "booked_count": "int NOT NULL DEFAULT 0",
    "messages": "jsonb",
    "is_active": "boolean NOT NULL DEFAULT true",
}


def _if_ours(table: str, then: str) -> None:
    op.execute(f"""
        DO $$ BEGIN
            IF obj_description(to_regclass('public.{table}')) = '{MARK}' THEN {then}; END IF;
        END $$
    """)


def upgrade() -> None:
    for name, columns in TABLES.items():
        op.execute(f"""
            DO $$ BEGIN
                IF obj_description(to_regclass('public.leads')) = '{MARK}'
                AND to_regclass('public.{name}') IS NULL THEN
                    CREATE TABLE public.{name} ({columns});
                    COMMENT ON TABLE public.{name} IS '{MARK}';
                END IF;
            END $$
        """)
    added = ", ".join(f"ADD COLUMN IF NOT EXISTS {c} {kind}" for c, kind in CAMPAIGNS.items())
    _if_ours("campaigns", f"ALTER TABLE public.campaigns {added}")
    # Without an index on it, counting over a campaign's leads reads all leads.
    _if_ours(
        "leads", "CREATE INDEX IF NOT EXISTS leads_campaign_id_idx ON public.leads (campaign_id)"
    )


def downgrade() -> None:
    _if_ours("leads", "DROP INDEX IF EXISTS public.leads_campaign_id_idx")
    dropped = ", ".join(f"DROP COLUMN IF EXISTS {column}" for column in CAMPAIGNS)
    _if_ours(
        "campaigns",
        "IF NOT EXISTS (SELECT FROM public.campaigns) "
        f"THEN ALTER TABLE public.campaigns {dropped}; END IF",
    )
    for name in reversed(TABLES):
        _if_ours(
            name, f"IF NOT EXISTS (SELECT FROM public.{name}) THEN DROP TABLE public.{name}; END IF"
        )
