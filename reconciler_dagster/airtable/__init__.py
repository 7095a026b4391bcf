"""Airtable over pyairtable: transport, call budget, metadata, pull and push."""
