"""The merge: baseline, remote and local in, a plan out. Pure, and vectorised over whole frames.

Whatever differs from the baseline has been edited; by whom is then plain, and no clock decides.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pandas as pd

from reconciler_dagster.core.appending import append
from reconciler_dagster.core.codecs import Codec
from reconciler_dagster.core.fields import FieldMap, MappedField, Policy
from reconciler_dagster.core.plan import CELL_COLUMNS, CONFLICT_COLUMNS, ConflictKind, Plan
from reconciler_dagster.core.values import UNKNOWN, object_array

Array = np.ndarray[Any, Any]


def merge(
    baseline: pd.DataFrame,
    remote: pd.DataFrame,
    local: pd.DataFrame,
    fields: FieldMap,
) -> Plan:
    """Decide every cell of every lead that is in both ``remote`` and ``local``.

    The frames have index ``record_id`` and one object column per mapped column, canonical values,
    ``UNKNOWN`` where a cell was not read. ``remote``: Airtable; ``local``: Postgres. A record
    without a lead is to be inserted; a lead without a record is not for a merge to judge.

    | remote vs baseline | local vs baseline | outcome |
    |---|---|---|
    | same | same | nothing |
    | edited | same | write local |
    | same | edited | write remote; put back where Airtable owns the field |
    | edited | edited to the same value | agreed |
    | edited | edited otherwise | the field's policy |

    Where both differ from the baseline, or there is none, what differs in form alone (codec.normal)
    is no edit: the side that says something else stands, and of two spellings Airtable's.
    """
    both = remote.index.intersection(local.index)
    base = baseline.reindex(both, fill_value=cast(Any, UNKNOWN))
    here, there = local.loc[both], remote.loc[both]
    ids = both.to_numpy(dtype=object)
    cells = _Cells()
    for mapped in fields:
        column = mapped.column
        _decide(
            mapped,
            ids,
            base[column].to_numpy(dtype=object),
            there[column].to_numpy(dtype=object),
            here[column].to_numpy(dtype=object),
            cells,
        )
    return Plan(
        to_postgres=cells.frame("to_postgres"),
        to_airtable=cells.frame("to_airtable"),
        agreed=cells.frame("agreed"),
        held_back=cells.frame("held_back"),
        conflicts=cells.conflicts(),
        held=cells.frame("held"),
        inserts=_without_required(remote, remote.index.difference(local.index), fields),
    )


def _without_required(remote: pd.DataFrame, new: pd.Index[Any], fields: FieldMap) -> list[str]:
    """The new records that hold all that a row cannot do without."""
    kept = np.ones(len(new), dtype=bool)
    for mapped in fields:
        if mapped.required:
            cells = remote.loc[new, mapped.column].to_numpy(dtype=object)
            kept &= _differs(cells, object_array([mapped.codec.blank] * len(new)))
    return list(new[kept])


class _Cells:
    """Collects decided cells, column by column."""

    def __init__(self) -> None:
        self._rows: dict[str, list[tuple[Array, ...]]] = {}

    def add(self, name: str, mask: Array, ids: Array, column: str, *values: Array) -> None:
        if mask.any():
            names = np.full(int(mask.sum()), column, dtype=object)
            picked = tuple(array[mask] for array in values)
            self._rows.setdefault(name, []).append((ids[mask], names, *picked))

    def frame(self, name: str, columns: list[str] = CELL_COLUMNS) -> pd.DataFrame:
        rows = self._rows.get(name, [])
        data = {
            column: np.concatenate([row[i] for row in rows]) if rows else object_array([])
            for i, column in enumerate(columns)
        }
        return pd.DataFrame(data, dtype=object)

    def conflicts(self) -> pd.DataFrame:
        return self.frame("conflicts", CONFLICT_COLUMNS)


def _decide(
    mapped: MappedField, ids: Array, base: Array, there: Array, here: Array, cells: _Cells
) -> None:
    """One field over all leads. Of equal arrays, none: each cell falls into exactly one case."""
    apart, remote_edited = _differs(there, here), _differs(there, base)
    if not (apart.any() or remote_edited.any()):
        return  # the case of most fields in most runs
    blank = object_array([mapped.codec.blank] * len(ids))
    unknown = object_array([UNKNOWN] * len(ids))
    readable = _differs(there, unknown) & _differs(here, unknown)
    if mapped.required:
        readable = readable & _differs(there, blank)
    differ = readable & apart
    met = _differs(base, unknown)
    local_edited = _differs(here, base)

    def add(name: str, mask: Array, old: Array, new: Array) -> None:
        cells.add(name, mask, ids, mapped.column, old, new)

    def lost(mask: Array, kind: ConflictKind, winner: Array = there, loser: Array = here) -> None:
        if not mask.any():
            return
        kinds = object_array([kind.value] * len(ids))
        was = object_array(base[i] if met[i] else None for i in range(len(ids)))
        cells.add("conflicts", mask, ids, mapped.column, kinds, was, winner, loser)

    add("agreed", readable & ~differ & remote_edited, base, there)
    if mapped.both:  # nothing is to be written of a value that stands for what Airtable holds
        stands, gives_way = _without_writing(mapped.codec, differ, there, here)
        add("to_postgres", stands | gives_way, here, there)
        lost(gives_way, ConflictKind.OWNED_BY_AIRTABLE)
        differ = differ & ~stands & ~gives_way
    if mapped.fills:  # what stands in the column stays; Airtable's value is taken note of
        filled = differ & _differs(here, blank)
        add("agreed", filled & remote_edited, base, there)
        add("to_postgres", differ & ~filled, here, there)
        return

    def alike(mask: Array, left: Array, right: Array) -> Array:
        """Of these cells, those in which the two differ in form alone."""
        found, normal = np.zeros(len(ids), dtype=bool), mapped.codec.normal
        for i in np.flatnonzero(mask):
            found[i] = normal(left[i]) == normal(right[i])
        return found

    # First contact: no baseline says who edited. Airtable wins, but nothing blank ever does.
    first = differ & ~met
    respelled = alike(first, there, here)
    first = first & ~respelled
    remote_blank, local_blank = alike(first, there, blank), alike(first, here, blank)
    full = first & ~remote_blank & ~local_blank
    if mapped.policy in (Policy.POSTGRES_WINS, Policy.HOLD):
        _decide_for_postgres(mapped, full, ConflictKind.FIRST_CONTACT, there, here, add, lost)
        first = first & ~full
        full = full & False
    add("to_postgres", first & ~remote_blank, here, there)
    lost(full, ConflictKind.FIRST_CONTACT)
    if mapped.both:
        add("to_airtable", first & remote_blank, there, here)
    else:
        add("held_back", first & remote_blank, here, there)

    only_remote = differ & met & remote_edited & ~local_edited
    only_local = differ & met & ~remote_edited & local_edited
    clash = differ & met & remote_edited & local_edited
    if mapped.policy is Policy.MERGE_APPENDS:
        clash = clash & ~_merge_appends(mapped.codec, clash, base, there, here, add)
    respelled = respelled | alike(clash, there, here)
    only_local = only_local | alike(clash & ~respelled, there, base)
    only_remote = only_remote | alike(clash & ~respelled & ~only_local, here, base)
    clash = clash & ~(respelled | only_local | only_remote)
    add("to_postgres", only_remote | respelled, here, there)
    if mapped.both:
        add("to_airtable", only_local, there, here)
    else:
        add("to_postgres", only_local, here, there)
        lost(only_local, ConflictKind.OWNED_BY_AIRTABLE)
    if mapped.policy in (Policy.POSTGRES_WINS, Policy.HOLD):
        _decide_for_postgres(mapped, clash, ConflictKind.BOTH_EDITED, there, here, add, lost)
        return
    add("to_postgres", clash, here, there)
    lost(clash, ConflictKind.BOTH_EDITED)


def _without_writing(codec: Codec, differ: Array, there: Array, here: Array) -> tuple[Array, Array]:
    """Cells in which Airtable holds what would be written in the value's place, and those in which
    it holds what that is never written over.
    """
    stands, gives_way = np.zeros(len(differ), dtype=bool), np.zeros(len(differ), dtype=bool)
    for i in np.flatnonzero(differ):
        arrives = codec.arrives(here[i])
        if arrives != here[i]:
            stands[i] = codec.normal(arrives) == codec.normal(there[i])
            gives_way[i] = not stands[i] and codec.gives_way(here[i], there[i])
    return stands, gives_way


def _decide_for_postgres(
    mapped: MappedField,
    clash: Array,
    kind: ConflictKind,
    there: Array,
    here: Array,
    add: Any,
    lost: Any,
) -> None:
    """Clashes in which Airtable's value does not simply stand."""
    if mapped.policy is Policy.HOLD:
        add("held", clash, there, here)
        return
    add("to_airtable", clash, there, here)
    lost(clash, kind, here, there)


def _differs(left: Array, right: Array) -> Array:
    """Element-wise inequality of two object arrays, as booleans."""
    return np.asarray(left != right, dtype=bool)


def _merge_appends(
    codec: Codec, clash: Array, base: Array, there: Array, here: Array, add: Any
) -> Array:
    """Decide the clashes in which the portal only appended. Returns the mask of these."""
    merged = there.copy()
    done = np.zeros(len(clash), dtype=bool)
    for i in np.flatnonzero(clash):
        text = append(base[i], there[i], here[i], codec.normal)
        if text is not None:
            merged[i], done[i] = text, True
    add("to_postgres", done & _differs(merged, here), here, merged)
    add("to_airtable", done & _differs(merged, there), there, merged)
    return done
