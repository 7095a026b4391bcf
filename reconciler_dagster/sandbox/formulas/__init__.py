"""Airtable's formula language: syntax, values, functions, compilation and index bounds."""
