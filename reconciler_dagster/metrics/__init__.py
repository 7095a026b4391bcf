"""Metrics: their names in one place, and what is made of them: exposition, dashboard, alerts."""
