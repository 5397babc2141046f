"""Numbers for Prometheus, read from the store when they are asked for."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from ltx2cpp.server.jobs import State
from ltx2cpp.server.service import Service
from ltx2cpp.server.videos import service_of


class _Numbers(Collector):
    def __init__(self, service: Service, readers: int) -> None:
        self._service, self._readers = service, readers

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
        yield GaugeMetricFamily("ltx2cpp_event_readers", "Open event streams.", self._readers)
        yield CounterMetricFamily(
            "ltx2cpp_worker_starts", "Worker processes started.", service.worker.starts
        )
        loaded = GaugeMetricFamily(
            "ltx2cpp_model_loaded", "Whether the worker holds a model.", labels=["model"]
        )
        for name in service.models:
            loaded.add_metric([name], int(name == service.worker.loaded))
        yield loaded


def metrics(request: Request) -> Response:
    """Answer with the numbers."""
    registry = CollectorRegistry()
    registry.register(_Numbers(service_of(request), len(request.app.state.readers)))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
