"""Uneven latency: the way there, thinking with its tail, the way back."""

import asyncio
import threading
import time
from contextlib import suppress

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Message

from reconciler_dagster.sandbox import DEMO_BASE_ID, DEMO_TOKEN
from reconciler_dagster.sandbox.api.server import AirtableApi
from reconciler_dagster.sandbox.latency import NONE, Latency
from reconciler_dagster.sandbox.start import open_world
from reconciler_dagster.sandbox.switches import Switches
from reconciler_dagster.sandbox.testing import SandboxClient

from .raw import call

LEADS = f"{DEMO_BASE_ID}/Leads?maxRecords=1"
UNEVEN = {
    "way_there_ms": 30,
    "way_back_ms": 10,
    "way_jitter_ms": 20,
    "thinking_ms": 120,
    "thinking_tail_ms": 200,
}


def test_without_the_switches_nothing_takes_longer() -> None:
    assert Latency(Switches()).draw() is NONE


@given(st.integers(0, 10_000))
def test_the_seed_gives_the_delays(seed: int) -> None:
    switches = Switches(**UNEVEN, latency_seed=seed)
    one, other = Latency(switches), Latency(switches)
    drawn = [one.draw() for _ in range(20)]
    assert [other.draw() for _ in range(20)] == drawn
    for there, thinking, back in drawn:
        assert 0.030 <= there <= 0.050
        assert thinking >= 0.120
        assert 0.010 <= back <= 0.030
    assert len({thinking for _, thinking, _ in drawn}) == 20


def test_another_seed_gives_others() -> None:
    one, other = (Latency(Switches(**UNEVEN, latency_seed=seed)) for seed in (1, 2))
    assert one.draw() != other.draw()


def test_the_tail_has_its_mean() -> None:
    latency = Latency(Switches(thinking_ms=100, thinking_tail_ms=200))
    drawn = [latency.draw().thinking for _ in range(10_000)]
    assert 0.29 < sum(drawn) / len(drawn) < 0.31
    assert max(drawn) > 1


def test_a_change_begins_the_draw_anew() -> None:
    switches = Switches(thinking_tail_ms=200)
    latency = Latency(switches)
    drawn = [latency.draw() for _ in range(3)]
    for change in ({"thinking_tail_ms": 0}, {"way_there_ms": 5}, {"latency_seed": 3}):
        for name, value in change.items():
            setattr(switches, name, value)
        latency.draw()
        for name, value in {"thinking_tail_ms": 200, "way_there_ms": 0, "latency_seed": 0}.items():
            setattr(switches, name, value)
        assert [latency.draw() for _ in range(3)] == drawn


def _taken(sandbox: SandboxClient) -> float:
    started = time.monotonic()
    assert call(sandbox, "GET", LEADS).status_code == 200
    return time.monotonic() - started


@pytest.mark.parametrize("part", ["way_there_ms", "way_back_ms", "thinking_ms"])
def test_each_part_delays_the_answer(sandbox: SandboxClient, part: str) -> None:
    sandbox.switch(**{part: 300})
    assert _taken(sandbox) >= 0.3


def test_a_call_counts_when_it_arrives() -> None:
    world = open_world((DEMO_BASE_ID,), 1, 1, [DEMO_TOKEN])
    world.clock.freeze()
    api = AirtableApi(world)

    async def statuses(count: int) -> list[int]:
        return list(await asyncio.gather(*[_ask(api) for _ in range(count)]))

    async def told() -> None:
        world.switches.way_there_ms = 600_000
        on_their_way = [asyncio.create_task(_ask(api)) for _ in range(9)]
        for _ in range(10):
            await asyncio.sleep(0)
        world.switches.way_there_ms = 0
        assert not world.calls
        assert await statuses(5) == [200] * 5
        world.clock.advance(1000)
        world.switches.way_there_ms = 20
        assert sorted(await statuses(6)) == [200] * 5 + [429]
        for one in on_their_way:
            one.cancel()

    asyncio.run(told())


async def _ask(api: AirtableApi) -> int:
    """Call the API without a network and return the status."""
    status: list[int] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            status.append(message["status"])

    path, _, query = f"/v0/{LEADS}".partition("?")
    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "query_string": query.encode(),
        "headers": [(b"authorization", f"Bearer {DEMO_TOKEN}".encode())],
        "state": {"arrived": time.monotonic()},
    }
    await api(scope, receive, send)
    return status[0]


def test_a_call_is_carried_out_before_airtable_thinks(sandbox: SandboxClient) -> None:
    lead = next(iter(sandbox.records()))
    sandbox.switch(thinking_ms=600_000)

    def write() -> None:
        with suppress(requests.RequestException):  # never answered
            call(sandbox, "PATCH", f"{DEMO_BASE_ID}/Leads/{lead}", {"fields": {"Notes": "here"}})

    threading.Thread(target=write, daemon=True).start()
    while sandbox.record(lead)["fields"].get("Notes") != "here":
        time.sleep(0.01)
    (entry,) = sandbox.calls()
    assert entry["status"] is None  # still thinking, and other requests are answered meanwhile
