"""The functions of the formula language, one module a subject."""

from reconciler_dagster.sandbox.formulas.functions import arrays, dates, logic, numbers, text
from reconciler_dagster.sandbox.formulas.functions.registry import FUNCTIONS, Function

__all__ = ["FUNCTIONS", "Function", "arrays", "dates", "logic", "numbers", "text"]
