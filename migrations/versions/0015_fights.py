"""Fights whose values change each time, and those that go back and forth without a conflict."""

from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    op.execute("""
        ALTER TABLE reconciler.fight
            -- Runs in which a value lost once more, whatever it was.
            ADD rounds int NOT NULL DEFAULT 1,
            -- The other writer's value is another one each time.
            ADD whatever boolean NOT NULL DEFAULT false;
    """)


def downgrade() -> None:
    op.execute("ALTER TABLE reconciler.fight DROP rounds, DROP whatever")
