"""Pull, diff and push: what the Dagster ops and the command line both run."""
