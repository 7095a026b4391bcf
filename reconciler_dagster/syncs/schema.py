"""The JSON schema of a definition, as editors use it."""

from __future__ import annotations

import json
from pathlib import Path

from reconciler_dagster.syncs.definition import SyncDefinition

FILE = Path(__file__).parent / "sync.schema.json"


def json_schema() -> str:
    """The text of the file."""
    schema = SyncDefinition.model_json_schema()
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
