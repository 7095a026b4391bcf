"""The portal's HTTP API and the sync console."""
