"""Write docs/reference/ from the code; `make reference`. A test holds the pages against it.

What the commands print with `--json` is another page, written by the test that runs them.
"""

from __future__ import annotations

import re
import sys
import tempfile
import types
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import click
from pydantic import SecretStr
from reference_words import BESIDE, EXIT_CODES, GROUPS, SETTINGS
from sqlalchemy import text

from reconciler_dagster.cli.group import COMMANDS, main
from reconciler_dagster.config import FromEnvironment, Settings
from reconciler_dagster.metrics.names import METRICS
from reconciler_dagster.notices.kinds import KINDS
from reconciler_dagster.notices.settings import NoticeSettings
from reconciler_dagster.portal.settings import PortalSettings
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.migrate import upgrade
from reconciler_dagster.sandbox.postgres import PostgresServer
from reconciler_dagster.syncs.definition import SyncDefinition

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "reference"
HEAD = "<!-- Written by `make reference` from the code: change it there. -->\n\n"
_TYPES = {str: "text", int: "whole number", float: "number", bool: "true or false"}


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A table in Markdown."""
    lines = ["| " + " | ".join(head) + " |"]
    lines.append("|" + "---|" * (lines[0].count("|") - 1))
    for row in rows:
        cells = (" ".join(str(cell).split()).replace("|", "\\|") for cell in row)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


# Settings


def _kind(annotation: Any) -> str:
    if get_origin(annotation) in (Union, types.UnionType):
        (annotation,) = (one for one in get_args(annotation) if one is not type(None))
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{word}`" for word in get_args(annotation))
    return "secret" if annotation is SecretStr else _TYPES[annotation]


def _explained() -> dict[str, str]:
    """By variable, the comment above it in .env.example."""
    text = (ROOT / ".env.example").read_text()
    found = re.findall(r"((?:^#.*\n)+)^(\w+)=", text, re.MULTILINE)
    return {name: said.replace("# ", "").strip() for said, name in found}


def _rows(kind: type[FromEnvironment]) -> list[tuple[str, str, str, str]]:
    says = _explained() | _docstrings(kind) | SETTINGS
    rows = []
    for name, field in kind.model_fields.items():
        variable = f"{kind.prefix}{field.alias or name}".upper()
        bounds = [
            f"{word} {bound}"
            for word, key in (("from", "ge"), ("above", "gt"), ("to", "le"), ("below", "lt"))
            if (bound := next((getattr(m, key) for m in field.metadata if hasattr(m, key)), None))
            is not None
        ]
        expected = " ".join([_kind(field.annotation), *bounds])
        default = "" if field.default is None else f"`{field.default}`"
        rows.append((f"`{variable}`", expected, default, says[variable]))
    return rows


def _docstrings(kind: type[FromEnvironment]) -> dict[str, str]:
    """What stands below a setting in the source, by variable."""
    source = Path(sys.modules[kind.__module__].__file__ or "").read_text()
    found = re.findall(r'^    (\w+): .*\n    """(.*?)"""', source, re.MULTILINE)
    return {f"{kind.prefix}{name}".upper(): said for name, said in found}


def settings() -> str:
    head = ("variable", "expected", "unless set", "")
    says = _explained() | SETTINGS
    others = [(f"`{name}`", *of, says[name]) for name, of in BESIDE.items()]
    parts = [
        "# Settings\n\nRead from the environment, and from a file `.env` in the folder where a "
        "command is started. An empty value counts as not set.",
        "## The engine\n\n" + table(head, _rows(Settings)),
        "## Where it runs\n\n" + table(head, others),
        "## Notices\n\n[notices.md](../notices.md) explains them.\n\n"
        + table(head, _rows(NoticeSettings)),
        "## The portal\n\n[portal.md](../portal.md) explains them.\n\n"
        + table(head, _rows(PortalSettings)),
    ]
    return HEAD + "\n\n".join(part.rstrip() for part in parts) + "\n"


# Commands


def _help(command: click.Command) -> str:
    paragraphs = re.split(r"\n\s*\n", (command.help or "").strip())
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _command(name: str, command: click.Command) -> str:
    with click.Context(command, info_name=f"reconciler {name}") as context:
        usage = " ".join(command.collect_usage_pieces(context))
        options = [one.get_help_record(context) for one in command.params]
    told = f"## {name}\n\n    reconciler {name} {usage}\n\n{_help(command)}\n"
    rows = [(f"`{left}`", right) for left, right in filter(None, options)]
    if rows:
        told += "\n" + table(("option", ""), rows)
    if isinstance(command, click.Group):
        parts = (_command(f"{name} {sub}", one) for sub, one in sorted(command.commands.items()))
        told += "\n" + "\n".join(parts)
    return told


def commands() -> str:
    with click.Context(main) as context:
        found = [(name, main.get_command(context, name)) for name in COMMANDS]
    told = [_command(name, command) for name, command in found if command is not None]
    return (
        f"{HEAD}# Commands\n\n`--json` prints one JSON object on stdout, and remarks on stderr: "
        "[json.md](json.md) shows each.\n\n## Exit codes\n\n"
        + table(("exit code", "means"), EXIT_CODES)
        + "\n"
        + "\n".join(told)
    )


# Checks, tables, definitions, metrics, notices


def checks() -> str:
    from reconciler_dagster.definitions import defs

    made = [*(defs.asset_checks or ()), *(defs.assets or ())]
    specs = [spec for one in made for spec in getattr(one, "check_specs", ())]
    rows = [
        (
            f"`{spec.name}`",
            f"`{spec.asset_key.to_user_string()}`",
            "yes" if spec.blocking else "",
            spec.description or "",
        )
        for spec in sorted(specs, key=lambda spec: (spec.asset_key, spec.name))
    ]
    return (
        f"{HEAD}# Asset checks\n\nEach says what holds while it is green. "
        "[trouble.md](../trouble.md) "
        "says what to do about a red one; one that blocks stops the write.\n\n"
        + table(("check", "asset", "blocks", "green while"), rows)
    )


def tables(url: str) -> str:
    """Of a migrated database."""
    query = (
        "SELECT table_name::text, string_agg('`' || column_name || '` ' || CASE data_type "
        "WHEN 'timestamp with time zone' THEN 'timestamptz' WHEN 'ARRAY' THEN substr(udt_name, 2) "
        "|| '[]' ELSE data_type END, ', ' ORDER BY ordinal_position) "
        "FROM information_schema.columns WHERE table_schema = 'reconciler' GROUP BY 1"
    )
    own = engine(url)
    with own.connect() as connection:
        columns = {str(row[0]): str(row[1]) for row in connection.execute(text(query))}
    own.dispose()
    named = {name for group in GROUPS.values() for name in group}
    if named != columns.keys():
        sys.exit(
            f"scripts/reference_words.py: add {sorted(columns.keys() - named)}, "
            f"take away {sorted(named - columns.keys())}."
        )
    parts = [
        f"{HEAD}# Tables of the engine\n\nAll in the schema `reconciler` of the portal's database. "
        "Write to `manual_sync_request` alone; the others are the engine's. `reconciler status "
        "--storage` says how large each is and how long its rows are kept.\n"
    ]
    for title, group in GROUPS.items():
        rows = [(f"`{name}`", why, columns[name]) for name, why in group.items()]
        parts.append(f"## {title}\n\n{table(('table', 'what it holds', 'columns'), rows)}")
    return "\n".join(parts)


def definitions() -> str:
    schema = SyncDefinition.model_json_schema()
    parts = [
        f"{HEAD}# Sync definitions\n\nOne YAML file a sync. `reconciler map schema` prints the "
        "JSON schema, by which an editor completes them; "
        "[a-second-domain.md](../a-second-domain.md) is an example.\n"
    ]
    for title, one in (("A definition", schema), *schema["$defs"].items()):
        if not (properties := one.get("properties")):
            continue
        needed = one.get("required", ())
        rows = [
            (
                f"`{key}`" + (" (needed)" if key in needed else ""),
                _shape(of),
                f"`{of['default']}`" if of.get("default") not in (None, [], {}) else "",
                of.get("description", ""),
            )
            for key, of in properties.items()
        ]
        said = " ".join(one.get("description", "").split())
        told = table(("key", "expected", "unless given", ""), rows)
        parts.append(f"## {title.strip('_')}\n\n{said}\n\n{told}")
    return "\n".join(parts)


def _shape(of: Mapping[str, Any]) -> str:
    if "$ref" in of:
        name = of["$ref"].rpartition("/")[2]
        return f"[{name.strip('_')}](#{name.strip('_').lower()})"
    if "anyOf" in of:
        return " or ".join(_shape(one) for one in of["anyOf"])
    if "enum" in of:
        return ", ".join(f"`{word}`" for word in of["enum"])
    if of.get("type") == "array":
        return f"list of {_shape(of['items'])}"
    if of.get("type") == "object":
        inner = of.get("additionalProperties")
        return f"by name, {_shape(inner)}" if isinstance(inner, dict) else "keys and values"
    return str(of.get("type", "anything")).replace("string", "text")


def metrics() -> str:
    rows = [
        (f"`{one.series}`", one.kind, ", ".join(one.labels), one.help)
        for one in sorted(METRICS, key=lambda one: one.name)
    ]
    return (
        f"{HEAD}# Metrics\n\nThe portal's `/metrics`; [notices.md](../notices.md#metrics) says who "
        "may read it.\n\n" + table(("series", "kind", "labels", ""), rows)
    )


def notices() -> str:
    rows = [
        (f"`{one.name}`", one.severity.name.lower(), f"{one.happened}.", one.todo)
        for one in sorted(KINDS.values(), key=lambda one: (-one.severity, one.name))
    ]
    return (
        f"{HEAD}# Notices\n\n[notices.md](../notices.md) says when each is sent, and to whom.\n\n"
        + table(("kind", "severity", "what happened", "what to do"), rows)
    )


PAGES = {
    "settings.md": settings,
    "commands.md": commands,
    "checks.md": checks,
    "definitions.md": definitions,
    "metrics.md": metrics,
    "notices.md": notices,
}


def write() -> None:
    """All pages. Starts a Postgres of its own for the tables."""
    FOLDER.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page())
    with tempfile.TemporaryDirectory(prefix="reference-") as folder:
        server = PostgresServer(Path(folder), durable=False)
        server.start()
        url = server.create_database("reference")
        own = engine(url)
        upgrade(own)
        own.dispose()
        (FOLDER / "tables.md").write_text(tables(url))
        server.stop()


if __name__ == "__main__":
    write()
