"""What a merge is asked about."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from reconciler_dagster.core.codecs import Text
from reconciler_dagster.core.fields import FieldMap, MappedField, Policy
from reconciler_dagster.core.plan import by_lead
from reconciler_dagster.engine.frames import Sides

FIELDS = FieldMap(
    [
        MappedField("Owned", "owned", ("text",), Text()),
        MappedField("Shared", "shared", ("text",), Text(), both=True),
        MappedField("Notes", "notes", ("text",), Text(), both=True, policy=Policy.MERGE_APPENDS),
        MappedField("Key", "key", ("text",), Text(), required=True),
    ]
)
# A cell that was not read, or never agreed on, is not in its row.
rows = st.dictionaries(
    st.sampled_from(FIELDS.columns), st.sampled_from([None, "a", "b", "a\nx"]), max_size=4
)
sides = st.dictionaries(st.sampled_from(["rec1", "rec2", "rec3"]), rows)


@given(sides, sides, sides, rows)
def test_what_is_left_out_of_a_merge_changes_nothing(
    baseline: dict[str, Any], remote: dict[str, Any], local: dict[str, Any], same: dict[str, Any]
) -> None:
    baseline["rec1"] = remote["rec1"] = local["rec1"] = same
    both = Sides(baseline, remote, local)
    unsettled = both.unsettled()
    assert "rec1" not in unsettled
    assert by_lead(both.merge(unsettled, FIELDS)) == by_lead(both.merge(list(remote), FIELDS))


def test_a_record_without_a_lead_is_not_settled() -> None:
    assert Sides({"rec1": {}}, {"rec1": {}}, {}).unsettled() == ["rec1"]
    assert Sides({}, {"rec1": {}}, {"rec1": {}}).unsettled() == ["rec1"]
