"""The Airtable Web API itself: everything under `/v0`."""
