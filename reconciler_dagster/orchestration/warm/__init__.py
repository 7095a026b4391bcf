"""Warm runs: a small process that has everything imported, and forks one process a run.

`parent` is that process, `child` what a forked one does, `client` what a launcher calls, and
`protocol` what they say to each other.
"""
