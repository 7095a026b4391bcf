"""Everything Dagster: assets, ops, jobs, schedules, sensors, checks, resources."""
