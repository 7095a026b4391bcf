"""The limits, on a clock that stands still until it is moved (facts §6)."""

import socket
import threading
import time

import pytest
import requests

from reconciler_dagster.sandbox import DEMO_BASE_ID, DEMO_TOKEN
from reconciler_dagster.sandbox.clock import Clock
from reconciler_dagster.sandbox.errors import Refusal
from reconciler_dagster.sandbox.limits import Limits
from reconciler_dagster.sandbox.server import build_server
from reconciler_dagster.sandbox.start import open_world
from reconciler_dagster.sandbox.switches import Switches
from reconciler_dagster.sandbox.testing import SandboxClient, running_sandbox

from .raw import call

LEADS = f"{DEMO_BASE_ID}/Leads?maxRecords=1"
OTHER = "appOther000000001"
TOO_MANY = (
    '{"errors":[{"error":"RATE_LIMIT_REACHED","message":"Rate limit exceeded. Please try again '
    'later"}]}'
)


@pytest.fixture
def limited():
    with running_sandbox(leads=5, base_ids=(DEMO_BASE_ID, OTHER)) as running:
        running.freeze()
        yield running


def _statuses(sandbox: SandboxClient, count: int, path: str = LEADS) -> list[int]:
    return [call(sandbox, "GET", path).status_code for _ in range(count)]


def test_five_a_second_then_locked_out_for_thirty(limited: SandboxClient) -> None:
    assert _statuses(limited, 6) == [200] * 5 + [429]
    refused = call(limited, "GET", LEADS)
    assert refused.text == TOO_MANY
    assert "Retry-After" not in refused.headers
    limited.advance(29.9)
    assert _statuses(limited, 1) == [429]
    limited.advance(0.1)
    assert _statuses(limited, 1) == [200]


def test_the_second_slides(limited: SandboxClient) -> None:
    for _ in range(20):
        assert _statuses(limited, 1) == [200]
        limited.advance(0.2)
    assert _statuses(limited, 1) == [200]
    assert _statuses(limited, 1) == [429]


def test_each_base_has_its_own_limit(limited: SandboxClient) -> None:
    assert _statuses(limited, 6)[-1] == 429
    assert _statuses(limited, 1, f"{OTHER}/Leads") == [200]
    assert _statuses(limited, 1, f"meta/bases/{DEMO_BASE_ID}/tables") == [429]
    assert _statuses(limited, 1, "meta/whoami") == [200]


def test_fifty_a_second_for_one_user(limited: SandboxClient) -> None:
    assert _statuses(limited, 51, "meta/whoami") == [200] * 50 + [429]
    limited.advance(30)
    assert _statuses(limited, 1, "meta/whoami") == [200]


def test_people_use_no_budget(limited: SandboxClient) -> None:
    record_id = next(iter(limited.records()))
    for number in range(20):
        limited.edit(record_id, {"Notes": str(number)})
    assert _statuses(limited, 5) == [200] * 5


def test_other_integrations_use_budget(limited: SandboxClient) -> None:
    limited.foreign_calls(3)
    assert _statuses(limited, 3) == [200, 200, 429]
    limited.advance(30)
    limited.switch(foreign_calls_per_second=4)
    assert _statuses(limited, 2) == [200, 429]


def test_switches_of_the_limiter(limited: SandboxClient) -> None:
    limited.switch(retry_after=True, rate_limit_body="error", lockout_seconds=10, burst=2)
    assert _statuses(limited, 8) == [200] * 7 + [429]
    refused = call(limited, "GET", LEADS)
    assert refused.headers["Retry-After"] == "10"
    assert refused.json() == {
        "error": {
            "type": "RATE_LIMIT_REACHED",
            "message": "Rate limit exceeded. Please try again later",
        }
    }
    limited.switch(lockout_extends=True)
    limited.advance(9)
    assert _statuses(limited, 1) == [429]
    limited.advance(9)
    assert _statuses(limited, 1) == [429]
    limited.advance(10)
    assert _statuses(limited, 1) == [200]


def test_a_fixed_window(limited: SandboxClient) -> None:
    limited.switch(window="fixed")
    now = limited.status()["now"]
    limited.advance(1 - int(now[20:23]) / 1000)
    limited.advance(0.9)
    assert _statuses(limited, 5) == [200] * 5
    limited.advance(0.1)
    assert _statuses(limited, 5) == [200] * 5
    assert _statuses(limited, 1) == [429]


def test_the_monthly_cap_lasts_until_the_month_turns(limited: SandboxClient) -> None:
    limited.switch(calls_per_second_and_base=0, monthly_cap=3)
    assert _statuses(limited, 4) == [200, 200, 200, 429]
    assert call(limited, "GET", LEADS).json()["errors"][0] == {
        "error": "PUBLIC_API_BILLING_LIMIT_EXCEEDED",
        "message": "API billing plan limit exceeded. You've reached the maximum number of requests "
        "allowed for this month.",
    }
    assert _statuses(limited, 1, "meta/whoami") == [200]
    limited.advance(40)
    assert _statuses(limited, 1) == [429]
    limited.advance(32 * 86_400)
    assert _statuses(limited, 1) == [200]


def test_the_records_a_base_can_hold(limited: SandboxClient) -> None:
    held = sum(table["records"] for table in limited.status()["bases"][0]["tables"])
    limited.switch(record_limit=held + 1)
    body = {"records": [{"fields": {}}, {"fields": {}}]}
    assert call(limited, "POST", f"{DEMO_BASE_ID}/Leads", body).status_code == 422
    assert len(limited.records()) == 5
    assert call(limited, "POST", f"{DEMO_BASE_ID}/Leads", {"fields": {}}).status_code == 200


def test_scopes(limited: SandboxClient) -> None:
    refused = requests.get(
        f"{limited.url}/v0/{LEADS}", headers={"Authorization": f"Bearer {DEMO_TOKEN}x"}, timeout=30
    )
    assert refused.status_code == 401


@pytest.mark.parametrize(
    ("arrivals", "refused"),
    [
        ([0, 200, 400, 600, 800, 999], True),
        ([0, 200, 400, 600, 800, 1000], False),
        # Read late: between others, and as the first of them all.
        ([200, 400, 600, 800, 999, 0], True),
        ([200, 400, 600, 800, 1000, 0], False),
        ([1000, 1200, 1400, 1600, 1800, 900], True),
        ([1000, 1200, 1400, 1600, 1900, 900], False),
    ],
)
def test_calls_count_as_they_arrived_not_as_they_were_read(
    arrivals: list[int], refused: bool
) -> None:
    limits = Limits(Clock(), Switches())

    def check(arrival: int) -> None:
        limits.check(DEMO_TOKEN, DEMO_BASE_ID, meta=False, arrival=10**12 + arrival)

    for arrival in arrivals[:-1]:
        check(arrival)
    if refused:
        with pytest.raises(Refusal):
            check(arrivals[-1])
    else:
        check(arrivals[-1])


@pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="only Linux tells when data came in")
def test_a_call_that_a_busy_server_reads_late_arrived_when_it_came_in() -> None:
    world = open_world((DEMO_BASE_ID,), 5, 1, [DEMO_TOKEN], None, {})
    head = (
        f"GET /v0/{LEADS} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {DEMO_TOKEN}\r\n\r\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname()) as waiting:
            waiting.sendall(head.encode())
            time.sleep(0.4)
            read = time.time()
            server = build_server(world, "127.0.0.1", 0)
            thread = threading.Thread(target=server.run, args=([listener],))
            thread.start()
            assert waiting.recv(12) == b"HTTP/1.1 200"
        server.should_exit = server.force_exit = True
        thread.join()
    arrived = world.calls[0]["time"] / 1000
    world.close()
    assert arrived < read - 0.2
