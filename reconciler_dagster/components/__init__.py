"""The engine as a Dagster component, for projects of other teams: `dg list components` shows it."""

from reconciler_dagster.components.reconciler import Reconciler as Reconciler
