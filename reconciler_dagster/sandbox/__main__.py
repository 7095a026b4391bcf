"""`python -m reconciler_dagster.sandbox` is `reconciler sandbox`."""

from reconciler_dagster.sandbox.command import sandbox

if __name__ == "__main__":
    sandbox()
