"""What Postgres means when it refuses: a row, or something that says nothing about one."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError

# What says nothing about a row. Classes of SQLSTATE: connection, transaction, deadlock, privileges,
# syntax, resources, operator, system, internal (PostgreSQL's appendix A); of limits, all but the
# one that a long text in an index goes beyond; and a lock that was not to be had.
NOT_THE_DATA = (
    *("08", "25", "26", "28", "40", "42", "53", "57", "58", "F0", "XX"),
    *("54001", "54011", "54023", "55P03"),
)


def sqlstate(error: DBAPIError) -> str:
    """Postgres' code for what went wrong; empty where it comes from the driver."""
    return str(getattr(error.orig, "sqlstate", None) or "")


def is_of_the_data(error: DBAPIError) -> bool:
    """Whether Postgres refuses a row, and not the connection, the statement or the role."""
    state = sqlstate(error)
    return bool(state) and state not in NOT_THE_DATA and state[:2] not in NOT_THE_DATA
