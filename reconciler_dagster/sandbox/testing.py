"""The sandbox inside a test: a real server on a free loopback port, and a client to control it."""

import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from reconciler_dagster.sandbox import DEMO_BASE_ID, DEMO_TOKEN
from reconciler_dagster.sandbox.server import build_server
from reconciler_dagster.sandbox.start import open_world


class SandboxClient:
    """Speaks to the control API of a running sandbox.

    Acts on records and fields go to the table `Leads` of the first base; `on` gives a client for
    another base or table. A refused act raises ValueError with the reason.
    """

    def __init__(self, url: str, token: str, base_id: str, table: str = "Leads") -> None:
        self.url = url
        self.token = token
        self.base_id = base_id
        self.table = table
        self._session = requests.Session()
        self._session.trust_env = False

    def on(self, base_id: str | None = None, table: str | None = None) -> "SandboxClient":
        """Return a client whose acts go to another base or table."""
        return SandboxClient(self.url, self.token, base_id or self.base_id, table or self.table)

    # Time and traffic

    def status(self) -> dict[str, Any]:
        """Return clock, bases and counts."""
        return dict(self._ask("GET", "status"))

    def advance(self, seconds: float) -> None:
        """Move the clock on."""
        self._ask("POST", "clock", {"seconds": seconds})

    def freeze(self) -> None:
        """Stop the clock; `advance` still moves it."""
        self._ask("POST", "clock", {"frozen": True})

    def resume(self) -> None:
        """Let a stopped clock run on."""
        self._ask("POST", "clock", {"frozen": False})

    def calls(self) -> list[dict[str, Any]]:
        """Return every Airtable API request since `reset_calls`: time, method, path, status.

        `status` is None where the connection was cut, or the answer is still due.
        """
        return list(self._ask("GET", "calls"))

    def reset_calls(self) -> None:
        """Forget the requests so far."""
        self._ask("DELETE", "calls")

    def reset_limits(self) -> None:
        """Lift lock-outs and forget the calls that were counted."""
        self._ask("POST", "limits/reset")

    def foreign_calls(self, count: int) -> None:
        """Let another integration make calls to the base at this moment."""
        self._ask("POST", f"limits/foreign-calls?base_id={self.base_id}&count={count}")

    # Behaviour

    def switch(self, **values: Any) -> None:
        """Set switches, e.g. `switch(lockout_seconds=1)`."""
        self._ask("PATCH", "switches", values)

    def switches(self) -> dict[str, Any]:
        """Return all switches."""
        return dict(self._ask("GET", "switches"))

    def fault(self, act: str, **settings: Any) -> None:
        """Arm a fault, e.g. `fault("status", status=503, method="PATCH", times=2)`."""
        self._ask("POST", "faults", {"act": act, **settings})

    def faults(self) -> list[dict[str, Any]]:
        """Return the armed faults, each with its `hits`."""
        return list(self._ask("GET", "faults"))

    def clear_faults(self) -> None:
        """Disarm all faults."""
        self._ask("DELETE", "faults")

    def accept_tokens(self, tokens: Mapping[str, Sequence[str]]) -> None:
        """Accept these tokens and no others, each with its scopes."""
        self._ask("PUT", "tokens", {token: list(scopes) for token, scopes in tokens.items()})

    def kill_iterators(self) -> None:
        """Make every offset that clients hold invalid."""
        self._ask("POST", "iterators/kill")

    # What people do in the web client

    def records(self) -> dict[str, dict[str, Any]]:
        """Return `{id: {"createdTime", "lastModified", "fields"}}`, empty cells left out."""
        return dict(self._ask("GET", f"{self._place()}/records"))

    def record(self, record_id: str) -> dict[str, Any]:
        """Return one record in the form of `records`."""
        return dict(self._ask("GET", f"{self._place()}/records/{record_id}"))

    def edit(self, record_id: str, cells: Mapping[str, Any], person: str = "Ann") -> None:
        """Edit cells as a person; None clears."""
        body = {"fields": dict(cells), "person": person}
        self._ask("PATCH", f"{self._place()}/records/{record_id}", body)

    def edit_many(self, cells: Mapping[str, Mapping[str, Any]], person: str = "Ann") -> None:
        """Edit many records in one act, as pasting a block of cells does."""
        body = {"records": {key: dict(value) for key, value in cells.items()}, "person": person}
        self._ask("PATCH", f"{self._place()}/records", body)

    def add(self, cells: Mapping[str, Any], person: str = "Ann") -> str:
        """Add a record as a person and return its id."""
        body = {"fields": dict(cells), "person": person}
        return str(self._ask("POST", f"{self._place()}/records", body)["id"])

    def delete(self, record_id: str, person: str = "Ann") -> None:
        """Delete a record as a person."""
        self._ask("DELETE", f"{self._place()}/records/{record_id}?by={quote(person)}")

    def restore(self, record_id: str, person: str = "Ann") -> None:
        """Bring a deleted record back under its old id."""
        self._ask("POST", f"{self._place()}/records/{record_id}/restore?by={quote(person)}")

    def duplicate(self, record_id: str, person: str = "Ann") -> str:
        """Duplicate a record as a person and return the new id; computed cells are not copied."""
        computed = {field["name"] for field in self.fields() if field["computed"]}
        cells = self.record(record_id)["fields"]
        return self.add({key: cells[key] for key in cells if key not in computed}, person)

    def undo(self, person: str = "Ann") -> None:
        """Take back the latest change that a person made to records."""
        self._ask("POST", f"bases/{self.base_id}/undo?by={quote(person)}")

    def history(self, limit: int = 200) -> list[dict[str, Any]]:
        """Return who changed what, newest first."""
        return list(self._ask("GET", f"bases/{self.base_id}/history?limit={limit}"))

    # What the base's owner does to fields

    def fields(self) -> list[dict[str, Any]]:
        """Return the fields as the metadata API shows them, and whether they are `computed`."""
        return list(self._ask("GET", f"{self._place()}/fields"))

    def copy_base(self, base_id: str) -> "SandboxClient":
        """Copy the base to another id, records and all, and return a client for the copy."""
        self._ask("POST", f"bases/{self.base_id}/copy?to={quote(base_id)}")
        return self.on(base_id)

    def create_table(self, name: str, fields: Sequence[Mapping[str, Any]]) -> str:
        """Add a table with fields of any type and return its id; the first field is primary."""
        body = {"name": name, "fields": [dict(field) for field in fields]}
        return str(self._ask("POST", f"bases/{self.base_id}/tables", body)["id"])

    def create_field(self, name: str, type_: str, options: Mapping[str, Any] | None = None) -> str:
        """Add a field of any type and return its id."""
        body = {"name": name, "type": type_, "options": dict(options or {})}
        return str(self._ask("POST", f"{self._place()}/fields", body)["id"])

    def create_view(
        self,
        name: str,
        formula: str | None = None,
        sort: Sequence[str] = (),
        hidden: Sequence[str] = (),
    ) -> str:
        """Add a view and return its id; `-Name` in `sort` means downwards."""
        body = {"name": name, "formula": formula, "sort": list(sort), "hidden": list(hidden)}
        return str(self._ask("POST", f"{self._place()}/views", body)["id"])

    def rename_field(self, field: str, name: str) -> None:
        """Rename a field."""
        self._schema(act="rename_field", field=field, name=name)

    def delete_field(self, field: str) -> None:
        """Delete a field with its cells."""
        self._schema(act="delete_field", field=field)

    def retype_field(self, field: str, type_: str, options: dict[str, Any] | None = None) -> None:
        """Change a field's type."""
        self._schema(act="retype_field", field=field, type=type_, options=options)

    def add_option(self, field: str, option: str) -> None:
        """Add an option to a select."""
        self._schema(act="add_option", field=field, name=option)

    def rename_option(self, field: str, option: str, name: str) -> None:
        """Rename an option; no record counts as modified."""
        self._schema(act="rename_option", field=field, option=option, name=name)

    def remove_option(self, field: str, option: str) -> None:
        """Delete an option; the cells that hold it become empty."""
        self._schema(act="remove_option", field=field, name=option)

    def set_formula(self, field: str, formula: str) -> None:
        """Change a formula: cells change, last modified times do not."""
        self._schema(act="set_formula", field=field, name=formula)

    def override(self, record_id: str, field: str, value: Any) -> None:
        """Nail a computed cell to a value without a trace; None lets it be computed again."""
        self._schema(act="override", field=field, record_id=record_id, value=value)

    def _schema(self, **act: Any) -> None:
        self._ask("POST", f"{self._place()}/schema", act)

    def _place(self) -> str:
        return f"bases/{self.base_id}/tables/{quote(self.table, safe='')}"

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        answer = self._session.request(
            method, f"{self.url}/sandbox/api/{path}", json=body, timeout=120
        )
        if not answer.ok:
            raise ValueError(f"{answer.status_code}: {answer.text}")
        return answer.json()


@contextmanager
def running_sandbox(
    leads: int = 2000,
    base_ids: Sequence[str] = (DEMO_BASE_ID,),
    state: Path | str | None = None,
    seed: int = 1,
    token: str = DEMO_TOKEN,
    **settings: Any,
) -> Iterator[SandboxClient]:
    """Run the real server in a background thread; `settings` are switches."""
    world = open_world(base_ids, leads, seed, [token], state, settings)
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    server = build_server(world, "127.0.0.1", port)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        # The socket already listens, so the first request simply waits for the server.
        client = SandboxClient(f"http://127.0.0.1:{port}", token, base_ids[0])
        client.status()
        yield client
    finally:
        server.should_exit = server.force_exit = True
        thread.join(10)
        listener.close()
        world.close()
