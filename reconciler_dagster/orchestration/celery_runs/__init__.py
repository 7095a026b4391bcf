"""Runs as tasks of Celery: dagster-celery's launcher, and workers that have everything imported."""
