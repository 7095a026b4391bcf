"""Whether a role of this host is well. Cheap enough to be asked every half minute: no Dagster."""

from __future__ import annotations

import urllib.error
import urllib.request

import psycopg
from sqlalchemy import text

from reconciler_dagster.config import Settings
from reconciler_dagster.postgres.connection import engine
from reconciler_dagster.postgres.listener import doorbell
from reconciler_dagster.telling import told

# Dagster's daemons give a sign of life every 30 s, and their loops may be busy.
_DAEMON_SILENT_SECONDS = 300
_DAEMONS = ("SENSOR", "SCHEDULER", "QUEUED_RUN_COORDINATOR", "MONITORING")
_ANSWER_WITHIN_SECONDS = 8

# Loopback never goes through a proxy of the environment.
_http = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Unwell(Exception):
    """A role does not do its work; the message says which sign is missing."""


def web(port: int, path: str) -> None:
    """A page of this host answers."""
    try:
        with _http.open(f"http://127.0.0.1:{port}{path}", timeout=_ANSWER_WITHIN_SECONDS):
            return
    except urllib.error.HTTPError as error:
        raise Unwell(f"{path} answers {error.code}") from None
    except OSError as error:
        reason = getattr(error, "reason", None)  # urllib wraps it
        why = told(reason if isinstance(reason, OSError) else error)
        raise Unwell(f"{path} does not answer: {why}") from None


def code_server(port: int) -> None:
    """Dagster's gRPC server says that it serves."""
    import grpc
    from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
    from grpc_health.v1.health_pb2_grpc import HealthStub

    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            asked = HealthCheckRequest(service="DagsterApi")
            answer = HealthStub(channel).Check(asked, timeout=_ANSWER_WITHIN_SECONDS)
        except grpc.RpcError as error:
            raise Unwell(f"the code server does not answer ({error.code().name})") from None
    if answer.status != HealthCheckResponse.SERVING:
        raise Unwell("the code server does not serve")


def daemon() -> None:
    """Each of Dagster's daemons has given a sign of life lately."""
    url = Settings.load().dagster_postgres_url
    if url is None:
        raise Unwell("DAGSTER_POSTGRES_URL is not set: no sign of life can be seen")
    try:
        with psycopg.connect(url.get_secret_value(), connect_timeout=5) as connection:
            found = connection.execute(
                "SELECT daemon_type FROM daemon_heartbeats WHERE "
                "extract(epoch FROM now()) - CAST(body::json ->> 'timestamp' AS float8) < %s",
                [_DAEMON_SILENT_SECONDS],
            ).fetchall()
    except psycopg.Error as error:
        raise Unwell(f"Dagster's storage: {told(error)}") from None
    silent = {*_DAEMONS} - {row[0] for row in found}
    if silent:
        raise Unwell(f"no sign of life for {_DAEMON_SILENT_SECONDS} s: {', '.join(sorted(silent))}")


def worker(name: str) -> None:
    """A worker answers through the broker."""
    from celery import Celery

    redis = Settings.load().redis_url
    app = Celery(broker=redis.get_secret_value() if redis else None)
    try:
        with app.connection_for_write(connect_timeout=3) as connection:
            connection.ensure_connection(max_retries=1)
            answers = app.control.ping(
                destination=[name], timeout=_ANSWER_WITHIN_SECONDS / 2, connection=connection
            )
    except Exception as error:  # of the broker's client, which has many kinds
        raise Unwell(f"the broker does not answer ({type(error).__name__})") from None
    if not answers:
        raise Unwell(f"the worker {name} does not answer")


def listener() -> None:
    """The listener has given a sign of life lately."""
    with engine(Settings.load().require_database_url()).connect() as connection:
        connection.execute(text("SELECT 1"))
        found = doorbell(connection)
    if found.word in ("off", "silent"):
        raise Unwell(found.sentence)
