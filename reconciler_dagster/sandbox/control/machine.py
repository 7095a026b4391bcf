"""Routes for the sandbox itself: clock, calls, switches, faults, limits."""

from typing import Any

import orjson
from fastapi import APIRouter, HTTPException, Query, Response
from pydantic import BaseModel, Field

from reconciler_dagster.sandbox.api.listing import Listings
from reconciler_dagster.sandbox.clock import DAY, SECOND, iso
from reconciler_dagster.sandbox.faults import Fault
from reconciler_dagster.sandbox.switches import Switches
from reconciler_dagster.sandbox.world import World

FARTHEST = 100 * 365 * DAY
"""How far the clock can be moved at once."""


class Move(BaseModel):
    """A move of the clock."""

    seconds: float = Field(default=0, allow_inf_nan=False, description="Seconds on (or back).")
    frozen: bool | None = Field(default=None, description="Stop the clock, or let it run on.")


def machine_router(world: World, listings: Listings) -> APIRouter:
    """Return the routes. All are coroutines, so that nothing runs beside the API's own calls."""
    router = APIRouter(tags=["sandbox"])

    @router.get("/status")
    async def status() -> dict[str, Any]:
        """Bases, clock and counts."""
        return {
            "now": iso(world.clock.now()),
            "frozen": world.clock.frozen,
            "tokens": list(world.tokens),
            "callsThisMonth": world.limits.calls_this_month(),
            "bases": [
                {
                    "id": base.id,
                    "name": base.name,
                    "tables": [
                        {"id": table.id, "name": table.name, "records": len(table.records)}
                        for table in base.tables.values()
                    ],
                }
                for base in world.bases.values()
            ],
        }

    @router.post("/clock")
    async def move_clock(move: Move) -> dict[str, Any]:
        """Move, stop or release the clock."""
        milliseconds = round(move.seconds * SECOND)
        if abs(milliseconds) > FARTHEST or world.clock.now() + milliseconds < 0:
            raise HTTPException(422, "The clock cannot be moved that far.")
        world.clock.advance(milliseconds)
        if move.frozen is True:
            world.clock.freeze()
        elif move.frozen is False:
            world.clock.resume()
        world.save()
        return {"now": iso(world.clock.now()), "frozen": world.clock.frozen}

    @router.get("/calls")
    async def calls() -> Response:
        """Every request to the Airtable API since the last reset, oldest first."""
        return Response(orjson.dumps(list(world.calls)), media_type="application/json")

    @router.delete("/calls")
    async def reset_calls() -> None:
        """Forget the requests so far."""
        world.calls.clear()

    @router.get("/switches")
    async def switches() -> Switches:
        """All switches."""
        return world.switches

    @router.patch("/switches")
    async def set_switches(values: dict[str, Any]) -> Switches:
        """Set some switches."""
        try:
            merged = world.switches.changed(values)
        except ValueError as error:
            raise HTTPException(422, str(error)) from None
        for name in Switches.model_fields:
            setattr(world.switches, name, getattr(merged, name))
        return world.switches

    @router.get("/faults")
    async def faults() -> list[dict[str, Any]]:
        """The armed faults and how often each has struck."""
        return [{**one.fault.model_dump(), "hits": one.hits} for one in world.faults.armed]

    @router.post("/faults")
    async def arm(fault: Fault) -> None:
        """Arm a fault."""
        world.faults.arm(fault)

    @router.delete("/faults")
    async def disarm() -> None:
        """Disarm all faults."""
        world.faults.clear()

    @router.put("/tokens")
    async def set_tokens(tokens: dict[str, tuple[str, ...]]) -> None:
        """Accept these tokens and no others, each with its scopes."""
        world.tokens = tokens

    @router.post("/iterators/kill")
    async def kill_iterators() -> None:
        """Make every offset that clients hold invalid."""
        listings.kill()

    @router.post("/limits/reset")
    async def reset_limits() -> None:
        """Lift lock-outs and forget the calls that were counted."""
        world.limits.reset()

    @router.post("/limits/foreign-calls")
    async def foreign_calls(base_id: str, count: int = Query(ge=1, le=1000)) -> None:
        """Let another integration make calls to a base at this moment."""
        world.limits.foreign(base_id, count)

    return router
