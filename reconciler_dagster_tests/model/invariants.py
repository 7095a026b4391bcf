"""The eighteen invariants, one function each. Each raises AssertionError with what it found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler_dagster.config import ConfigurationError
from reconciler_dagster.core.guard import Unfit
from reconciler_dagster.core.scope import Scope
from reconciler_dagster.core.source import SourceError
from reconciler_dagster.engine.change_set import ChangeSet
from reconciler_dagster.engine.diff import diff
from reconciler_dagster.engine.pull import pull_airtable, pull_postgres
from reconciler_dagster.engine.send import SENDERS
from reconciler_dagster_tests.mapping import LEADS
from reconciler_dagster_tests.model.linked_tables import Held, LinkedMemory, stale
from reconciler_dagster_tests.model.memory import Cell, Memory, Notes, Outcome, bare_lines
from reconciler_dagster_tests.model.people import FIELDS, is_whole, look
from reconciler_dagster_tests.world import Ran, World

Rows = Mapping[str, Mapping[str, Any]]


def convergence(world: World, memory: Memory) -> None:
    """1. Both sides and the baseline agree on every mapped field that no quarantine holds."""
    remote, local, agreed = world.sides()
    refused = quarantined(world)
    for record_id in memory.records:
        here, there, base = local[record_id], remote[record_id], agreed.get(record_id, {})
        for column in here.keys() & there.keys():
            held_back = column not in base and not LEADS[column].both
            if (record_id, column) not in refused and not held_back:
                assert here[column] == there[column] == base.get(column, "none"), (
                    f"{record_id} {column}: Airtable {there[column]!r}, portal {here[column]!r}, "
                    f"baseline {base.get(column, 'none')!r}"
                )


def idempotence(world: World) -> None:
    """2. The next run makes one call a sync and writes nothing."""
    ran = world.sync()
    counts = ran.counts
    done = (counts.airtable_calls, counts.local_writes, counts.remote_writes, counts.conflicts)
    assert done == (len(world.sessions()), 0, 0, 0), (
        f"calls, local writes, remote writes, conflicts: {done}"
    )


def survival(world: World, memory: Memory, remote: Rows, local: Rows) -> None:
    """3. What a person wrote stands, or lost to the policy; notes all stand."""
    refused = quarantined(world)
    losers = conflicts(world)
    for (record_id, column), cell in memory.cells.items():
        there, here = remote[record_id][column], local[record_id][column]
        where = f"{record_id} {column}: Airtable {there!r}, portal {here!r}; {cell.edits}, "
        where += f"base {cell.base!r}"
        if isinstance(cell, Notes):
            logged = [str(row[2]) for row in losers.get((record_id, column), [])]
            assert cell.lost(there, logged) == [], f"{cell.lost(there, logged)} lost: {where}"
            assert here == there, where
            continue
        outcomes = [o for o in cell.outcomes() if (o.remote, o.local) == (there, here)]
        if (record_id, column) not in refused:
            outcomes = [o for o in outcomes if not o.refused]
        assert outcomes, where
        policy(cell, outcomes, losers.get((record_id, column), []), where)


def policy(
    cell: Cell, outcomes: list[Outcome], rows: list[tuple[int, str, Any]], where: str
) -> None:
    """4. Who lost to Airtable's value is in the log, exactly once."""
    since = [row for row in rows if row[0] > cell.since]
    if all(outcome.loser for outcome in outcomes):
        values = [outcome.loser.value for outcome in outcomes if outcome.loser]
        kept = [value for _, _, value in since if value in values]
        assert len(kept) == 1, f"log {since}: {where}"
    if not cell.lenient and not any(edit.side == "portal" for edit in cell.edits):
        assert since == [], f"a conflict of one side: log {since}: {where}"


def original_or_final(memory: Memory, remote: Rows, local: Rows) -> None:
    """5. A cell holds what somebody wrote or what was agreed on, never something else."""
    for (record_id, column), cell in memory.cells.items():
        for side in (remote, local):
            if record_id not in side:
                continue
            value = side[record_id][column]
            if isinstance(cell, Notes):
                lines = bare_lines(value)
                unknown = set(lines) - memory.tokens
                assert not unknown, f"{record_id} notes hold {unknown}"
                assert len(lines) == len(set(lines)), f"{record_id} notes twice: {value!r}"
            else:
                assert cell.may_hold(value), (
                    f"{record_id} {column} holds {value!r}, never written: {cell.possible()}"
                )


def baseline_honesty(world: World, memory: Memory) -> None:
    """6. The baseline holds only what both sides were seen to hold."""
    for record_id, known in world.sql("SELECT record_id, fields FROM reconciler.baseline"):
        for column in known:
            cell = memory.cells.get((record_id, column))
            if cell is None:
                continue
            for side, held in cell.held.items():
                if isinstance(cell, Notes):  # in whatever form
                    known_well = bare_lines(known[column]) in map(bare_lines, held)
                else:
                    known_well = known[column] in held
                assert known_well, (
                    f"{record_id} {column}: {side} never held the baseline {known[column]!r}"
                )


def whole_claims(world: World) -> None:
    """14. Nowhere is half a claim, or half of one person's and half of another's."""
    claims = [
        (record_id, record["fields"].get("Claimed By"), record["fields"].get("Claimed At"))
        for record_id, record in world.sandbox.records().items()
    ]
    claims += world.sql(
        "SELECT airtable_record_id, u.email, to_jsonb(l) ->> 'claimed_at' FROM leads l "
        "LEFT JOIN users u ON u.id = l.claimed_by"
    )
    for record_id, holder, at in claims:
        assert is_whole(holder, at), f"{record_id}: claimed by {holder!r} at {at!r}"


def linked(world: World, memory: LinkedMemory, remote: Rows, local: Rows) -> None:
    """15. A link in Postgres points to the rows of the records that Airtable's names, unless the
    quarantine says why not; so with every other cell, and both sides and the baseline agree. What
    waits for its row waits no longer than until it is there.
    """
    survival(world, memory, remote, local)
    refused = quarantined(world)
    agreed = dict(
        tuple(row)
        for row in world.sql("SELECT record_id, fields FROM reconciler.baseline")
        if row[0] in memory.records
    )
    for (record_id, column), cell in memory.cells.items():
        here, there = local[record_id][column], remote[record_id][column]
        if (record_id, column) not in refused:
            base = agreed[record_id].get(column, "none")
            assert here == there == base, f"{record_id} {column}: {there!r}, {here!r}, {base!r}"
        elif here == there:
            assert cell.is_bad(there), f"{record_id} {column} agrees and waits: {there!r}"


def derived(world: World) -> None:
    """16. What Postgres works out of a row's members is never stale after a run."""
    found = stale(world)
    assert not found, f"name, size and members: {found}"


def held(memory: LinkedMemory, remote: Rows, local: Rows) -> None:
    """17. No run writes a cell that waits for a person's choice."""
    for (record_id, column), cell in memory.cells.items():
        if isinstance(cell, Held) and cell.stays and record_id in remote.keys() & local.keys():
            found = remote[record_id][column], local[record_id][column]
            assert found == cell.written, f"{record_id} {column} on hold: {found}, {cell.edits}"


def crash_equivalence(ended: Any, expected: Any) -> None:
    """7. A run that was killed and run again ends as one that was not."""
    assert ended == expected


def brakes(before: Any, after: Any) -> None:
    """8. A listing that is short, or too many deletions: nothing is written."""
    assert after == before


def dry_run(world: World, scope: Scope) -> ChangeSet:
    """9. A dry run changes nothing; its plan is what the next run does."""
    before = everything(world)
    session = world.session(dry_run=True)
    pull_airtable(session, scope)
    pull_postgres(session)
    planned = diff(session)
    assert everything(world) == before
    return planned


def isolation(world: World, ran: Ran) -> None:
    """10. What is refused says why, and is nobody else's: everything else went through."""
    for record_id, column in quarantined(world):
        assert world.value(
            "SELECT reason FROM reconciler.quarantine WHERE record_id = :r AND field = :f LIMIT 1",
            r=record_id,
            f=column,
        )
    assert not ran.pushed.unknown


def budget(world: World) -> None:
    """11. A 429 is told once: nobody sets out before the lock-out is over. What goes side by side
    with the refused call, other PATCHes and the reading of the next hundred, is on its way by then.
    To ask whose limit it was is no call to the base.
    """
    calls = [call for call in world.sandbox.calls() if not call["path"].endswith("/meta/whoami")]
    for number, refused in enumerate(calls):
        if refused["status"] != 429:
            continue
        over = refused["time"] + 1000 * world.settings.lockout_seconds
        early = [call["method"] for call in calls[number + 1 :] if call["time"] < over]
        beside = early.count("PATCH")
        assert beside < SENDERS, f"{beside} PATCHes after a 429"
        assert len(early) - beside <= 1, f"{early} after a 429"
        if "PATCH" not in (refused["method"], *early):
            assert not early, f"{early} after a 429"


def quiet(world: World, scope: Scope) -> None:
    """12. A quiet world stays quiet: nobody did anything, and so the engine writes nothing."""
    counts = world.sync(scope).counts
    done = (counts.local_writes, counts.remote_writes, counts.conflicts)
    assert done == (0, 0, 0), f"local writes, remote writes, conflicts: {done}"


def consent(before: Any, after: Any) -> None:
    """13. Nothing is written, on either side, before somebody has said so."""
    assert after == before, "something was written without consent"


@dataclass(frozen=True)
class Written:
    """What a run has written, and what both sides are known to agree on."""

    run_id: str
    history: Any
    baseline: Any
    patches: int

    @staticmethod
    def of(world: World, run_id: str) -> Written:
        """As things stand."""
        return Written(
            run_id,
            world.sql("SELECT id FROM reconciler.history WHERE run_id = :id", id=run_id),
            world.sql("SELECT record_id, advance FROM reconciler.baseline ORDER BY record_id"),
            sum(call["method"] == "PATCH" for call in world.sandbox.calls()),
        )


def one_writer(world: World, overtaken: Written) -> None:
    """A run that was overtaken has written nothing since."""
    assert Written.of(world, overtaken.run_id) == overtaken


def quarantined(world: World) -> set[tuple[str, str]]:
    """The cells in quarantine."""
    return {tuple(r) for r in world.sql("SELECT record_id, field FROM reconciler.quarantine")}


def refused_by_airtable(world: World, record_ids: Sequence[str]) -> dict[tuple[str, str], Any]:
    """What the portal holds in the cells that Airtable has refused, of these records."""
    _, local = look(world)
    return {
        (record_id, column): local[record_id][column]
        for record_id, column in world.sql(
            "SELECT record_id, field FROM reconciler.quarantine "
            "WHERE direction = 'to_airtable' AND record_id = ANY(:ids)",
            ids=list(record_ids),
        )
        if column in FIELDS and record_id in local
    }


def kept(world: World, values: Mapping[tuple[str, str], Any]) -> None:
    """What the portal held stands there, or is in the log."""
    _, local = look(world)
    losers = conflicts(world)
    for (record_id, column), value in values.items():
        logged = [row[2] for row in losers.get((record_id, column), [])]
        held = local.get(record_id, {}).get(column)
        assert value in (held, *logged), f"{record_id} {column}: {value!r} lost, log {logged}"


def conflicts(world: World) -> dict[tuple[str, str], list[tuple[int, str, Any]]]:
    """The log: id, kind and loser, by cell."""
    log: dict[tuple[str, str], list[tuple[int, str, Any]]] = {}
    for id_, record_id, column, kind, value in world.sql(
        "SELECT id, record_id, field, kind, losing_value FROM reconciler.conflict ORDER BY id"
    ):
        log.setdefault((record_id, column), []).append((id_, kind, value))
    return log


def glance(world: World) -> bool:
    """18. A glance writes nothing. Returns whether it shows nothing; then ``nothing_came_of`` the
    run that follows.
    """
    before = everything(world)
    try:
        nothing = world.shows_nothing()
    except (SourceError, ConfigurationError, Unfit):
        nothing = False
    assert everything(world) == before
    return nothing


def nothing_came_of(before: Any, after: Any) -> None:
    """The run after a glance that showed nothing: what was refused may have been tried once more,
    in vain, and the cursor has moved; nothing else.
    """
    (sides, kept), (sides_then, kept_then) = before, after
    assert sides_then == sides
    for table in kept.keys() - {"cursor"}:
        then, now = (
            sorted(str({n: v for n, v in row.items() if n != "advance"}) for row in rows[table])
            for rows in (kept, kept_then)
        )
        assert now == then, f"a glance had shown nothing, and {table} changed"


def everything(world: World) -> Any:
    """Both sides, and what the engine keeps beyond a run: rows as JSON."""
    kept = {
        table: [
            row[0]
            for row in world.sql(
                f"SELECT to_jsonb(t) FROM reconciler.{table} t ORDER BY to_jsonb(t)::text"  # noqa: S608
            )
        ]
        for table in (
            *("baseline", "cursor", "unsettled", "journal", "conflict", "quarantine"),
            *("tombstone", "fight", "field_binding"),
        )
    }
    return look(world), kept
