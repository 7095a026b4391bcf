"""One client's base over pyairtable: metadata, listing, reading by id, patching.

Fields are named by id throughout, so that a rename in Airtable changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import requests

from reconciler_dagster.airtable.errors import NO_CALL, IteratorLost, NotUnderstood
from reconciler_dagster.airtable.filters import by_ids, created_between, modified_since
from reconciler_dagster.airtable.token import Token, default_token
from reconciler_dagster.airtable.transport import Bucket, Transport
from reconciler_dagster.config import ConfigurationError, Settings
from reconciler_dagster.core.normal import pick
from reconciler_dagster.core.pairs import AirtableField
from reconciler_dagster.core.parts import in_parts
from reconciler_dagster.core.records import is_record_id
from reconciler_dagster.core.source import PAGE, Clock, OutcomeUnknown, Record, TableSchema
from reconciler_dagster.core.values import printable

if TYPE_CHECKING:
    from pyairtable import Api
    from pyairtable.formulas import Formula

RESTARTS = 5
BASE_ID = re.compile(r"app[A-Za-z0-9]{14}")
# The transport sets the header of each call.
_SET_LATER = "set by the transport"
FIELD_ID = re.compile(r"fld[A-Za-z0-9]{14}")


def import_client() -> None:
    """Import pyairtable, which else is imported when a base is first read."""
    import pyairtable.api  # noqa: F401


class Base:
    """One base. Not to be shared between threads."""

    def __init__(
        self, settings: Settings, base_id: str, bucket: Bucket, token: Token | None = None
    ) -> None:
        if not BASE_ID.fullmatch(base_id):
            raise ConfigurationError(
                f"Base {printable(base_id, 60)} cannot be read: a base id is 'app' and 14 letters "
                "or digits, as in the base's address; set the client's airtable_base_id."
            )
        self.base_id = base_id
        self._endpoint = settings.airtable_endpoint_url.rstrip("/")
        self.transport = Transport(
            base_id,
            bucket,
            token or default_token(settings),
            settings.lockout_seconds,
            settings.retry_seconds,
        )

    @property
    def rank(self) -> int:
        """See ``Source``."""
        return self.transport.bucket.rank

    @rank.setter
    def rank(self, rank: int) -> None:
        self.transport.bucket.rank = rank

    @property
    def clock(self) -> Clock:
        """Airtable's time."""
        return self.transport.clock

    @cached_property
    def _api(self) -> Api:
        """pyairtable, over our transport. Imported here: metadata is read without it."""
        from pyairtable import Api

        with self._asking():
            api = Api(_SET_LATER, endpoint_url=self._endpoint, retry_strategy=None)
        self._over_transport(api.session)
        return api

    def _over_transport(self, session: requests.Session) -> None:
        for scheme in ("http://", "https://"):
            session.mount(scheme, self.transport)

    def schema(self, table: str, table_id: str | None = None) -> TableSchema:
        """A table, by remembered id first, else by name or id as the definition has it.

        Raises ConfigurationError where token, base or table are wrong.
        """
        url = f"{self._endpoint}/v0/meta/bases/{self.base_id}/tables"
        session = requests.Session()
        self._over_transport(session)
        with self._asking():
            answer = session.get(url)
            tables = answer.json().get("tables") or []
        name = pick(table, [str(t.get("name")) for t in tables])
        wanted = [t for t in tables if t.get("id") == table_id] or [
            t for t in tables if t.get("name") == name or t.get("id") == table
        ]
        if not wanted:
            names = ", ".join(f"'{printable(t.get('name'), 60)}'" for t in tables) or "none"
            raise ConfigurationError(
                f"Base {self.base_id} has no table '{printable(table, 60)}' (it has {names}): name "
                "another one in the sync's definition, or set AIRTABLE_LEADS_TABLE."
            )
        found = wanted[0]
        try:
            return TableSchema(found["id"], found["name"], tuple(map(_field, found["fields"])))
        except (AttributeError, KeyError, TypeError):
            raise NotUnderstood("metadata without ids, names or types") from None

    def records(
        self, table_id: str, formula: Formula | None, field_ids: Iterable[str]
    ) -> Iterator[list[Record]]:
        """Pages of up to 100 records, read live; an iterator that Airtable lost is begun anew.

        So a record can come twice; the later copy is the newer one.
        """
        table = self._api.table(self.base_id, table_id)
        options: dict[str, Any] = {"fields": list(field_ids), "use_field_ids": True}
        if formula is not None:
            options["formula"] = formula
        for left in reversed(range(RESTARTS)):
            try:
                pages = iter(table.iterate(**options))
                while True:
                    with self._asking():  # pyairtable looks at the records, and names their values
                        page = next(pages, None)
                    if page is None:
                        return
                    yield [_record(cast(Mapping[str, Any], record)) for record in page]
            except IteratorLost:
                if not left:
                    raise

    def changed_since(
        self,
        table_id: str,
        field_ids: Iterable[str],
        moment: datetime,
        seen: Iterable[str] = (),
        seen_before: datetime | None = None,
    ) -> Iterator[list[Record]]:
        """Pages of what was modified at or after a moment, without those of ``seen`` that were not
        modified at or after ``seen_before``.
        """
        return self.records(table_id, modified_since(moment, seen, seen_before), field_ids)

    def created_between(
        self,
        table_id: str,
        field_ids: Iterable[str],
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> Iterator[list[Record]]:
        """Pages of what was created in a half-open window; None is open."""
        return self.records(table_id, created_between(start, end), field_ids)

    def read(self, table_id: str, ids: Iterable[str], field_ids: list[str]) -> list[Record]:
        """Records by id, up to 100 a call; without those that are gone or are no record id."""
        wanted = [key for key in dict.fromkeys(ids) if is_record_id(key)]
        found: dict[str, Record] = {}
        for chunk in in_parts(wanted, PAGE):
            for page in self.records(table_id, by_ids(chunk), field_ids):
                found |= {record.id: record for record in page if record.id in chunk}
        return list(found.values())

    def write(self, table_id: str, changes: Mapping[str, Mapping[str, Any]]) -> list[Record]:
        """Write up to ten records in one call, all or nothing. Answers whole records.

        Raises OutcomeUnknown where the write may or may not have happened, NotSent where it did
        not and may be tried again.
        """
        table = self._api.table(self.base_id, table_id)
        records = [{"id": key, "fields": dict(cells)} for key, cells in changes.items()]
        try:
            with self._asking():
                answered = table.batch_update(cast(Any, records), use_field_ids=True)
            return [_record(cast(Mapping[str, Any], record)) for record in answered]
        except NotUnderstood as error:
            raise OutcomeUnknown(str(error), error.reason) from None

    @contextmanager
    def _asking(self) -> Iterator[None]:
        """One call. A foreign error is about its answer where there was one (it names the values);
        where there was none, no call could be made.
        """
        answered = self.transport.answered
        try:
            yield
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if self.transport.answered > answered:
                raise NotUnderstood("not what was asked for") from None
            if isinstance(error, ValueError):
                raise ConfigurationError(NO_CALL) from None
            raise


def _field(raw: Mapping[str, Any]) -> AirtableField:
    options = raw.get("options") or {}
    result = options.get("result") or {}
    choices = options.get("choices")
    if choices is not None:
        choices = tuple(printable(choice["name"]) for choice in choices)
    precision = (result.get("options") or options).get("precision")
    return AirtableField(
        printable(raw["id"]),
        printable(raw["name"]),
        printable(raw["type"]),
        choices,
        holds=printable(result["type"]) if result else None,
        precision=precision if isinstance(precision, int) else None,
        valid=options.get("isValid") is not False,
    )


def _record(raw: Mapping[str, Any]) -> Record:
    try:
        record_id, fields = raw["id"], raw["fields"]
        created_time = datetime.fromisoformat(raw["createdTime"])
    except (KeyError, TypeError, ValueError):
        raise NotUnderstood("a record without id, creation time or fields") from None
    if not is_record_id(record_id) or created_time.tzinfo is None:
        raise NotUnderstood("a record with a wrong id or creation time")
    # Keys that are no field ids would make every cell read as empty.
    if not isinstance(fields, dict) or not all(map(FIELD_ID.fullmatch, fields)):
        raise NotUnderstood("a record whose cells are not keyed by field id")
    return Record(record_id, created_time, fields)
