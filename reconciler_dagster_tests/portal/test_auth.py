"""Tokens: who gets in, and everybody who does not."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import SecretStr
from sqlalchemy import Engine, text

from reconciler_dagster.config import ConfigurationError, Settings
from reconciler_dagster.portal.app import create_app
from reconciler_dagster.portal.auth import User
from reconciler_dagster.portal.settings import PortalSettings
from reconciler_dagster_tests.portal.conftest import SECRET, Server
from reconciler_dagster_tests.portal.data import World
from reconciler_dagster_tests.portal.expect import ok, problem

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def claims(user: User, **changed: Any) -> dict[str, Any]:
    own = {
        "sub": str(user.id),
        "role": user.role.value,
        "client_id": str(user.client_id) if user.client_id else None,
        "exp": datetime.now(UTC) + timedelta(minutes=5),
    }
    return {name: value for name, value in {**own, **changed}.items() if value is not None}


def signed(user: User, *, key: Any = SECRET, algorithm: str = "HS256", **changed: Any) -> str:
    return jwt.encode(claims(user, **changed), key, algorithm=algorithm)


def unsigned(header: dict[str, Any], payload: dict[str, Any], signature: str = "") -> str:
    def part(content: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")

    return f"{part(header)}.{part(payload)}.{signature}"


def tampered(token: str) -> str:
    """The same token saying that its user is a SUPER_ADMIN."""
    header, payload, signature = token.split(".")
    content = json.loads(base64.urlsafe_b64decode(payload + "=="))
    content["role"] = "SUPER_ADMIN"
    new = base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")
    return f"{header}.{new}.{signature}"


BAD: dict[str, Callable[[World], str]] = {
    "forged": lambda w: signed(w.user, key="another-secret-that-is-long-enough"),
    "tampered": lambda w: tampered(signed(w.user)),
    "expired": lambda w: signed(w.user, exp=datetime.now(UTC) - timedelta(seconds=1)),
    "not yet valid": lambda w: signed(w.user, nbf=datetime.now(UTC) + timedelta(hours=1)),
    "never expires": lambda w: signed(w.user, exp=None),
    "alg none": lambda w: jwt.encode(claims(w.user), None, algorithm="none"),
    "alg None": lambda w: unsigned({"alg": "None", "typ": "JWT"}, {**claims(w.user), "exp": 2**33}),
    "stronger alg": lambda w: signed(w.user, algorithm="HS512"),
    "no keys for alg": lambda w: signed(w.user, key=KEY, algorithm="RS256"),
    "alg is a list": lambda w: unsigned({"alg": ["HS256"]}, {}, "AA"),
    "deeply nested": lambda w: (
        base64.urlsafe_b64encode(b'{"alg":' + b"[" * 5000).decode().rstrip("=") + ".e30.AA"
    ),
    "no subject": lambda w: signed(w.user, sub=None),
    "no role": lambda w: signed(w.user, role=None),
    "no client": lambda w: signed(w.user, client_id=None),
    "unknown role": lambda w: signed(w.user, role="ROOT"),
    "unknown user": lambda w: signed(w.user, sub=str(uuid4())),
    "subject no uuid": lambda w: signed(w.user, sub="robert"),
    "more than its user": lambda w: signed(w.user, role="CLIENT_ADMIN"),
    "another's client": lambda w: signed(w.user, client_id=str(w.other_client)),
    "client no uuid": lambda w: signed(w.user, client_id=7),
    "for another audience": lambda w: signed(w.user, aud="elsewhere"),
    "no token": lambda w: "!",
    "empty parts": lambda w: "..",
}


@pytest.mark.parametrize("why", BAD)
def test_a_bad_token_is_401(server: Server, world: World, why: str) -> None:
    client = server.client({"Authorization": f"Bearer {BAD[why](world)}"})
    document = problem(client.get("/api/leads"), 401)
    assert document["type"] == "urn:reconciler:problem:token"
    refused = client.post(f"/api/leads/{world.leads[0]}/claim")
    assert "error=" in refused.headers["www-authenticate"]
    problem(refused, 401)


def test_a_good_token_is_let_in(server: Server, world: World) -> None:
    for user in (world.root, world.admin, world.user):
        ok(server.client({"Authorization": f"Bearer {signed(user)}"}).get("/api/leads"))


@pytest.mark.parametrize("header", [None, "Basic YTpi", "Bearer"])
def test_without_a_token_it_is_401(server: Server, world: World, header: str | None) -> None:
    client = server.client({"Authorization": header} if header else {})
    for method, path in [
        ("GET", "/api/leads"),
        ("GET", f"/api/leads/{world.leads[0]}"),
        ("POST", f"/api/leads/{world.leads[0]}/claim"),
        ("POST", f"/api/leads/{world.leads[0]}/unclaim"),
        ("POST", f"/api/leads/{world.leads[0]}/remove-from-campaign"),
        ("GET", f"/api/leads/{world.leads[0]}/notes"),
        ("POST", f"/api/leads/{world.leads[0]}/notes"),
        ("POST", "/api/admin/sync/delta"),
        ("GET", "/api/admin/sync/delta/1"),
        ("GET", "/api/admin/sync/status"),
    ]:
        response = client.request(method, path, json={} if method == "POST" else None)
        problem(response, 401)
        assert response.headers["www-authenticate"] == "Bearer"


def test_the_api_takes_no_cookie(server: Server, world: World) -> None:
    client = server.client({"Cookie": f"portal_session={server.token(world.admin)}"})
    problem(client.get("/api/leads"), 401)


@pytest.mark.parametrize(
    "change",
    [
        "is_active = false",
        "role = 'CLIENT_ADMIN'",
        "role = 'INTERN'",
        "client_id = (SELECT id FROM clients WHERE company_name LIKE 'Tail%')",
    ],
)
def test_a_token_ends_with_what_it_says(
    server: Server, world: World, db: Engine, change: str
) -> None:
    client = server.as_user(world.user)
    ok(client.get("/api/leads"))
    with db.begin() as connection:
        statement = f"UPDATE users SET {change} WHERE id = :id"  # noqa: S608
        connection.execute(text(statement), {"id": world.user.id})
    problem(client.get("/api/leads"), 401)


@contextmanager
def key_server(keys: dict[str, rsa.RSAPrivateKey], asked: list[str] | None = None) -> Iterator[str]:
    """An identity provider's JWKS address, and who asked for it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if asked is not None:
                asked.append(self.path)
            listed = [
                {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())), "kid": kid}
                for kid, key in keys.items()
            ]
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"keys": listed}).encode())

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as provider:
        threading.Thread(target=provider.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{provider.server_port}/jwks.json"
        provider.shutdown()


def with_kid(user: User, key: Any, kid: str, algorithm: str = "RS256", **changed: Any) -> str:
    return jwt.encode(claims(user, **changed), key, algorithm=algorithm, headers={"kid": kid})


def test_rs256_by_a_jwks_address(serve: Callable[..., Server], world: World) -> None:
    with key_server({"a": KEY}) as address:
        server = serve(jwks_url=address)

        def status(token: str) -> int:
            client = server.client({"Authorization": f"Bearer {token}"})
            return client.get("/api/leads").status_code

        public = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        confused = unsigned({"alg": "HS256", "kid": "a"}, {**claims(world.user), "exp": 2**33})
        assert status(with_kid(world.user, KEY, "a")) == 200
        assert status(with_kid(world.user, OTHER_KEY, "a")) == 401
        assert status(with_kid(world.user, OTHER_KEY, "b")) == 401
        assert status(signed(world.user, key=KEY, algorithm="RS256")) == 401
        # The public key is known to everyone: it must never serve as an HS256 secret.
        head, _, _ = confused.rpartition(".")
        algorithm = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
        signature = base64.urlsafe_b64encode(algorithm.sign(head.encode(), public)).decode()
        assert status(f"{head}.{signature.rstrip('=')}") == 401
        # Both ways in are open when both are set.
        assert status(signed(world.user)) == 200


def test_a_new_key_is_fetched_and_made_up_ones_are_not(
    serve: Callable[..., Server], world: World
) -> None:
    keys, asked = {"a": KEY}, list[str]()
    with key_server(keys, asked) as address:
        server = serve(jwks_url=address)

        def status(key: rsa.RSAPrivateKey, kid: str) -> int:
            token = with_kid(world.user, key, kid)
            return server.client({"Authorization": f"Bearer {token}"}).get("/api/leads").status_code

        assert status(KEY, "a") == 200
        keys["b"] = OTHER_KEY
        assert status(OTHER_KEY, "b") == 200
        assert status(KEY, "b") == 401
        before = len(asked)
        assert {status(OTHER_KEY, f"made-up-{number}") for number in range(5)} == {401}
        assert len(asked) <= before + 1


def test_rs256_alone_takes_no_secret(
    serve: Callable[..., Server], settings: Settings, world: World
) -> None:
    with key_server({"a": KEY}) as address:
        server = serve(settings.model_copy(update={"portal_jwt_secret": None}), jwks_url=address)
        client = server.client({"Authorization": f"Bearer {signed(world.user)}"})
        problem(client.get("/api/leads"), 401)
        client = server.client({"Authorization": f"Bearer {with_kid(world.user, KEY, 'a')}"})
        ok(client.get("/api/leads"))


def test_issuer_and_audience(serve: Callable[..., Server], world: World) -> None:
    server = serve(jwt_issuer="https://id.test", jwt_audience="portal")

    def status(**changed: Any) -> int:
        client = server.client({"Authorization": f"Bearer {signed(world.user, **changed)}"})
        return client.get("/api/leads").status_code

    assert status(iss="https://id.test", aud="portal") == 200
    assert status(iss="https://id.test") == 401
    assert status(aud="portal") == 401
    assert status(iss="https://other.test", aud="portal") == 401
    assert status(iss="https://id.test", aud="other") == 401
    # The demo's own tokens carry them as well.
    ok(server.as_user(world.user).get("/api/leads"))


def test_key_server_that_is_down_is_503(serve: Callable[..., Server], world: World) -> None:
    with key_server({"a": KEY}) as address:
        pass
    server = serve(jwks_url=address)
    client = server.client({"Authorization": f"Bearer {with_kid(world.user, KEY, 'a')}"})
    problem(client.get("/api/leads"), 503)


def test_there_is_no_default_secret(settings: Settings) -> None:
    bare = settings.model_copy(update={"portal_jwt_secret": None})
    with pytest.raises(ConfigurationError, match="PORTAL_JWT_SECRET"):
        create_app(bare, PortalSettings())
    with pytest.raises(ConfigurationError, match="PORTAL_JWT_SECRET"):
        create_app(bare, PortalSettings(demo=True))


def test_a_short_secret_is_refused_and_not_shown(settings: Settings) -> None:
    short = settings.model_copy(update={"portal_jwt_secret": SecretStr("hunter2")})
    with pytest.raises(ConfigurationError, match="32 bytes") as caught:
        create_app(short, PortalSettings())
    assert "hunter2" not in str(caught.value)


def test_a_malformed_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTAL_RATE_LIMIT_PER_MINUTE", "many")
    with pytest.raises(ConfigurationError, match="PORTAL_RATE_LIMIT_PER_MINUTE"):
        PortalSettings.load()
