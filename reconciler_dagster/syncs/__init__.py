"""Sync definitions: which Airtable table and which Postgres table are the same thing, as data."""
