"""A run over several clients: what fails for one is told, and does not stop the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import dagster as dg

from reconciler_dagster.orchestration.resources import ClientRun
from reconciler_dagster.postgres.clients import active_clients
from reconciler_dagster.telling import told


def by_client(partition_keys: Sequence[str]) -> dict[str, list[str]]:
    """The months of each client of a run."""
    months: dict[str, list[str]] = {}
    for key in sorted(partition_keys):
        client, month = key.split("|")
        months.setdefault(client, []).append(month)
    return months


class Failures:
    """Clients that failed; the others are done all the same, and the step fails at its end."""

    def __init__(self, context: dg.AssetExecutionContext, run: ClientRun) -> None:
        self._log = context.log
        self.reasons: dict[str, str] = {}
        with run.engine.connect() as connection:
            self.names = {client.id: client.name for client in active_clients(connection)}

    @contextmanager
    def of(self, client: str) -> Iterator[None]:
        """What fails in the block is the client's failure."""
        try:
            yield
        except Exception as error:
            explained = isinstance(error, dg.Failure)
            why = told(error, "the log of this step")
            self._log.error(f"{self.name(client)}: {why}", exc_info=not explained)
            self.reasons[client] = why

    def name(self, client: str) -> str:
        """For a person."""
        return self.names.get(client, client)

    def tell(self) -> None:
        """Fail with every reason."""
        if self.reasons:
            lines = [f"{self.name(client)}: {why}" for client, why in self.reasons.items()]
            raise dg.Failure("\n".join(lines), allow_retries=False)
