"""One made-up lead: who they are, where they work, how far the messages got."""

import json
import random
from pathlib import Path
from typing import Any

from reconciler_dagster.sandbox.clock import DAY, SECOND, iso

_WORDS = json.loads(Path(__file__).with_name("words.json").read_text(encoding="utf-8"))
FIRST, LAST = _WORDS["first"], _WORDS["last"]
STEMS, KINDS = _WORDS["stems"], _WORDS["kinds"]
TITLES, INDUSTRIES = _WORDS["titles"], _WORDS["industries"]
TAGS, NOTES, REPLIES = _WORDS["tags"], _WORDS["notes"], _WORDS["replies"]
COUNTRIES = (
    ["United States"] * 60
    + ["Canada"] * 10
    + ["United Kingdom"] * 10
    + ["Germany", "Australia", "India", "Brazil", "Spain", "Netherlands", "France", "Singapore"]
)


class Lead:
    """The cells of one lead, by field name, empty ones left out."""

    def __init__(
        self,
        rng: random.Random,
        index: int,
        created: int,
        modified: int,
        choices: dict[str, list[str]],
        campaigns: dict[str, str],
    ) -> None:
        self._rng = rng
        self._index = index
        self._created = created
        self._modified = modified
        self._choices = choices
        self._campaigns = campaigns
        self._found: dict[str, Any] = {}

    def cells(self) -> dict[str, Any]:
        """Make the lead up."""
        self._person()
        self._company()
        self._scores()
        self._messages()
        self._kajabi()
        self._conversation()
        return {name: value for name, value in self._found.items() if value not in (None, "")}

    def _chance(self, probability: float) -> bool:
        return self._rng.random() < probability

    def _some(self, name: str, value: Any, probability: float) -> None:
        if self._rng.random() < probability:
            self._found[name] = value

    def _pick(self, name: str, probability: float, weights: list[int] | None = None) -> None:
        """Choose a select's option; the first leads go through all options, so each appears."""
        options = self._choices[name]
        if self._index < len(options):
            self._found[name] = options[self._index]
        elif self._rng.random() < probability:
            self._found[name] = (
                self._rng.choices(options, weights)[0] if weights else self._rng.choice(options)
            )

    def _time(self, name: str, probability: float) -> None:
        if self._rng.random() < probability:
            moment = self._created + int(self._rng.random() * (self._modified - self._created))
            self._found[name] = iso(moment // SECOND * SECOND)

    def _person(self) -> None:
        rng = self._rng
        first, last = rng.choice(FIRST), rng.choice(LAST)
        self._found["Lead"] = f"{first} {last}"
        self._some("First Name", first, 0.98)
        self._some("Last Name", last, 0.95)
        plain = f"{first}.{last}".lower().replace("'", "")
        self._some("Email", f"{plain}{self._index}@example.com", 0.99)
        if self._chance(0.85):
            self._found["Phone"] = f"+1{rng.randrange(201, 990)}555{rng.randrange(10_000):04d}"
            self._some("Phone Valid", True, 0.9)
        self._some("Location Country", rng.choice(COUNTRIES), 0.8)
        self._some("Linkedin URL - Person", f"https://www.linkedin.com/in/{plain}", 0.6)
        self._some("Job Title", rng.choice(TITLES), 0.75)
        self._pick("Lead Source", 0.95)
        self._some("Lead Source Detail", "landing page", 0.2)
        self._some("Form ID", f"form_{rng.randrange(1, 9)}", 0.5)
        self._time("Imported At", 0.9)

    def _company(self) -> None:
        rng = self._rng
        stem, kind = rng.choice(STEMS), rng.choice(KINDS)
        if self._chance(0.85):
            self._found["Company"] = f"{stem} {kind}"
            self._found["Company Domain"] = f"{stem}{kind}.example".lower()
            self._some("Company LinkedIn", f"https://www.linkedin.com/company/{stem}".lower(), 0.5)
            self._some("Company Industry", rng.choice(INDUSTRIES), 0.7)
            self._some("Company Description", f"{stem} {kind} serves mid-sized firms.", 0.3)
        self._pick("Company Type", 0.7)
        self._pick("Enrichment Outcome", 0.7, [60, 25, 5, 6, 4])

    def _scores(self) -> None:
        rng = self._rng
        self._some("Company Score Component", rng.randrange(0, 31), 0.9)
        self._some("Role Score Component", rng.randrange(0, 31), 0.9)
        self._some("Dynamic Signals Score", rng.randrange(0, 21), 0.5)
        self._some("Prime Fit Bonus", True, 0.1)
        self._pick("HRQ Status", 0.6, [50, 20, 15, 10, 5])
        self._some("HRQ Reason", "Title below director", 0.1)

    def _messages(self) -> None:
        rng = self._rng
        self._pick("Processing Status", 0.97, [20, 5, 2, 15, 3, 25, 8, 2, 20])
        self._pick("SMS Status", 0.9, [35, 4, 20, 18, 6, 6, 3, 4, 3, 1])
        self._pick("SMS Variant", 0.6)
        self._pick("SMS Batch Control", 0.2)
        self._pick("Campaign (CORRECTED)", 0.8)
        campaign = self._found.get("Campaign (CORRECTED)")
        if campaign and self._chance(0.06):
            self._found["Linked Campaign"] = [self._campaigns[campaign]]
        sent = rng.choices((0, 1, 2, 3, 4), (40, 25, 20, 10, 5))[0]
        self._found["SMS Sent Count"] = sent
        self._found["SMS Sequence Position"] = sent
        if sent:
            self._found["SMS Cost"] = round(sent * 0.01, 2)
            self._time("SMS Last Sent At", 1)
            self._some("Short Link ID", f"s{self._index:x}", 0.5)
            if "Short Link ID" in self._found:
                link = self._found["Short Link ID"]
                self._found["Short Link URL"] = f"https://go.example.com/{link}"
                if self._chance(0.4):
                    self._found["Clicked Link"] = True
                    self._found["Click Count"] = rng.randrange(1, 6)
                    self._time("First Clicked At", 1)
        if self._chance(0.04):
            self._found["SMS Stop"] = True
            self._some("SMS Stop Reason", "Replied STOP", 0.8)
        if self._chance(0.03):
            self._found["Booked"] = True
            self._time("Booked At", 1)
        if self._chance(0.1):
            ahead = self._created + rng.randrange(1, 30) * DAY
            self._found["Webinar Datetime"] = iso(ahead // SECOND * SECOND)

    def _kajabi(self) -> None:
        rng = self._rng
        if self._chance(0.4):
            self._found["Kajabi Tags"] = ", ".join(rng.sample(TAGS, rng.randrange(1, 5)))
            self._found["Kajabi Contact ID"] = str(rng.randrange(10**8, 10**9))
            self._time("Kajabi Last Sync", 0.9)
        self._pick("Kajabi Member Status", 0.3)
        self._pick("Coaching Tier", 0.3, [70, 10, 8, 7, 5])
        self._some("Current Coaching Client", True, 0.03)
        self._some("Interested in Coaching", True, 0.08)
        self._pick("Engagement - Level", 0.8)
        self._some("Engagement - Tag Count", rng.randrange(0, 12), 0.5)
        self._some("Engagement - Total Score", round(rng.random() * 100, 1), 0.5)
        self._some("Engagement - Recency Points", round(rng.random() * 40, 1), 0.3)

    def _conversation(self) -> None:
        rng = self._rng
        for name in self._choices:
            if name not in self._found and self._index < len(self._choices[name]):
                self._pick(name, 0)
        self._some("Notes", rng.choice(NOTES), 0.08)
        if self._chance(0.1):
            self._pick("Conversation Status", 1)
            self._pick("Pain Point", 0.5)
            self._pick("🤖 last_message_direction", 1)
            self._pick("🤖 ai_status", 1)
            self._time("Last Reply At", 1)
            self._found["Last Reply Text"] = rng.choice(REPLIES)
            self._found["Reply Count"] = rng.randrange(1, 5)
            self._some("🤖 active_conversation", True, 0.3)
            self._some("🤖 total_ai_messages_sent", rng.randrange(1, 9), 0.7)
        if self._chance(0.05):
            self._pick("Follow-up Type", 1)
            self._time("Follow-up Date/Time", 1)
            self._found["Follow-up Note"] = "Ask about the team's quota."
