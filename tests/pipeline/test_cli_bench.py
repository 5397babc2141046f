"""``ltx2cpp-cli bench`` with the demo model."""

from __future__ import annotations

import json

import pytest

from ltx2cpp.benchmark import Benchmark, BenchmarkPhase
from ltx2cpp.cli.commands.bench import table
from ltx2cpp.cli.main import main

QUICK = ("--num-frames", "9", "--steps", "1", "--threads", "1", "--quiet")


def test_every_phase_has_its_work(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *QUICK, "--json", "--profile"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["peak_flop_per_s"] > 1e9
    assert report["peak_bytes_per_s"] > 1e8
    phases = {phase["name"]: phase for phase in report["phases"]}
    computing = {"encode prompt", "connect prompt", "denoise", "decode video"}
    assert computing <= set(phases)
    for name, phase in phases.items():
        assert phase["seconds"] > 0
        assert (phase["flop"] > 0) == (name in computing), name
        assert (phase["stored_bytes"] > 0) == name.startswith("load "), name
        assert (phase["operations"] != {}) == (name in computing), name
        assert sum(s for _, s in phase["operations"].values()) <= phase["seconds"]
    records = tuple(BenchmarkPhase(**phase) for phase in report["phases"])
    rows = [line.split() for line in table(Benchmark(**{**report, "phases": records}))]
    assert rows[0][:3] == ["96", "x", "64,"]
    denoise = next(row for row in rows if row[0] == "denoise")
    assert denoise[3:5] == [f"{phases['denoise']['flop'] / 1e9:.4g}", "GFLOP"]
    assert ["denoise:"] in rows
    assert denoise[6] == "GFLOP/s" and denoise[8] == "%"
