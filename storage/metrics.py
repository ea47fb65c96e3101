"""Metrics for Prometheus: requests answered, what is on record of the store, what its standing processes saw last."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric

from storage.status import StoreStatus

# A label has few values: a client's own words for a method are "other".
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def of_requests(registry: CollectorRegistry, bounds_s: Sequence[float]) -> tuple[Counter, Histogram, Counter]:
    """Requests answered, the time they took (upper bounds of its buckets, seconds), and the bytes of answers."""
    requests = Counter(
        "uraniborg_http_requests", "Requests answered.", ("route", "method", "status"), registry=registry
    )
    seconds = Histogram(
        "uraniborg_http_request_duration_seconds",
        "From a request's first byte to its answer's last.",
        ("route", "method"),
        registry=registry,
        buckets=bounds_s,
    )
    size = Counter("uraniborg_http_response_bytes", "Bytes of answers' bodies.", ("route", "method"), registry=registry)
    return requests, seconds, size


def of_status(status: StoreStatus) -> list[Metric]:
    """All of a status; nothing is asked for it."""
    return [*_on_record(status), *_runs(status)]


def _on_record(status: StoreStatus) -> list[Metric]:
    def gauge(name: str, help_: str, *more: str) -> GaugeMetricFamily:
        return GaugeMetricFamily(f"uraniborg_store_{name}", help_, labels=("volume", *more))

    objects = gauge("objects", "Objects on record.")
    copies = gauge("copies", "Copies on record, by what they were found to be.", "state")
    size = gauge("bytes", "Bytes of objects on record.")
    unverified = gauge("unverified_copies", "Sound copies that were never read again since they were written.")
    oldest = gauge("oldest_verified_timestamp_seconds", "When the copy unread for longest was read, Unix time.")
    counted = GaugeMetricFamily(
        "uraniborg_store_counted_timestamp_seconds",
        "When sound copies, bytes and unverified copies were counted, Unix time.",
        value=status.counted.timestamp(),
    )
    for volume in status.volumes:
        name = (volume.name,)
        objects.add_metric(name, sum(volume.copies.values()))
        size.add_metric(name, volume.size_bytes)
        unverified.add_metric(name, volume.unverified)
        for state, number in volume.copies.items():
            copies.add_metric((volume.name, state), number)
        if volume.oldest_verified is not None:
            oldest.add_metric(name, volume.oldest_verified.timestamp())
    return [counted, objects, copies, size, unverified, oldest]


def _runs(status: StoreStatus) -> list[Metric]:
    ended = GaugeMetricFamily(
        "uraniborg_store_run_timestamp_seconds",
        "When a standing process of the store last saw anything, Unix time.",
        labels=("process",),
    )
    left = GaugeMetricFamily(
        "uraniborg_store_run_open_findings", "What that run found and could not mend.", labels=("process",)
    )
    for run in status.runs:
        ended.add_metric((run.process,), run.ended.timestamp())
        left.add_metric((run.process,), run.detail["open"])
    return [ended, left]
