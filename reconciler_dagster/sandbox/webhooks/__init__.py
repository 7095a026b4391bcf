"""Webhooks: what they gather from commits, and the pings that tell of it (Airtable facts §10)."""
