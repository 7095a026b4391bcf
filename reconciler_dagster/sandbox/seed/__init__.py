"""Bases to begin with: a client's lead base with realistic leads, or an exported schema."""
