"""The portal's Postgres and the engine's own schema in it."""
