"""The kinds of notices: how bad each is, what it says, what to do, and where to look. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

Place = Literal["console", "quarantine", "deletions", "notices", "runs", "daemons", "automation"]


class Severity(IntEnum):
    """How soon somebody has to know: in office hours, today, now."""

    INFO = 1
    WARNING = 2
    CRITICAL = 3

    @classmethod
    def named(cls, word: str) -> Severity:
        """By its name in any case; ValueError that names the three."""
        try:
            return cls[word.upper()]
        except KeyError:
            raise ValueError("expected info, warning or critical") from None


@dataclass(frozen=True)
class Kind:
    """``happened``, ``todo``: sentences for a person. ``of_all``: it is about the whole deployment,
    not about clients. ``explains``: while it stands, these are its consequences and are not told
    of the same client (of any client, if it is ``of_all``). ``at_once``: its cause is a silence
    that was watched for long enough: there is nothing more to wait for before it is told.
    """

    name: str
    severity: Severity
    happened: str
    todo: str
    place: Place
    of_all: bool = False
    explains: tuple[str, ...] = ()
    at_once: bool = False


_LATE = ("no_success", "proof_old")

_ALL = (
    Kind(
        "token_refused",
        Severity.CRITICAL,
        "Airtable refuses the token",
        "Make a personal access token with the scopes data.records:read, data.records:write and "
        "schema.bases:read, and replace the refused one with it. If it is in a variable, restart "
        "daemon and listener; if it is in a file or was set with `reconciler tokens set`, the next "
        "run reads it. Nothing is lost: that run carries over what was edited meanwhile.",
        "runs",
        explains=("runs_fail", *_LATE),
    ),
    Kind(
        "scope_lost",
        Severity.CRITICAL,
        "Airtable accepts the token, but no longer permits all that a run does",
        "Give the token the scopes data.records:read, data.records:write and schema.bases:read "
        "(in Airtable under Developer hub, Personal access tokens), and see that its user may edit "
        "the base. No restart is needed, and nothing is lost: the next run carries over what was "
        "edited meanwhile.",
        "runs",
        explains=("runs_fail", *_LATE),
    ),
    Kind(
        "base_gone",
        Severity.CRITICAL,
        "A base or its table cannot be read any more",
        "Look whether the base was deleted or the token lost its access; correct the client's "
        "airtable_base_id, or set its is_active to false.",
        "runs",
        explains=("runs_fail", *_LATE),
    ),
    Kind(
        "month_gone",
        Severity.CRITICAL,
        "The workspace's calls of this month are used up",
        "Raise the plan in Airtable, or wait: the schedule stands still until the month turns "
        "(UTC), and then carries over all that was edited. `Manual Sync` tries at once.",
        "notices",
        explains=("runs_fail", *_LATE),
    ),
    Kind(
        "changes_wait",
        Severity.WARNING,
        "A run waits for a person: it would empty cells of many leads in Airtable",
        "Look at the run to see what it would write. If that is meant, launch it with "
        "allow_mass_clear, or `reconciler run --allow-mass-clear`; if not, put the values back in "
        "the portal. Until then nothing is carried over for the client, and nothing is lost.",
        "runs",
        explains=("runs_fail", *_LATE),
    ),
    Kind(
        "runs_fail",
        Severity.WARNING,
        "Runs fail",
        "Correct what the notice names; the run in Dagster has the whole log. Edits wait, and "
        "nothing is lost: the next run that succeeds carries them over.",
        "runs",
        explains=_LATE,
    ),
    Kind(
        "no_success",
        Severity.CRITICAL,
        "No run has succeeded for too long",
        "Look whether runs are started at all, and what they wait for: `reconciler status`, and "
        "the queue in Dagster.",
        "runs",
    ),
    Kind(
        "field_stopped",
        Severity.WARNING,
        "A field is stopped and no longer carried over",
        "Somebody has changed the field in Airtable, or its column in Postgres. Take that back, or "
        "change the definition if it was meant. Where the change has emptied cells in Airtable, "
        "undo it there, as that brings them back too; the portal still has its values. The other "
        "fields are carried over all the same.",
        "console",
    ),
    Kind(
        "quarantine",
        Severity.WARNING,
        "Values wait in quarantine",
        "One side refuses them; the page says why, for each of them. Correct the value where it "
        "was entered, or what refuses it: it is tried again by itself.",
        "quarantine",
    ),
    Kind(
        "sides_fight",
        Severity.WARNING,
        "Another program undoes what the engine writes, so these cells are left alone",
        "Find what writes them (an automation, a trigger, an older sync) and stop it, then run "
        "`reconciler quarantine retry`.",
        "console",
    ),
    Kind(
        "adoption_waits",
        Severity.INFO,
        "A new client waits for a person to approve its first sync",
        "It was rehearsed: look at what it would write, and approve with `reconciler adopt "
        "--approve` or in the console. Until then nothing of the client is written on either side.",
        "console",
    ),
    Kind(
        "deletions_wait",
        Severity.WARNING,
        "Leads whose records are gone from Airtable wait for a person",
        "Look whether the records were meant to be deleted, then approve or reject on the page, or "
        "with `reconciler deletions approve` or `reject`. If it was an accident, restore them in "
        "Airtable: the next run takes them off the list. Until then the leads stay active in the "
        "portal.",
        "deletions",
    ),
    Kind(
        "edits_unnoted",
        Severity.CRITICAL,
        "Edits in Postgres may not be noted",
        "Run `reconciler migrate` as the owner of the portal's tables. Until then every run "
        "compares all leads.",
        "console",
    ),
    Kind(
        "drift",
        Severity.WARNING,
        "Both sides differ, and nothing known explains it",
        "`reconciler status` names each difference with its remedy; most often that is "
        "`reconciler great-sync`.",
        "console",
    ),
    Kind(
        "proof_old",
        Severity.WARNING,
        "The audit does not keep up: it is too long ago that every lead was compared in full",
        "Look at the audit's runs; run `reconciler great-sync`, or raise "
        "RECONCILER_AUDIT_CALLS_PER_HOUR.",
        "console",
    ),
    Kind(
        "month_short",
        Severity.INFO,
        "The workspace's calls of this month are forecast to run out",
        "Raise the plan, or lower RECONCILER_AUDIT_CALLS_PER_HOUR. Where RECONCILER_MONTHLY_CALLS "
        "is set, the audit and the deltas of quiet bases have been slowed down to make them last.",
        "notices",
        of_all=True,
    ),
    Kind(
        "month_low",
        Severity.WARNING,
        "Four fifths of the workspace's calls of this month are spent",
        "Raise the plan in Airtable before they are gone; then nothing is synced until the month "
        "turns (UTC).",
        "notices",
        of_all=True,
    ),
    Kind(
        "daemon_dead",
        Severity.CRITICAL,
        "Dagster's daemon gives no sign of life: nothing is started by schedule",
        "Start it again: `reconciler serve daemon`, `dagster-daemon run`, or the service or "
        "container that runs it; its log says why it ended. Nothing is lost: the next run carries "
        "over what was edited meanwhile.",
        "daemons",
        of_all=True,
        explains=("schedule_still", *_LATE),
        at_once=True,
    ),
    Kind(
        "schedule_still",
        Severity.CRITICAL,
        "A schedule or sensor does not tick",
        "If somebody has stopped it, start it again in Dagster under Automation; if its ticks "
        "fail, the reason is there.",
        "automation",
        of_all=True,
        explains=_LATE,
    ),
    Kind(
        "listener_silent",
        Severity.WARNING,
        "The listener gives no sign of life",
        "Start `reconciler listen` again. Until then syncs start seconds later, and nobody "
        "watches Dagster's daemon from outside.",
        "notices",
        of_all=True,
    ),
    Kind(
        "dagster_storage",
        Severity.CRITICAL,
        "Dagster's own storage cannot be used",
        "Look at the Postgres of DAGSTER_POSTGRES_URL: that it runs, has room and accepts "
        "connections. Until then no run can be started; what is edited waits, and nothing is lost.",
        "daemons",
        of_all=True,
        explains=("daemon_dead", "schedule_still", *_LATE),
    ),
    Kind(
        "postgres_down",
        Severity.CRITICAL,
        "The portal's Postgres cannot be used",
        "Look at the Postgres of DATABASE_URL: that it runs, has room and accepts connections. "
        "Nothing is carried over meanwhile, and nothing is lost.",
        "notices",
        of_all=True,
    ),
)

KINDS = {kind.name: kind for kind in _ALL}
