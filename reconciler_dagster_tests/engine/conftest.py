from collections.abc import Iterator

import pytest

from reconciler_dagster_tests.world import World, world


@pytest.fixture
def acme(portal_db: str) -> Iterator[World]:
    """A client whose two sides agree."""
    with world(portal_db) as here:
        here.sync()
        yield here
