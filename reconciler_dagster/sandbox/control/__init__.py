"""What Airtable does not have: the control API under `/sandbox/api` and the grid page."""
