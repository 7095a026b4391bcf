"""Which syncs are in force: the definitions that the settings choose, read anew when a file moves.

So what a person changes in a definition is in force with the next run, without a restart.
"""

from __future__ import annotations

from pathlib import Path

from reconciler_dagster.config import ConfigurationError, Settings
from reconciler_dagster.core.sync import MAIN, SyncMap
from reconciler_dagster.syncs.definition import SyncDefinition
from reconciler_dagster.syncs.reading import SHIPPED, SUFFIXES, in_order, read_folder
from reconciler_dagster.syncs.resolve import resolve

# What runs where nothing is set: the portal's own table.
DEFAULT = (MAIN,)

_Stamp = tuple[tuple[str, int, int], ...]
_READ: dict[Path, tuple[_Stamp, dict[str, SyncDefinition]]] = {}


def definitions(settings: Settings) -> dict[str, SyncDefinition]:
    """The chosen definitions, parents before children. Raises DefinitionError, and
    ConfigurationError where a chosen sync is not defined.

    A folder of one's own replaces the shipped definitions; where syncs are chosen by name it comes
    before them.
    """
    own = _read(Path(settings.syncs_folder)) if settings.syncs_folder else {}
    chosen = settings.chosen_syncs
    if own and chosen is None:
        return in_order({name: one.within(own) for name, one in own.items()})
    known = _read(SHIPPED) | own
    names = chosen or DEFAULT
    if missing := [name for name in names if name not in known]:
        raise ConfigurationError(
            f"RECONCILER_SYNCS names {', '.join(missing)}, which is not defined: choose from "
            f"{', '.join(sorted(known))}."
        )
    return in_order({name: known[name].within(names) for name in names})


def maps(settings: Settings, base_id: str | None = None) -> dict[str, SyncMap]:
    """The chosen syncs as they are in force for one base, parents before children; for no base, as
    the definitions have them.
    """
    resolved = {name: resolve(own, base_id) for name, own in definitions(settings).items()}
    tables = {name: own.table for name, own in resolved.items()}
    return {
        name: _renamed(settings, own.linking(tables).among(resolved))
        for name, own in resolved.items()
    }


def titles(settings: Settings) -> dict[str, tuple[str, ...]]:
    """Of each of the chosen syncs the columns by which people know a row."""
    return {name: own.titles for name, own in definitions(settings).items()}


def leads(settings: Settings, base_id: str | None = None) -> SyncMap:
    """The portal's leads, which its API and its pages are about."""
    return maps(settings, base_id)[MAIN]


def mapped_columns(settings: Settings) -> set[str]:
    """Every column that a field of some base feeds."""
    return {
        column
        for own in definitions(settings).values()
        for base_id in (None, *own.clients)
        for column in resolve(own, base_id).fields.columns
    }


def _renamed(settings: Settings, own: SyncMap) -> SyncMap:
    """AIRTABLE_LEADS_TABLE is older than definitions, and still holds."""
    table = settings.airtable_leads_table
    return own if own.name != MAIN or table is None else own.found_in(table)


def _read(folder: Path) -> dict[str, SyncDefinition]:
    stamp = _stamp(folder)
    known = _READ.get(folder)
    if known is None or known[0] != stamp:
        known = _READ[folder] = stamp, read_folder(folder)
    return known[1]


def _stamp(folder: Path) -> _Stamp:
    """Changes with every file."""
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)
        return tuple((p.name, p.stat().st_mtime_ns, p.stat().st_size) for p in files)
    except OSError:
        return ()
