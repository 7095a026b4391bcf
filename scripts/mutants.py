"""Known ways to break the engine: what each does, and the patch of the source that does it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """``old`` must stand in ``file`` exactly once. ``example``: names the tests that are meant to
    find it, as ``pytest -k`` takes it.
    """

    what: str
    example: str
    file: str
    old: str
    new: str


ENGINE = "reconciler_dagster/engine/"
POSTGRES = "reconciler_dagster/postgres/"
AIRTABLE = "reconciler_dagster/airtable/"
CORE = "reconciler_dagster/core/"

MUTANTS = [
    Mutant(
        "skip the baseline when the portal is written",
        "second_makes_one_call",
        ENGINE + "local.py",
        "                if record_id in staged.records or record_id in staged.baselines\n",
        "                if False\n",
    ),
    Mutant(
        "skip the baseline when Airtable has answered",
        "claim_follows",
        ENGINE + "send.py",
        "baseline.advance(connection, session.client.id, agreed)",
        "baseline.advance(connection, session.client.id, [])",
    ),
    Mutant(
        "advance the baseline to what was sent, whatever Airtable answered",
        "another_form",
        ENGINE + "send.py",
        "if answer[record_id].fields.get(c) == v}",
        "}",
    ),
    Mutant(
        "drop the journal",
        "after_an_unanswered",
        ENGINE + "local.py",
        "journal.plan(connection, client_id, session.run_id, outbound, owners, merged_over)",
        "pass",
    ),
    Mutant(
        "acknowledge before sending",
        "after_an_unanswered",
        ENGINE + "send.py",
        "journal.mark_sent(connection, session.client.id, batch)",
        "journal.close(connection, session.client.id, batch)",
    ),
    Mutant(
        "take an answer that never came for a yes",
        "without_an_answer",
        ENGINE + "send.py",
        "        sent.unknown |= set(batch)\n        return",
        "        return",
    ),
    Mutant(
        "ignore what an unanswered write has brought about",
        "after_an_unanswered",
        ENGINE + "frames.py",
        "if column in remote and remote[column] == value",
        "if False",
    ),
    Mutant(
        "let the engine's own writes count as the portal's edits",
        "test_03",
        POSTGRES + "connection.py",
        "SET LOCAL reconciler.writer = 'engine'",
        "SET LOCAL reconciler.writer = 'anybody'",
    ),
    Mutant(
        "stamp updated_at in the pull",
        "test_03",
        POSTGRES + "apply.py",
        'f"UPDATE public.leads l SET ({names}) = ROW({new}) "',
        'f"UPDATE public.leads l SET updated_at = now(), ({names}) = ROW({new}) "',
    ),
    Mutant(
        "let Airtable win over an edit of the portal alone",
        "test_07",
        CORE + "merge.py",
        'add("to_airtable", only_local, there, here)',
        'add("to_postgres", only_local, here, there)',
    ),
    Mutant(
        "let the portal win a clash",
        "a_conflict_ends",
        CORE + "merge.py",
        '    add("to_postgres", clash, here, there)\n',
        '    add("to_airtable", clash, there, here)\n',
    ),
    Mutant(
        "leave the portal's edit of Airtable's own field standing",
        "owns_is_put_back",
        CORE + "merge.py",
        '        add("to_postgres", only_local, here, there)\n        lost(',
        "        lost(",
    ),
    Mutant(
        "let an empty cell win at first contact",
        "first_contact_of",
        CORE + "merge.py",
        'add("to_postgres", first & ~remote_blank, here, there)',
        'add("to_postgres", first, here, there)',
    ),
    Mutant(
        "never merge notes",
        "test_04",
        CORE + "merge.py",
        "if mapped.policy is Policy.MERGE_APPENDS:",
        "if False:",
    ),
    Mutant(
        "merge notes without the portal's addition",
        "test_04",
        CORE + "merge.py",
        'return f"{remote.rstrip(chr(10))}\\n{addition}" if remote else addition',
        "return remote",
    ),
    Mutant(
        "read an absent cell as unchanged",
        "test_06",
        CORE + "reading.py",
        "            row[mapped.column] = mapped.codec.from_airtable(",
        "            if mapped.column in cells: row[mapped.column] = mapped.codec.from_airtable(",
    ),
    Mutant(
        "never clear a cell in Airtable",
        "test_07",
        ENGINE + "send.py",
        "            for column, value in row.items()\n        }\n        for record_id",
        "            for column, value in row.items() if value is not None\n        }\n"
        "        for record_id",
    ),
    Mutant(
        "keep no conflicts",
        "a_conflict_ends",
        ENGINE + "local.py",
        "record.conflicts(connection, client_id, session.run_id, conflicts)",
        "pass",
    ),
    Mutant(
        "settle every edit of anybody, whatever was read",
        "open_transaction or between_pull",
        POSTGRES + "leads.py",
        "DELETE FROM reconciler.unsettled WHERE revision = ANY(:revisions)",
        "DELETE FROM reconciler.unsettled WHERE CAST(:revisions AS bigint[]) IS NOT NULL",
    ),
    Mutant(
        "write over a lead that was edited since it was read",
        "on_its_way",
        POSTGRES + "apply.py",
        "ON l.id = r.id AND l.xmin::text = r.version FOR",
        "ON l.id = r.id FOR",
    ),
    Mutant(
        "forget a lead that was locked",
        "that_was_locked",
        ENGINE + "local.py",
        "    if applied.deferred:\n",
        "    if False:\n",
    ),
    Mutant(
        "take a locked lead's record for unchanged",
        "that_was_locked",
        POSTGRES + "leads.py",
        ":every OR u.cause = :deferred OR",
        ":every OR",
    ),
    Mutant(
        "move the cursor by our own clock",
        "clock",
        ENGINE + "push.py",
        "moment = datetime.fromisoformat(pulled.moment)",
        "moment = datetime.now(UTC)",
    ),
    Mutant(
        "trust Airtable's clock never to run backward",
        "clock",
        ENGINE + "pull.py",
        "if now is not None and now - start.age <",
        "if now is None and now - start.age <",
    ),
    Mutant(
        "leave out what was seen, however lately it was edited",
        "big_push",
        ENGINE + "pull.py",
        "SEEN_MARGIN = timedelta(seconds=3)",
        "SEEN_MARGIN = timedelta(hours=-1)",
    ),
    Mutant(
        "send the plan of the diff, not of what was read just before",
        "between_pull",
        ENGINE + "push.py",
        "write_local(session, staged, staged.plan(session), sorted(found))",
        "write_local(session, staged, {k: v for k, v in staging.changes("
        "session.engine.connect(), session.run_id) if k in found}, sorted(found))",
    ),
    Mutant(
        "release quarantine without having read the record",
        "stays_in_quarantine",
        ENGINE + "local.py",
        "unread = staged.sides.assumed & done_set",
        "unread: set[str] = set()",
    ),
    Mutant(
        "let one refused cell end the run",
        "by_halving",
        ENGINE + "send.py",
        "REFUSALS = frozenset({403, 404, 413, 422})",
        "REFUSALS: frozenset[int] = frozenset()",
    ),
    Mutant(
        "hold back a corrected value as well",
        "test_09",
        ENGINE + "diff.py",
        "return key in self.waiting and self.waiting[key] == value",
        "return key in self.waiting",
    ),
    Mutant(
        "write without the lease",
        "lost_its_lease",
        POSTGRES + "lock.py",
        "    if holder != run_id:\n",
        "    if False:\n",
    ),
    Mutant(
        "take a retyped field's empty cells for cleared ones",
        "retyped",
        ENGINE + "pull.py",
        "return suspect and session",
        "return False and session",
    ),
    Mutant(
        "do not note a lead that is deleted",
        "comes_back_whole",
        "migrations/versions/0002_engine.py",
        "    IF TG_OP = 'DELETE' THEN\n",
        "    IF TG_OP = 'DELETE' THEN RETURN OLD;\n",
    ),
    Mutant(
        "plan a dry run with baselines that the run will have dropped",
        "dry_run_meets",
        ENGINE + "diff.py",
        "if session.dry_run:  #",
        "if False:  #",
    ),
    Mutant(
        "believe a deletion after one listing",
        "second_complete_listing",
        CORE + "deletions.py",
        "LISTINGS_NEEDED = 2",
        "LISTINGS_NEEDED = 1",
    ),
    Mutant(
        "delete however many are gone",
        "third_of_the_base",
        CORE + "deletions.py",
        "    return gone > min(DELETIONS_ALLOWED, share)",
        "    return False",
    ),
    Mutant(
        "believe a listing that was cut short",
        "cut_short_deletes",
        ENGINE + "deletions.py",
        "    if left_out:\n",
        "    if False:\n",
    ),
    Mutant(
        "keep a 429 to itself",
        "no_call_within_it",
        AIRTABLE + "transport.py",
        'self.bucket.lock_out(self._lockout(response), "429 from Airtable")',
        "pass",
    ),
    Mutant(
        "call without waiting for the slot",
        "together_exceeds",
        POSTGRES + "bucket.py",
        "            time.sleep(seconds)\n",
        "",
    ),
    Mutant(
        "insert a lead anew without what is agreed on",
        "inserted_anew",
        ENGINE + "local.py",
        "remembered=BLANKS | (known.fields if known else {})",
        "remembered=BLANKS",
    ),
    Mutant(
        "keep agreeing on what a lead that was inserted anew does not hold",
        "inserted_anew",
        ENGINE + "local.py",
        "baseline.forget(connection, client_id, applied.inserted)",
        "pass",
    ),
    Mutant(
        "let the sensor take what the listener is just submitting",
        "nobody_takes_what",
        POSTGRES + "requests.py",
        "f\"WHERE id = :id AND state = 'pending' AND {_TURN}) \"",
        "\"WHERE id = :id AND state = 'pending') \"",
    ),
    Mutant(
        "let the listener submit what the sensor has taken",
        "the_sensor_has_taken",
        POSTGRES + "requests.py",
        "\"WHERE id = :id AND state = 'pending' AND submitted_as IS DISTINCT FROM :key \"",
        "\"WHERE id = :id AND state = 'pending' \"",
    ),
]
