"""What the transport and the protocol counted, by member, where a monitoring system finds it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from structlog.testing import capture_logs

from node.admission import Admission
from node.meters import METERS_FILE, render, samples
from node.progress import Progress
from node.reporter import Reporter
from tests.helpers.nodes import MemoryTransport, Network
from tests.helpers.rosters import FIRST, member

NOTHING = MemoryTransport(Network(), "", None).statistics()


def test_samples_of_one_name_stand_under_one_type() -> None:
    found = [("a_total", (("peer", 'x"\\\n'),), 1), ("b", (), 0.5), ("a_total", (("peer", "y"),), 2.0)]
    assert render(found) == (
        '# TYPE a_total counter\na_total{peer="x\\"\\\\\\n"} 1\na_total{peer="y"} 2\n# TYPE b gauge\nb 0.5\n'
    )


def test_fault_is_logged_once_and_counted_under_the_members_name(tmp_path: Path) -> None:
    progress = Progress(tmp_path)
    reporter = Reporter(progress, "m0", Admission(FIRST), frozenset)
    seen = replace(NOTHING, faults={member(1).peer_id: {"malformed": 3}}, strangers_refused=2)
    with capture_logs() as logs:
        reporter.network(seen)
        reporter.network(seen)
    assert [(line["event"], line["peer"], line["fault"], line["count"]) for line in logs] == [
        ("peer.misbehaved", "m1", "malformed", 3)
    ]
    text = (tmp_path / METERS_FILE).read_text()
    assert 'mycelia_peer_faults_total{peer="m1",fault="malformed"} 3\n' in text
    assert "mycelia_strangers_refused_total 2\n" in text
    assert progress.state["network"]["faults"] == {"m1": {"malformed": 3}}
    progress.close()


def test_lag_of_the_loop_is_a_cumulative_histogram() -> None:
    found = list(samples(replace(NOTHING, loop_lag={0.001: 5, 0.03: 2, float("inf"): 1}), {}, {}))
    lag = [(labels, value) for name, labels, value in found if name == "mycelia_loop_lag_seconds_bucket"]
    assert lag == [((("le", "0.001"),), 5), ((("le", "0.03"),), 7), ((("le", "+Inf"),), 8)]
