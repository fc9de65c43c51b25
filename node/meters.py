"""A node's counters in the text format of Prometheus, in a file for node_exporter's textfile collector."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from gossip.transport import Statistics

METERS_FILE = "metrics.prom"

Labels = tuple[tuple[str, str], ...]
Sample = tuple[str, Labels, float]


def samples(
    statistics: Statistics, names: Mapping[str, str], blamed: Mapping[tuple[str, str], int]
) -> Iterable[Sample]:
    """What there is to count; `names` says which PeerID is whose, `blamed` how often a member was, for what."""
    yield "mycelia_connections", (), statistics.connections
    yield "mycelia_half_open_connections", (), statistics.half_open
    yield "mycelia_bytes_received_total", (), statistics.bytes_received
    yield "mycelia_bytes_sent_total", (), statistics.bytes_sent
    yield "mycelia_relayed_pairs", (), statistics.circuits
    yield "mycelia_strangers_refused_total", (), statistics.strangers_refused
    yield "mycelia_handshakes_failed_total", (), statistics.handshakes_failed
    yield "mycelia_announcements_received_total", (), statistics.announcements_received
    yield "mycelia_announcements_sent_total", (), statistics.announcements_sent
    yield "mycelia_announcements_dropped_total", (), statistics.announcements_dropped
    for peer_id, faults in statistics.faults.items():
        for fault, count in faults.items():
            yield "mycelia_peer_faults_total", (("peer", names.get(peer_id, peer_id)), ("fault", fault)), count
    total = 0
    for bound, count in statistics.loop_lag.items():
        total += count
        yield "mycelia_loop_lag_seconds_bucket", (("le", "+Inf" if math.isinf(bound) else f"{bound:g}"),), total
    for peer_id, seconds in statistics.round_trip_seconds.items():
        yield "mycelia_round_trip_seconds", (("peer", names.get(peer_id, peer_id)),), seconds
    for (member, reason), count in blamed.items():
        yield "mycelia_member_blamed_total", (("member", member), ("reason", reason)), count


def render(found: Iterable[Sample]) -> str:
    """The samples, one to a line, those of one name together under its type."""
    lines: dict[str, list[str]] = {}
    for name, labels, value in found:
        text = ",".join(f'{label}="{_escaped(word)}"' for label, word in labels)
        lines.setdefault(name, []).append(f"{name}{{{text}}} {value:.15g}" if text else f"{name} {value:.15g}")
    return "".join(
        f"# TYPE {name} {'counter' if name.endswith(('_total', '_bucket')) else 'gauge'}\n"
        + "".join(f"{one}\n" for one in ones)
        for name, ones in lines.items()
    )


def write(folder: Path, text: str) -> None:
    """Replace the file; it is whole at every moment."""
    draft = folder / (METERS_FILE + ".new")
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, folder / METERS_FILE)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
