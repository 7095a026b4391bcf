"""Airtable's own forms, switched on and off while people write; and a world where nobody does."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from reconciler_dagster.core.scope import CHANGED, EVERYTHING
from reconciler_dagster_tests.model import invariants
from reconciler_dagster_tests.model.stage import Stage

# How people write a line of a note, on either side.
SPELLINGS = ("{}", "* {}", "+ __{}__", "*{}*", "{}  ", "**{}**\r", "- _{}_", "\u00a0{}")


class Forms(Stage):
    """Rules about the form in which Airtable keeps a text."""

    @rule(rich=st.booleans(), trim=st.booleans(), crlf=st.booleans(), odd=st.booleans())
    def airtable_keeps_texts_in_another_form(
        self, rich: bool, trim: bool, crlf: bool, odd: bool
    ) -> None:
        """Notes become rich text, or plain text again, and Airtable respells what is there. No
        record counts as modified: what lies behind a delta's reach, only a whole listing can see.
        """
        self.world.sandbox.switch(trim_text=trim, crlf_to_lf=crlf)
        self.world.sandbox.retype_field("Notes", "richText" if rich else "multilineText")
        self.spellings = SPELLINGS if odd else SPELLINGS[:1]
        self._observe()
        if self.ahead >= self.world.session().overlap.seconds / 2:  # the rest is how long runs take
            with self._disturbed():
                self.world.sync(EVERYTHING)

    @precondition(lambda self: self.open is None)
    @rule()
    def nobody_does_anything(self) -> None:
        self._clean(CHANGED)
        for scope in (CHANGED, EVERYTHING, CHANGED):
            invariants.quiet(self.world, scope)
        self._observe()
