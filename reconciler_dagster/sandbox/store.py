"""The state file: an SQLite database that every commit is written to before it is answered."""

import sqlite3
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from reconciler_dagster.sandbox.model.base import HOME, JOURNAL_KEPT, Base, Commit, Person
from reconciler_dagster.sandbox.model.schema import Field, View
from reconciler_dagster.sandbox.model.table import Record, Table
from reconciler_dagster.sandbox.webhooks.webhook import Webhook

_SCHEMA = """
create table if not exists world (key text primary key, value text not null);
create table if not exists base (id text primary key, body blob not null);
create table if not exists record (
    base text, id text, tbl text not null, trashed integer not null, body blob not null,
    unique (base, id)
);
create table if not exists journal (
    base text, number integer, body blob not null, primary key (base, number)
);
create table if not exists payload (
    webhook text, number integer, time integer not null, body blob not null,
    primary key (webhook, number)
);
"""


class Store:
    """One state file. Raises sqlite3.DatabaseError if the file is something else."""

    def __init__(self, path: Path | str) -> None:
        # Opened by the thread that builds the world, used by the one that serves it.
        self._db = sqlite3.connect(path, check_same_thread=False)
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma synchronous = normal")
        self._db.executescript(_SCHEMA)
        self._payloads_saved: dict[str, int] = {}

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def get(self, key: str) -> Any:
        """Return a value of the world, None if it was never set."""
        row = self._db.execute("select value from world where key = ?", (key,)).fetchone()
        return orjson.loads(row[0]) if row else None

    def set(self, key: str, value: Any) -> None:
        """Keep a value of the world."""
        with self._db:
            self._db.execute(
                "insert or replace into world values (?, ?)", (key, orjson.dumps(value))
            )

    def on_commit(self, base: Base, commit: Commit) -> None:
        """Write what a commit changed."""
        with self._db:
            for change in commit.changes:
                table = base.tables[change.table_id]
                record = change.after or table.trash[change.record_id]
                self._put_records(base, table, [record], trashed=change.after is None)
            for table_id in commit.rewritten:
                self._rewrite(base, base.tables[table_id])
            self._db.execute(
                "insert or replace into journal values (?, ?, ?)",
                (base.id, commit.number, orjson.dumps(base.journal[-1])),
            )
            self._put_base(base)

    def save(self, base: Base) -> None:
        """Write a base's schema, comments and webhooks, but no records."""
        with self._db:
            self._put_base(base)

    def save_all(self, base: Base) -> None:
        """Write a whole base."""
        with self._db:
            for table in base.tables.values():
                self._rewrite(base, table)
            self._put_base(base)

    def load(self) -> list[Base]:
        """Read all bases."""
        bodies = self._db.execute("select body from base order by id").fetchall()
        return [self._load_base(orjson.loads(body)) for (body,) in bodies]

    def _rewrite(self, base: Base, table: Table) -> None:
        self._db.execute("delete from record where base = ? and tbl = ?", (base.id, table.id))
        self._put_records(base, table, table.records.values(), trashed=False)
        self._put_records(base, table, table.trash.values(), trashed=True)

    def _put_records(
        self, base: Base, table: Table, records: Iterable[Record], trashed: bool
    ) -> None:
        self._db.executemany(
            "insert into record values (?, ?, ?, ?, ?) on conflict (base, id) do update "
            "set tbl = excluded.tbl, trashed = excluded.trashed, body = excluded.body",
            (
                (base.id, record.id, table.id, trashed, orjson.dumps(_record_body(record)))
                for record in records
            ),
        )

    def _put_base(self, base: Base) -> None:
        self._db.execute(
            "insert or replace into base values (?, ?)", (base.id, orjson.dumps(_base_body(base)))
        )
        for webhook in base.webhooks.values():
            saved = self._payloads_saved.get(webhook.id, 0)
            new = [entry for entry in webhook.payloads if entry[0] > saved]
            self._db.executemany(
                "insert into payload values (?, ?, ?, ?)",
                ((webhook.id, number, time, orjson.dumps(body)) for number, time, body in new),
            )
            self._payloads_saved[webhook.id] = webhook.next_number - 1
            first = webhook.payloads[0][0] if webhook.payloads else webhook.next_number
            self._db.execute(
                "delete from payload where webhook = ? and number < ?", (webhook.id, first)
            )

    def _load_base(self, body: dict[str, Any]) -> Base:
        base = Base(
            id=body["id"],
            name=body["name"],
            workspace=body.get("workspace", HOME),
            created=body.get("created", 0),
            people={one["id"]: Person(**one) for one in body["people"]},
            transaction=body["transaction"],
            comments=body["comments"],
        )
        for entry in body["tables"]:
            entry["fields"] = {one["id"]: Field(**one) for one in entry["fields"]}
            entry["views"] = [View(**one) for one in entry["views"]]
            base.tables[entry["id"]] = Table(**entry)
        self._load_records(base)
        for entry in body["webhooks"]:
            base.webhooks[entry["id"]] = self._load_webhook(entry)
        rows = self._db.execute(
            "select body from journal where base = ? order by number desc limit ?",
            (base.id, JOURNAL_KEPT),
        )
        base.journal.extendleft(orjson.loads(entry) for (entry,) in rows)
        return base

    def _load_records(self, base: Base) -> None:
        live: dict[str, list[Record]] = {table_id: [] for table_id in base.tables}
        for table_id, trashed, content in self._db.execute(
            "select tbl, trashed, body from record where base = ?", (base.id,)
        ):
            record = Record(*orjson.loads(content))
            if trashed:
                base.tables[table_id].trash[record.id] = record
            else:
                live[table_id].append(record)
        for table_id, records in live.items():
            base.tables[table_id].fill(records)

    def _load_webhook(self, entry: dict[str, Any]) -> Webhook:
        rows = self._db.execute(
            "select number, time, body from payload where webhook = ? order by number",
            (entry["id"],),
        )
        payloads = deque((number, time, orjson.loads(content)) for number, time, content in rows)
        webhook = Webhook(**entry, payloads=payloads)
        self._payloads_saved[webhook.id] = webhook.next_number - 1
        return webhook


def _record_body(record: Record) -> list[Any]:
    return [
        record.id,
        record.created,
        record.modified,
        record.created_by,
        record.modified_by,
        record.cells,
        record.touched,
    ]


def _base_body(base: Base) -> dict[str, Any]:
    return {
        "id": base.id,
        "name": base.name,
        "workspace": base.workspace,
        "created": base.created,
        "people": [asdict(person) for person in base.people.values()],
        "transaction": base.transaction,
        "comments": base.comments,
        "tables": [_table_body(table) for table in base.tables.values()],
        "webhooks": [_webhook_body(webhook) for webhook in base.webhooks.values()],
    }


def _table_body(table: Table) -> dict[str, Any]:
    return {
        "id": table.id,
        "name": table.name,
        "fields": list(table.fields.values()),
        "views": table.views,
        "primary": table.primary,
        "description": table.description,
        "next_number": table.next_number,
        "overrides": table.overrides,
    }


def _webhook_body(webhook: Webhook) -> dict[str, Any]:
    return {name: getattr(webhook, name) for name in Webhook.__slots__ if name != "payloads"}
