"""OpenTelemetry traces of a run, where OTEL_EXPORTER_OTLP_ENDPOINT is set; else nothing of it is
even imported.

A span has a name, a method, a client's or base's id: no address with a query, no text of an error,
for these may hold what is of a lead.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from functools import lru_cache
from typing import TYPE_CHECKING, ParamSpec, TypeVar
from uuid import NAMESPACE_OID, uuid5

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Tracer

P = ParamSpec("P")
T = TypeVar("T")
_ASKED_BY = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_FLUSH_MS = 3000

log = logging.getLogger("reconciler_dagster.tracing")


@contextmanager
def span(name: str, **attributes: str) -> Iterator[None]:
    """What happens in the block is a span, within the one around it."""
    made = _provider()
    if made is None:
        yield
        return
    with _spanned(made[1], name, attributes):
        yield


@contextmanager
def step(name: str, run_id: str, **attributes: str) -> Iterator[None]:
    """A step of a run: all steps of a run are one trace, whose id is made of the run's."""
    made = _provider()
    if made is None:
        yield
        return
    from opentelemetry import context, trace

    number = uuid5(NAMESPACE_OID, run_id).int
    parent = trace.SpanContext(
        number, number & ((1 << 64) - 1) | 1, True, trace.TraceFlags(trace.TraceFlags.SAMPLED)
    )
    token = context.attach(trace.set_span_in_context(trace.NonRecordingSpan(parent)))
    try:
        with _spanned(made[1], name, {"dagster.run_id": run_id, **attributes}):
            yield
    finally:
        context.detach(token)
        # A run's process may end without a word right after its last step.
        made[0].force_flush(_FLUSH_MS)


def carried(do: Callable[P, T]) -> Callable[P, T]:
    """For another thread: what it does is within the span around this very place."""
    here = copy_context()

    def done(*arguments: P.args, **named: P.kwargs) -> T:
        return here.run(do, *arguments, **named)

    return done


@contextmanager
def _spanned(tracer: Tracer, name: str, attributes: dict[str, str]) -> Iterator[None]:
    from opentelemetry.trace import Status, StatusCode

    with tracer.start_as_current_span(
        name, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as current:
        try:
            yield
        except Exception as error:
            current.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise


def _provider() -> tuple[TracerProvider, Tracer] | None:
    return _made() if any(os.environ.get(name) for name in _ASKED_BY) else None


@lru_cache(maxsize=1)
def _made() -> tuple[TracerProvider, Tracer] | None:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        log.warning("no traces: OpenTelemetry is not installed; `pip install reconciler[otel]`")
        return None
    service = os.environ.get("OTEL_SERVICE_NAME") or "reconciler"
    provider = TracerProvider(resource=Resource.create({"service.name": service}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider, provider.get_tracer("reconciler")
