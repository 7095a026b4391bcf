"""A two-way reconciler between Airtable bases and a Postgres lead portal, run by Dagster."""
