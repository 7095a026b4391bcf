"""Somebody is told: notices and their deliveries, what was last seen of Dagster, running totals."""

from alembic import op

revision = "0014"
down_revision = "0013"

TABLES = """
-- One cause, over all clients that it is about, from its beginning to its end.
CREATE TABLE reconciler.notice (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL,
    key text NOT NULL,
    state text NOT NULL CHECK (state IN ('brewing', 'open', 'fading', 'over')),
    since timestamptz NOT NULL,
    changed_at timestamptz NOT NULL,
    told_at timestamptz,
    -- How often the cause had come back when it came.
    returns int NOT NULL DEFAULT 0,
    -- Whom it is about now: subject, since, detail.
    present jsonb NOT NULL,
    affected text[] NOT NULL
);
CREATE UNIQUE INDEX notice_going ON reconciler.notice (kind, md5(key)) WHERE state <> 'over';
CREATE INDEX ON reconciler.notice (changed_at) WHERE state = 'over';

-- Who was told of it, by which channel, in which words, and what the channel answered. A row is
-- made with the notice's state, in one transaction: so nobody is told twice, and nobody forgotten.
CREATE TABLE reconciler.notice_delivery (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    notice_id bigint NOT NULL REFERENCES reconciler.notice (id) ON DELETE CASCADE,
    what text NOT NULL CHECK (what IN ('opened', 'reminded', 'recovered')),
    channel text NOT NULL,
    message jsonb NOT NULL,
    said_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL,
    attempts int NOT NULL DEFAULT 0,
    -- When it was taken, or when it was given up because there was something newer to tell.
    ended_at timestamptz,
    delivered boolean NOT NULL DEFAULT false,
    answer text
);
CREATE INDEX ON reconciler.notice_delivery (due_at) WHERE ended_at IS NULL;
CREATE INDEX ON reconciler.notice_delivery (notice_id);

-- What the watcher last saw of Dagster: for those who do not import it.
CREATE TABLE reconciler.dagster_seen (
    single boolean PRIMARY KEY DEFAULT true CHECK (single),
    seen_at timestamptz NOT NULL,
    seen jsonb NOT NULL
);

-- When the outside monitor was last told that all is well; client: empty for the whole.
CREATE TABLE reconciler.heartbeat (
    client text PRIMARY KEY,
    success_at timestamptz NOT NULL,
    sent_at timestamptz NOT NULL
);

-- Totals that only grow, whatever is pruned: what summaries have said once they were counted.
CREATE TABLE reconciler.total (
    name text NOT NULL,
    client_id uuid NOT NULL,
    labels jsonb NOT NULL,
    value double precision NOT NULL,
    PRIMARY KEY (name, client_id, labels)
);
ALTER TABLE reconciler.run_summary ADD COLUMN counted boolean NOT NULL DEFAULT false;
CREATE INDEX run_summary_uncounted ON reconciler.run_summary (finished_at) WHERE NOT counted;
CREATE INDEX run_summary_finished ON reconciler.run_summary (finished_at);
CREATE INDEX conflict_happened ON reconciler.conflict (happened_at);
CREATE INDEX manual_sync_request_finished ON reconciler.manual_sync_request (finished_at);
"""


def upgrade() -> None:
    op.execute(TABLES)


def downgrade() -> None:
    op.execute("""
        DROP TABLE reconciler.notice_delivery, reconciler.notice, reconciler.dagster_seen,
            reconciler.heartbeat, reconciler.total;
        ALTER TABLE reconciler.run_summary DROP COLUMN counted;
        DROP INDEX reconciler.run_summary_finished, reconciler.conflict_happened,
            reconciler.manual_sync_request_finished;
    """)
