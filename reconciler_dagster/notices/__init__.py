"""Somebody is told: what is wrong now, which notices that makes, and the ways they leave by."""
