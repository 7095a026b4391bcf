"""Defining fields: formulas are kept with field ids, so that a rename does not break them."""

from reconciler_dagster.sandbox.formulas.compiler import compile_formula
from reconciler_dagster.sandbox.formulas.syntax import (
    InvalidFormula,
    parse,
    references,
    rewrite_references,
)
from reconciler_dagster.sandbox.model.schema import Field
from reconciler_dagster.sandbox.model.table import Table


def set_formula(table: Table, field: Field, text: str) -> None:
    """Give a formula field its formula. Raises InvalidFormula."""
    node = parse(text)
    compile_formula(node, table.resolve)
    mentioned = [table.resolve(name) or name for name in references(node)]
    field.options.update(
        isValid=True,
        formula=rewrite_references(text, lambda name: table.resolve(name) or name),
        referencedFieldIds=list(dict.fromkeys(mentioned)),
    )
    field.options.setdefault("result", {"type": "singleLineText"})
    table.schema_changed()


__all__ = ["InvalidFormula", "set_formula"]
