"""Definitions from YAML: what is wrong is named with its file, its line and what was expected."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from reconciler_dagster.config import ConfigurationError
from reconciler_dagster.syncs.definition import PATTERNS, SyncDefinition

SHIPPED = Path(__file__).parent / "shipped"
SUFFIXES = (".yaml", ".yml")


class DefinitionError(ConfigurationError):
    """A sync definition that cannot be used. The message names the file, and the line if known."""


# libyaml's parser, where PyYAML has it, reads ten times as fast.
_Safe: Any = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader


class _Loader(_Safe):  # type: ignore[misc]  # either has no types
    """YAML as people mean it: `yes`, `no`, `on`, `off` and dates are words."""


_BOOL = "tag:yaml.org,2002:bool"
_Loader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] not in (_BOOL, "tag:yaml.org,2002:timestamp")]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOL, re.compile("^(?:true|false)$"), list("tf"))


def read_definition(path: Path) -> SyncDefinition:
    """One file. Raises DefinitionError."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DefinitionError(
            f"{path} cannot be read ({error.strerror}): make it a file that can be read."
        ) from None
    except UnicodeDecodeError:
        raise DefinitionError(f"{path} is no UTF-8 text: save it as UTF-8.") from None
    return parse_definition(text, path.name)


def parse_definition(text: str, name: str) -> SyncDefinition:
    """A definition's text; ``name`` stands for it in errors. Raises DefinitionError."""
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        lines = _lines(root, name)
        content = loader.construct_document(root) if root else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}, line {mark.line + 1}" if mark else name
        raise DefinitionError(f"{where}: this is no YAML ({error.problem}): correct it.") from None
    except yaml.YAMLError:
        raise DefinitionError(f"{name}: this is no YAML: correct it.") from None
    if not isinstance(content, Mapping):
        raise DefinitionError(
            f"{name}: expected a sync definition with the keys sync, airtable, postgres and fields."
        )
    try:
        return SyncDefinition.model_validate(content)
    except ValidationError as error:
        found = [_told(each, lines, name) for each in error.errors()]
        raise DefinitionError("\n".join(dict.fromkeys(found))) from None


def shipped_sources(table: str) -> dict[str, tuple[str, ...]]:
    """What the shipped definition of a table has each column from; empty where there is none."""
    found = (one for one in read_folder(SHIPPED).values() if one.postgres.table == table)
    return {column: field.source for one in found for column, field in one.fields.items()}


def read_folder(folder: Path) -> dict[str, SyncDefinition]:
    """Every definition of a folder, by the sync's name. Raises DefinitionError."""
    if not folder.is_dir():
        raise DefinitionError(
            f"{folder} is no folder: expected one with a YAML file for each sync."
        )
    found: dict[str, SyncDefinition] = {}
    files: dict[str, str] = {}
    for path in sorted(p for p in folder.iterdir() if p.suffix in SUFFIXES):
        definition = read_definition(path)
        if definition.sync in found:
            raise DefinitionError(
                f"{path.name}: the sync {definition.sync} is defined in {files[definition.sync]} "
                "already: give one of them another name."
            )
        found[definition.sync], files[definition.sync] = definition, path.name
    return found


def read_all(folder: Path | None = None) -> dict[str, SyncDefinition]:
    """The shipped definitions, or those of a folder, parents before children.

    Raises DefinitionError, also where a link points to a sync that is not there.
    """
    return in_order(read_folder(folder or SHIPPED))


def in_order(definitions: Mapping[str, SyncDefinition]) -> dict[str, SyncDefinition]:
    """Parents before children, so that a link finds its row in the same run; else by name.

    Links within one sync, and of two syncs to each other, order nothing: what is not there yet
    waits for the next step.
    """
    parents = {name: _parents(definition) for name, definition in definitions.items()}
    for name, wanted in parents.items():
        for missing in sorted(wanted - definitions.keys()):
            raise DefinitionError(
                f"The sync {name} links to '{missing}', and no sync has that name: choose from "
                f"{', '.join(sorted(definitions))}."
            )
    for name, definition in definitions.items():
        after = {one for column in definition.derived.values() for one in column.after}
        for missing in sorted(after - definitions.keys()):
            raise DefinitionError(
                f"The sync {name} derives a column after '{missing}', and no sync has that name: "
                f"choose from {', '.join(sorted(definitions))}."
            )
    ordered: dict[str, SyncDefinition] = {}
    while len(ordered) < len(definitions):
        left = sorted(definitions.keys() - ordered.keys())
        ready = [name for name in left if parents[name] - {name} <= ordered.keys()]
        for name in ready or left[:1]:
            ordered[name] = definitions[name]
    return ordered


def _parents(definition: SyncDefinition) -> set[str]:
    fields = [*definition.fields.values()]
    for base_id in definition.clients:
        fields += definition.for_base(base_id).fields.values()
    return {field.to for field in fields if field.to}


def _lines(node: yaml.Node | None, name: str) -> dict[tuple[str, ...], int]:
    """The line of each key and list item, counted from 1, by its path."""
    found: dict[tuple[str, ...], int] = {}

    def walk(node: yaml.Node, path: tuple[str, ...]) -> None:
        found.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                walk(item, (*path, str(index)))
        if not isinstance(node, yaml.MappingNode):
            return
        for key, value in node.value:
            below = (*path, str(key.value))
            if below in found:
                raise DefinitionError(
                    f"{name}, line {key.start_mark.line + 1}: '{key.value}' is here a second time, "
                    f"after line {found[below]}: remove one of them."
                )
            found[below] = key.start_mark.line + 1
            walk(value, below)

    if node is not None:
        walk(node, ())
    return found


# What pydantic says in words of programmers.
_WORDS = {
    "missing": "is missing",
    "string_type": "must be a text",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "dict_type": "must hold keys and values",
    "model_type": "must hold keys and values",
    "tuple_type": "must be a text or a list of texts",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
    "int_parsing": "must be a whole number",
    "bool_parsing": "must be true or false",
    "greater_than": "must be more than 0",
}


def _told(error: ErrorDetails, lines: Mapping[tuple[str, ...], int], name: str) -> str:
    path = tuple(str(part) for part in error["loc"] if part != "[key]")
    reason = _reason(error, path)
    if not path:  # the definition as a whole: the reason may begin with the path that it is about
        path = max(
            (known for known in lines if reason.startswith(".".join(known))), key=len, default=()
        )
        reason = reason.removeprefix(".".join(path)).lstrip(": ")
    line = next((lines[path[:n]] for n in range(len(path), -1, -1) if path[:n] in lines), 1)
    return f"{name}, line {line}: {' '.join(filter(None, ('.'.join(path), reason)))}."


def _reason(error: ErrorDetails, path: tuple[str, ...]) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        known = _known_keys(path[:-1])
        near = get_close_matches(path[-1], known, 1)
        meant = f" (did you mean '{near[0]}'?)" if near else ""
        return f"is no key here{meant}; expected one of {', '.join(known)}"
    if kind == "literal_error":
        return f"is '{error['input']}', expected {context['expected'].replace(chr(39), '')}"
    if kind == "string_pattern_mismatch":
        return f"is '{error['input']}', expected {PATTERNS[context['pattern']]}"
    if kind == "value_error":
        return str(context["error"])
    return _WORDS.get(kind, f"is wrong: {error['msg']}")


def _known_keys(path: tuple[str, ...]) -> list[str]:
    """The keys that a definition may have at a path."""
    schema = SyncDefinition.model_json_schema()
    here: Any = schema
    for part in path:
        here = _resolved(here, schema)
        by_pattern = list(here.get("patternProperties", {}).values())
        here = (
            next(
                filter(None, (here.get("properties", {}).get(part), *by_pattern)),
                here.get("additionalProperties"),
            )
            or {}
        )
    return sorted(_resolved(here, schema).get("properties", {}))


def _resolved(node: Any, schema: Mapping[str, Any]) -> Any:
    for candidate in (node, *node.get("anyOf", ())):
        if "$ref" in candidate:
            return schema["$defs"][candidate["$ref"].rpartition("/")[2]]
    return node
