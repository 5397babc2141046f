"""Numbers for Prometheus, read from the store when they are asked for."""

from __future__ import annotations

import time
from collections.abc import Iterable

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ltx2cpp.server.feed import Feed
from ltx2cpp.server.jobs import State
from ltx2cpp.server.security import WORKER_FOLDER
from ltx2cpp.server.service import Service

_BOUNDS_S = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
_METHODS = ("GET", "HEAD", "POST", "DELETE", "OPTIONS")


class Numbers(Collector):
    """All that is published.

    Args:
        service, feed: of the server.
    """

    def __init__(self, service: Service, feed: Feed) -> None:
        self._service, self._feed = service, feed
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self._answers = Histogram(
            "ltx2cpp_request_seconds",
            "From the head of a request to that of its answer, inside the server.",
            ["method"],
            buckets=_BOUNDS_S,
            registry=self._registry,
        )

    def text(self) -> bytes:
        """Return the numbers of now."""
        return generate_latest(self._registry)

    def note(self, method: str, seconds: float) -> None:
        """Count an answer."""
        self._answers.labels(method if method in _METHODS else "other").observe(seconds)

    def collect(self) -> Iterable[Metric]:
        """Yield what is true now."""
        service = self._service
        counts = service.store.counts()
        jobs = GaugeMetricFamily("ltx2cpp_jobs", "Jobs in the store.", labels=["state"])
        for state in State:
            if state is not State.DELETED:
                jobs.add_metric([state.value], counts.get(state, 0))
        yield jobs
        yield GaugeMetricFamily(
            "ltx2cpp_storage_bytes", "Bytes of all jobs.", service.store.disk_bytes()
        )
        yield GaugeMetricFamily(
            "ltx2cpp_storage_limit_bytes",
            "Bytes that all jobs may take.",
            service.options.max_storage_bytes,
        )
        yield GaugeMetricFamily("ltx2cpp_event_readers", "Open event streams.", self._feed.readers)
        yield GaugeMetricFamily(
            "ltx2cpp_jobs_elsewhere", "Jobs with workers on other machines.", len(service.leases)
        )
        starts = 0 if service.worker is None else service.worker.starts
        yield CounterMetricFamily("ltx2cpp_worker_starts", "Worker processes started.", starts)
        if service.worker is not None:
            loaded = GaugeMetricFamily(
                "ltx2cpp_model_loaded", "Whether the worker holds a model.", labels=["model"]
            )
            for name in service.models:
                loaded.add_metric([name], int(name == service.worker.loaded))
            yield loaded


class Timed:
    """Notes how long answers take to begin.

    Args:
        app: what answers.
        numbers: where it is noted.
    """

    def __init__(self, app: ASGIApp, numbers: Numbers) -> None:
        self._app, self._numbers = app, numbers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = time.perf_counter()

        async def send_timed(message: Message) -> None:
            # How long a worker waits for a job says nothing.
            is_timed = scope["path"] != f"{WORKER_FOLDER}claim"
            if message["type"] == "http.response.start" and is_timed:
                self._numbers.note(scope["method"], time.perf_counter() - start)
            await send(message)

        await self._app(scope, receive, send_timed)


def metrics(request: Request) -> Response:
    """Answer with the numbers."""
    numbers: Numbers = request.app.state.numbers
    return Response(numbers.text(), media_type=CONTENT_TYPE_LATEST)
