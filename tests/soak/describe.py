"""What a run has shown, in lines to print."""

from collections import Counter
from collections.abc import Iterator

from tests.soak.soak import Soak


def describe(soak: Soak) -> str:
    """Polls, faults, incidents, the table against its prediction, requests, memory and time."""
    return "\n".join(_lines(soak))


def _lines(soak: Soak) -> Iterator[str]:
    report, settings, model = soak.report, soak.settings, soak.model
    polls = sum(report.polls.values()) - report.polls["not run"]
    yield (
        f"{settings.days} days, seed {settings.seed}, retention {settings.retention_days} days,"
        f" {settings.records} records a type, {settings.identities:,} identities: {polls:,} polls"
    )
    yield f"  polls: {_counts(report.polls)}"
    yield f"  sources failed: {_counts(report.source_failures)}"
    yield f"  DynamoDB: {_counts(report.injected)}"
    yield f"  records: {_counts(model.counts)}"
    yield "  at each checkpoint: items and KB of each kind (at least and at most, as retention predicts"
    yield "  from what is committed, and an item's size at the first checkpoint)"
    for point in report.checkpoints:
        yield (
            f"  day {point.day:5.1f}: {point.resident_bytes / 2**20:.0f} MB resident; the poller's code holds"
            f" {point.held_by_poller.objects:,} objects of {point.held_by_poller.bytes / 1024:.0f} KB;"
            f" {point.still_counted:+} unattributed counted beside those that are there"
        )
        for kind, (low, high) in point.predicted.items():
            held = point.held[kind]
            least, most = (each / 1024 for each in point.bytes_predicted(kind, report.checkpoints[0]))
            items = f"{held.items:,} ({low:,} to {high:,})"
            yield f"    {kind:13}{items:34}{held.bytes / 1024:,.0f} KB ({least:,.0f} to {most:,.0f})"
    yield f"  deleted by time to live: {_counts(soak.database.deleted)}"
    yield (
        f"  {soak.database.write_units:,} write units, {soak.database.read_units:,} read units, those of the"
        " feed's readers and of the walks included"
    )
    each = report.poll_seconds / max(polls, 1) * 1000
    yield (
        f"  {report.seconds:.0f} s in all; CPU of the polls {report.poll_seconds:.0f} s, {each:.0f} ms each"
    )


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in sorted(counts.items())) or "none"
