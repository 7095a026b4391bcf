"""The way of a request: what the kernel tells is held against a wire whose delay is known."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from requests.adapters import HTTPAdapter

from reconciler_dagster.airtable.wire import Journey, Trip, delay_between, time_requests, trip


@contextmanager
def thinking(think: Callable[[], object]) -> Iterator[str]:
    """A server that is near, and thinks before each answer."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            think()
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def session() -> tuple[requests.Session, Journey]:
    adapter, journey = HTTPAdapter(), Journey()
    time_requests(adapter, journey)
    made = requests.Session()
    made.trust_env = False
    made.mount("http://", adapter)
    return made, journey


@pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="the system does not tell")
def test_what_the_server_thinks_is_no_way() -> None:
    own, journey = session()
    with thinking(partial(time.sleep, 0.3)) as url:
        for _ in range(3):
            own.get(url)
            assert journey.delay is not None
            assert journey.delay < 0.2, "thinking was taken for the way"


def test_when_a_request_has_left_is_told_while_the_answer_is_on_its_way() -> None:
    left, heard = Event(), []

    def think() -> None:
        heard.append(left.wait(60))

    own, journey = session()
    journey.has_left = left.set
    with thinking(think) as url:
        before = time.monotonic()
        own.get(url)
    assert heard == [True]
    assert before <= journey.left <= time.monotonic()


def test_through_a_proxy_the_way_is_not_known() -> None:
    own, journey = session()
    with thinking(lambda: None) as proxy:
        own.get("http://far.example/", proxies={"http": proxy})
    assert journey.delay is None


def test_what_is_no_tcp_connection_tells_nothing() -> None:
    one, other = socket.socketpair()
    assert trip(one) is None
    one.close()
    other.close()


def test_a_retransmission_hides_the_way() -> None:
    assert delay_between(Trip(0.03, 0.0, 0.03, 0), Trip(0.03, 0.0, 0.03, 1)) is None
    assert delay_between(None, Trip(0.03, 0.0, 0.03, 0)) is None


@given(st.floats(0.0001, 2), st.floats(0, 2), st.floats(0.0001, 2))
def test_one_measurement_is_read_off_the_averages(rtt: float, late: float, least: float) -> None:
    """As RFC 6298 has it: an eighth of the new round trip, a quarter of its deviation."""
    least = min(rtt, least)
    measured = least + late
    deviation = abs(measured - rtt) / 4
    after = Trip(rtt + (measured - rtt) / 8, deviation, least, 0)
    found = delay_between(Trip(rtt, 0.0, least, 0), after)
    assert found == pytest.approx(late, abs=1e-6)
