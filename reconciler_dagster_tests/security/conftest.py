from reconciler_dagster_tests.engine.conftest import acme

__all__ = ["acme"]
