"""``/healthz``, ``/readyz`` and ``/metrics``.

Healthy: the process answers. Ready: all doors are open and the database answers a read.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping

import prometheus_client
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

Readings = Callable[[], Mapping[str, float]]
"""Returns values by metric name; names that end in ``_total`` are counters."""


class _Readings(Collector):
    def __init__(self, readings: Readings) -> None:
        self._readings = readings

    def collect(self) -> Iterable[Metric]:
        for name, value in self._readings().items():
            family = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            metric = family(f"overair_{name}", name.removesuffix("_total").replace("_", " "))
            metric.add_metric([], value)
            yield metric


def operator_routes(ready: Callable[[], Awaitable[bool]], readings: Readings) -> list[Route]:
    """Return the three routes. *ready* may take as long as a database read."""
    registry = prometheus_client.CollectorRegistry()
    registry.register(_Readings(readings))

    async def healthz(_request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(_request: Request) -> Response:
        is_ready = await ready()
        return PlainTextResponse("ready\n" if is_ready else "not ready\n", 200 if is_ready else 503)

    async def metrics(_request: Request) -> Response:
        return Response(
            prometheus_client.generate_latest(registry), media_type=prometheus_client.CONTENT_TYPE_LATEST
        )

    return [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)]
