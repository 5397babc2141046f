"""Which weights of a name are taken."""

from __future__ import annotations

import pytest

from ltx2cpp import MemoryPlan, PhaseMemory
from ltx2cpp.cli.options.weights import ModelName, Planned, weights_that_fit
from ltx2cpp.errors import HubError
from ltx2cpp.hub import Download, Hub


def test_weights_that_were_named_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Smaller ones are told, and what was to be planned and cannot be is told too."""
    monkeypatch.setattr("ltx2cpp.cli.options.memory.available_bytes", lambda: 10 << 30)

    def planned(gib: int) -> Planned:
        phase = PhaseMemory("denoise", 0, gib << 30, 0, 0, 0, 0, 0.0)
        plan = MemoryPlan("cpu", "phase", True, None, None, {}, (phase,))
        return Planned(Download(Hub(), ()), plan)

    def refuse(_name: str) -> Planned:
        raise HubError("o/n: does not exist")

    usual, smaller, said = planned(20), planned(8), list[str]()
    for is_open, taken in ((True, smaller), (False, usual)):
        name = ModelName("m:q8_0", "m:q4_k_m", is_open)
        found = weights_that_fit(name, usual, lambda _name: smaller, said.append, streams=False)
        assert found is taken
    assert said[-1] == "--model m:q4_k_m takes it"
    assert weights_that_fit(name, usual, refuse, said.append, streams=False) is usual
    assert said[-1] == "a smaller one: m:q4_k_m, which is not to be had: o/n: does not exist"
    count = len(said)
    assert weights_that_fit(name, smaller, refuse, said.append, streams=False) is smaller
    assert len(said) == count + 1
