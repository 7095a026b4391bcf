"""What to look at before and after an older sync is stopped: is it still writing, and what is left.

Portals differ: what a portal does not have is passed over.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Engine, text
from sqlalchemy.exc import ProgrammingError

from reconciler_dagster.core.records import WHOLE
from reconciler_dagster.postgres.errors import sqlstate

# An older sync runs every few minutes; a person does not touch so many leads in that time.
MINUTES, LEADS_ALLOWED, SHARE_ALLOWED = 15, 50, 0.05
_NO_SUCH = ("42P01", "42703", "42883")


@dataclass(frozen=True)
class Check:
    """``count``: SQL of one number. ``suspicious``: more than so many are worth a warning; None
    where the number is to be compared before and after. ``told``: what it is the number of.
    """

    count: str
    told: str
    suspicious: int | None = None
    remedy: str = ""


CHECKS = {
    "older sync": Check(
        # The engine moves no updated_at. Many at once are a program's.
        "SELECT CASE WHEN n > GREATEST(:leads, :share * total) THEN n ELSE 0 END FROM (SELECT "
        "count(*) FILTER (WHERE updated_at > clock_timestamp() - make_interval(mins => :minutes)) "
        "AS n, count(*) AS total "
        "FROM public.leads) counted",
        f"leads whose updated_at somebody has moved in the last {MINUTES} minutes, too many for "
        "people",
        0,
        "stop the old cron, its buttons and scripts, and look again a quarter of an hour later",
    ),
    "false events": Check(
        "SELECT count(*) FROM public.lead_activity_log "
        "WHERE source = 'system:database-trigger' "
        "AND created_at > clock_timestamp() - make_interval(mins => :minutes)",
        f"events that a trigger has logged in the last {MINUTES} minutes",
        50,
        "so many at once are old events: guard the trigger (`reconciler adopt --guard-trigger`)",
    ),
    "queue of the old sync": Check(
        "SELECT count(*) FROM public.airtable_sync_queue WHERE status = 'pending'",
        "writes wait in airtable_sync_queue",
        0,
        "let it drain before its worker is stopped; do not replay those of campaigns",
    ),
    "no Airtable option": Check(
        "SELECT count(*) FROM public.leads "
        "WHERE processing_status = 'Paused' OR hrq_status = 'Completed'",
        "leads hold Paused or HRQ Completed, which Airtable has no option for",
    ),
    "record ids": Check(
        "SELECT count(*) FROM public.leads WHERE airtable_record_id !~ :whole",
        "leads have a record id that is none of Airtable's; they are left alone",
    ),
    "half claims": Check(
        "SELECT count(*) FROM public.leads WHERE claimed_at IS NOT NULL AND claimed_by IS NULL",
        "leads have a claimed_at without a claimer",
    ),
    "without campaign": Check(
        "SELECT count(*) FROM public.leads WHERE campaign_id IS NULL",
        "leads have no campaign_id: expect the same number afterwards, and the new leads",
    ),
    "inactive": Check(
        "SELECT count(*) FROM public.leads WHERE NOT is_active",
        "leads are inactive: expect the same number afterwards",
    ),
    "completed": Check(
        "SELECT count(*) FROM public.leads WHERE completed_at IS NOT NULL",
        "leads have a completed_at: expect the same number afterwards",
    ),
}


def look(portal: Engine, check: Check) -> tuple[Literal["ok", "warning", "skipped"], str]:
    """One check: how it stands, and the sentence for it."""
    parameters = {
        "whole": WHOLE,
        "leads": LEADS_ALLOWED,
        "share": SHARE_ALLOWED,
        "minutes": MINUTES,
    }
    used = {name: value for name, value in parameters.items() if f":{name}" in check.count}
    try:
        with portal.connect() as connection:
            number = connection.execute(text(check.count), used).scalar_one()
    except ProgrammingError as error:
        if sqlstate(error) not in _NO_SUCH:
            raise
        return "skipped", "this portal has no such table or column"
    told = f"{number} {check.told}"
    if check.suspicious is not None and number > check.suspicious:
        return "warning", f"{told}: {check.remedy}"
    return "ok", told
