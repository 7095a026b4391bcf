"""The portal as users meet it: real HTTP, a real Postgres, nothing stood in for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy import Engine

from reconciler_dagster.config import Settings
from reconciler_dagster.portal.app import create_app
from reconciler_dagster.portal.auth import User
from reconciler_dagster.portal.settings import PortalSettings
from reconciler_dagster.portal.state import Portal
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster_tests.portal import data

SECRET = "of-the-tests-alone-and-long-enough-for-every-algorithm-that-is-tried"


@contextmanager
def serving(app: FastAPI, http: str = "auto") -> Iterator[str]:
    """The application on a port of its own; gives its address."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", http=http))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            thread.join(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@dataclass
class Server:
    """A served portal."""

    url: str
    app: FastAPI
    clients: list[httpx.Client] = field(default_factory=list)

    @property
    def portal(self) -> Portal:
        portal: Portal = self.app.state.portal
        return portal

    def token(self, user: User) -> str:
        return self.portal.tokens.mint(user)

    def client(self, headers: dict[str, str] | None = None) -> httpx.Client:
        self.clients.append(httpx.Client(base_url=self.url, headers=headers, timeout=60))
        return self.clients[-1]

    def as_user(self, user: User) -> httpx.Client:
        """An HTTP client that sends a user's token."""
        return self.client({"Authorization": f"Bearer {self.token(user)}"})


def signed_in(server: Server, user: User) -> httpx.Client:
    """A browser without a window that is signed in to the console."""
    client = server.client({"Origin": server.url, "Sec-Fetch-Site": "same-origin"})
    answer = client.post("/console/sign-in", data={"token": server.token(user)})
    assert answer.status_code == 303, answer.text
    return client


@pytest.fixture
def db(portal_db: str) -> Iterator[Engine]:
    own = engine(portal_db)
    yield own
    own.dispose()


@pytest.fixture
def world(db: Engine) -> data.World:
    return data.build(db)


@pytest.fixture
def settings(portal_db: str) -> Settings:
    return Settings(
        database_url=SecretStr(portal_db),
        portal_jwt_secret=SecretStr(SECRET),
        RECONCILER_DAGSTER_URL="http://dagster.test/",
    )


@pytest.fixture
def serve(settings: Settings, db: Engine) -> Iterator[Callable[..., Server]]:
    """Serve the portal with these of its settings."""
    running = []

    def start(given: Settings = settings, **own: object) -> Server:
        app = create_app(given, PortalSettings(**{"rate_limit_per_minute": 1e6, **own}))
        context = serving(app)
        server = Server(context.__enter__(), app)
        running.append((context, server))
        return server

    yield start
    for context, server in running:
        for client in server.clients:
            client.close()
        context.__exit__(None, None, None)


@pytest.fixture
def server(serve: Callable[..., Server]) -> Server:
    return serve()
