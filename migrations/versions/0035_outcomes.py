"""How runs ended is found without reading all that is kept of them."""

from alembic import op

revision = "0035"
down_revision = "0034"

# What wrote nothing, or carried approved deletions out, is no outcome.
_JUDGED = """NOT coalesce((findings ->> 'dry_run')::boolean, false) AND scope <> 'deletions'"""
INDEXES = {
    "run_summary_by_run": "run_summary (run_id)",
    "run_summary_under_way": "run_summary (client_id) WHERE state = 'started'",
    # As postgres.outcomes asks for them.
    "run_summary_succeeded": f"""run_summary (client_id, purpose, finished_at)
        WHERE state = 'succeeded' AND {_JUDGED}""",
    "run_summary_failed": f"""run_summary (client_id, purpose, finished_at)
        WHERE state = 'failed' AND {_JUDGED}""",
    # Almost empty: the next run of the client settles such writes.
    "run_summary_unanswered": """run_summary (finished_at)
        WHERE findings -> 'unanswered' > CAST('0' AS jsonb)""",
    "call_log_by_hour": "call_log (hour)",
}


def upgrade() -> None:
    for name, what in INDEXES.items():
        op.execute(f"CREATE INDEX {name} ON reconciler.{what}")


def downgrade() -> None:
    for name in INDEXES:
        op.execute(f"DROP INDEX IF EXISTS reconciler.{name}")
