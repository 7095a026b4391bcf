"""Words of docs/reference/ that stand nowhere else: what tables are for, and some settings."""

from __future__ import annotations

GROUPS = {
    "What both sides agree on": {
        "baseline": "The last value of each field that both sides were seen to hold, by record.",
        "cursor": "Where the next delta starts, on Airtable's clock. One row a client and sync.",
        "seen": "Records seen within the overlap, so that the next delta leaves them out.",
        "field_binding": "Which Airtable field, by id, feeds which column; why a field is stopped.",
        "table_binding": "Which Airtable table, by id, a sync reads; when it became another one.",
    },
    "Edits on their way": {
        "unsettled": "Edits in Postgres, noted by the trigger, that no run has taken over yet.",
        "trigger_trouble": "What kept the trigger from noting an edit. The next run then compares "
        "every row.",
        "guard": "How table and trigger looked when edits were last known to be noted.",
        "journal": "What is about to be sent to Airtable. Open rows have no answer yet.",
        "own_write": "Cells that runs write although nobody edits them. The third run stops.",
        "staged_pull": "What a run found out while pulling. Emptied when the run ends.",
        "staged_record": "The Airtable side of a run's scope. Emptied when the run ends.",
        "staged_lead": "The Postgres side of a run's scope. Emptied when the run ends.",
        "staged_change": "The plan of a run. Emptied when the run ends.",
    },
    "What was done": {
        "history": "Every cell that the engine wrote, on which side, with the old value.",
        "conflict": "Values that lost. A person may take one back.",
        "run_summary": "One row a run and client: how it ended, its counts and what it found.",
        "total": "Running totals for the metrics. They only grow.",
    },
    "What waits for a person": {
        "quarantine": "Cells that one side refuses, with the reason and the time of the next try.",
        "fight": "Cells that another program changes back again and again.",
        "tombstone": "Rows whose record Airtable does not list, from the first absence on.",
        "manual_sync_request": "Requests for a sync. Only `client_id` is needed; the run adds how "
        "it ended.",
        "adoption": "Which clients a person has adopted or paused.",
        "adoption_request": "Requests for a rehearsal or an approval, from the console.",
        "rehearsal": "What a rehearsal found, and who approved of it.",
        "guarded_trigger": "Triggers of the portal that are kept from firing at a first contact.",
    },
    "The whole base": {
        "great_sync": "The months of the Great Sync that is under way or was cut off.",
        "month_listing": "When each month was last listed, and compared.",
    },
    "One writer, and the calls": {
        "lease": "Which run may write a client, until when, under which number.",
        "lease_wait": "Who waits for a lease.",
        "call_bucket": "When the last calls of a base arrived; until when it is locked out.",
        "call_log": "Calls by base, hour and purpose.",
    },
    "Processes": {
        "client_token": "Where a client's own Airtable token is kept, or the token, encrypted.",
        "deployment": "Who starts runs on this database.",
        "listener": "The listener's last sign of life.",
        "run_beat": "Signs of life of runs that are executed elsewhere.",
        "dagster_seen": "What the watcher last saw of Dagster.",
        "idempotency_key": "Answers of the portal that are given again to the same request.",
        "alembic_version": "The migration that the schema is at.",
    },
    "Notices": {
        "pruned": "When somebody last dropped what is old.",
        "notice": "What is wrong, since when, whom it concerns.",
        "notice_delivery": "What was sent where, and what was answered.",
        "heartbeat": "When the monitor outside was last called.",
    },
}

# What .env.example and the classes of settings do not say.
_LEAST = "The least severity that it takes: info, warning or critical."
_QUIET = "Hours in which it takes only what is critical, like 22:00-07:00."
SETTINGS = {
    "AIRTABLE_ENDPOINT_URL": "Where Airtable's API is.",
    "PORTAL_JWT_SECRET": "What the portal's tokens are signed with (HS256); at least 32 bytes.",
    "RECONCILER_LOCKOUT_SECONDS": "How long nobody calls a base after a 429.",
    "RECONCILER_RETRY_SECONDS": "The wait before a call is tried again; doubled each time.",
    "RECONCILER_RUN_LAUNCHER": "Where runs start; see [deploy.md](../deploy.md).",
    "RECONCILER_RUN_SLOTS": "How many runs at a time, everywhere together. Unless set, 10 where "
    "they start here, else 6.",
    "RECONCILER_REDIS_URL": "The broker of the workers, with the launcher `celery`.",
    "DAGSTER_HOME": "Dagster's home, as an absolute path.",
    "RECONCILER_CODE_SERVER": "Where `serve code` answers, for webserver and daemon elsewhere.",
    "PORT": "The port of `reconciler serve`, unless it is given as an option.",
    "RECONCILER_ROLE": "The role of `reconciler serve`, unless it is given as an argument.",
    "RECONCILER_WORKER_SLOTS": "How many runs a worker executes at a time.",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "Where traces are sent; needs the extra `otel`.",
    "RECONCILER_NOTIFY_SLACK_URL": "An incoming webhook of Slack.",
    "RECONCILER_NOTIFY_SLACK_LEAST": _LEAST,
    "RECONCILER_NOTIFY_SLACK_QUIET": _QUIET,
    "RECONCILER_NOTIFY_EMAIL_FROM": "The sender of e-mails.",
    "RECONCILER_NOTIFY_EMAIL_TO": "Who gets e-mails; several with commas between them.",
    "RECONCILER_NOTIFY_EMAIL_LEAST": _LEAST,
    "RECONCILER_NOTIFY_EMAIL_QUIET": _QUIET,
    "RECONCILER_NOTIFY_WEBHOOK_URL": "Where notices are posted as JSON.",
    "RECONCILER_NOTIFY_WEBHOOK_LEAST": _LEAST,
    "RECONCILER_NOTIFY_WEBHOOK_QUIET": _QUIET,
    "RECONCILER_NOTIFY_PAGERDUTY_KEY": "The key of an Events API v2 integration.",
    "RECONCILER_NOTIFY_PAGERDUTY_URL": "Where PagerDuty takes events.",
    "RECONCILER_NOTIFY_PAGERDUTY_LEAST": _LEAST,
    "RECONCILER_NOTIFY_PAGERDUTY_QUIET": _QUIET,
    "RECONCILER_NOTIFY_QUARANTINE_CELLS": "Quarantine is told of above this many values.",
    "RECONCILER_NOTIFY_QUARANTINE_HOURS": "Quarantine is told of once a value is older than this.",
    "RECONCILER_NOTIFY_SETTLE_SECONDS": "How long a cause must stand before it is told.",
    "RECONCILER_NOTIFY_HOLD_SECONDS": "How long a cause must be away before it is over.",
    "RECONCILER_NOTIFY_REMIND_HOURS": "After how long a notice that stands is told again.",
    "PORTAL_JWT_ISSUER": "Where set, a token must name the same issuer.",
    "PORTAL_JWT_AUDIENCE": "Where set, a token must name the same audience.",
    "PORTAL_BODY_LIMIT_BYTES": "The largest body of a request.",
    "PORTAL_BODY_TIMEOUT_SECONDS": "How long a body may take to arrive.",
    "PORTAL_HEADER_LIMIT_BYTES": "The largest header of a request.",
    "PORTAL_HEADER_LIMIT_COUNT": "The most lines of a header.",
    "PORTAL_HEADER_TIMEOUT_SECONDS": "How long a header may take to arrive.",
    "PORTAL_HALF_OPEN_LIMIT_PER_ADDRESS": "The same for one address.",
}

# Settings that no class of settings has: what is expected, and what they are unless set.
BESIDE = {
    "RECONCILER_ENVIRONMENT": ("text", "`production` under `up`"),
    "RECONCILER_STATE_DIR": ("folder", "the user's state folder"),
    "DAGSTER_HOME": ("folder", "one in the state folder"),
    "RECONCILER_CODE_SERVER": ("host:port", ""),
    "RECONCILER_ROLE": ("a role of `serve`", ""),
    "RECONCILER_WORKER_SLOTS": ("whole number", ""),
    "PORT": ("whole number", "the role's own"),
    "OTEL_EXPORTER_OTLP_ENDPOINT": ("address", "no traces"),
    "POSTGRES_PASSWORD": ("secret", ""),
}

EXIT_CODES = [
    ("0", "All is well."),
    (
        "1",
        "Something needs a person. `run`, `great-sync`, `audit`: the run failed or was stopped; a "
        "client or one of its syncs is new, or is paused; cells are in quarantine, deletions wait, "
        "Airtable did not answer a write, or edits in Postgres may not be noted; a dry run "
        "foresees "
        "refusals; the database hides rows or denies a privilege. `adopt`: more would be done than "
        "was approved, or refusals are foreseen. `status`: any of that, a stopped field, or drift "
        "that nothing explains. `quarantine list`, `deletions list`: something waits. `migrate`: "
        "something is left that it cannot mend, or `--down` would lose something and has no "
        "`--yes`.",
    ),
    (
        "2",
        "A wrong option, setting, base or definition; a Dagster home, instance or folder that "
        "cannot "
        "be used; an id, record or field for which nothing waits. Nothing was done. A run with a "
        "stopped field ends with 2 as well: it has carried over the other fields.",
    ),
]
