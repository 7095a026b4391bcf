"""The lock of a client as a lease: a row that expires, with a number that never comes again."""

from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.execute("""
        -- Never goes back, whatever becomes of the rows.
        CREATE SEQUENCE reconciler.lease_fence;

        -- Who held a client under the old lock holds it no more: a run that is at work while this
        -- migration is made finds its lease lost.
        DELETE FROM reconciler.lease;
        ALTER TABLE reconciler.lease
            ADD COLUMN fence bigint NOT NULL UNIQUE,
            ADD COLUMN holder text NOT NULL,
            ADD COLUMN renewed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
            ADD COLUMN expires_at timestamptz NOT NULL;
        COMMENT ON COLUMN reconciler.lease.fence IS
            'A new one with each taking and letting go. Being UNIQUE it is a key: a change of it '
            'waits for every transaction that has checked it FOR KEY SHARE, a renewal for none.';
        COMMENT ON COLUMN reconciler.lease.holder IS
            'The process: host, place, number, start.';

        -- Who waits for a client and is not to be overtaken by those who yield.
        CREATE TABLE reconciler.lease_wait (
            client_id uuid NOT NULL,
            run_id text NOT NULL,
            expires_at timestamptz NOT NULL,
            PRIMARY KEY (client_id, run_id)
        );
    """)


def downgrade() -> None:
    op.execute("""
        DROP TABLE reconciler.lease_wait;
        ALTER TABLE reconciler.lease
            DROP COLUMN fence,
            DROP COLUMN holder,
            DROP COLUMN renewed_at,
            DROP COLUMN expires_at;
        DROP SEQUENCE reconciler.lease_fence;
    """)
