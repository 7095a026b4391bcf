"""Bases in memory: schema, records with indices, cell rules, computed cells, transactions."""
