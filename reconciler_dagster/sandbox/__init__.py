"""The Airtable sandbox: a server that answers the Airtable Web API over HTTP, as Airtable does.

`reconciler sandbox` starts it alone; `reconciler_dagster.sandbox.testing.running_sandbox` runs it
inside a test. It imports nothing from the rest of the project but where its pages' libraries are
(`vendor`). `docs/sandbox.md` lists the facts about Airtable that it follows; docstrings here name
them as "Airtable facts §n".
"""

DEMO_BASE_ID = "appReconcileDemo1"
"""The base that is seeded unless another is asked for."""

DEMO_TOKEN = "patSandboxDemo001.sandbox"
"""The token that is accepted unless others are given."""
