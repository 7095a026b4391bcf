"""A Postgres table that is kept in step, as far as the engine itself must know it. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """Names as Postgres has them, unquoted. ``key``: the primary key; ``record_id``: the column of
    Airtable's record ids; ``client``: of the client, None where a row does not say whose it is;
    ``active``: what turns false with a deletion in Airtable, None where deletions are only told;
    ``created_at``: gets a new record's creation time; ``updated_at``: is stamped with each edit.

    ``log``: SQL that notes a row that was switched off or on, and the table that it writes to.
    """

    schema: str
    name: str
    key: str
    record_id: str
    client: str | None = None
    active: str | None = None
    created_at: str | None = None
    updated_at: str | None = None
    log: SwitchLog | None = None

    @property
    def keys(self) -> frozenset[str]:
        """What a row is known by; the engine fills these of a new one."""
        return frozenset(filter(None, (self.key, self.record_id, self.client)))

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class SwitchLog:
    """``sql``: reads the rows ``switched`` and the parameters ``:event``, ``:description`` and
    ``:run_id``; ``table``: schema and name of what it writes to.
    """

    table: str
    sql: str
