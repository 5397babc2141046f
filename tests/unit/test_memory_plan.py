"""Arithmetic of memory plans."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

import pytest

from ltx2cpp.cli.options.memory import table
from ltx2cpp.errors import DeviceMemoryError
from ltx2cpp.generation.needs import placed
from ltx2cpp.generation.phases.decode import CONV_SIZES
from ltx2cpp.memory.fit import Machine, MemoryPolicy, advice_for, fit, frames_that_fit
from ltx2cpp.memory.plan import (
    WHOLE,
    DecodePieces,
    Keeping,
    MemoryPlan,
    NetworkNeeds,
    PhaseNeeds,
    add_up,
)
from ltx2cpp.options import Offload

MIB = 1 << 20


def need(name: str, component: str, *, in_pieces: bool = False, **sizes: int) -> PhaseNeeds:
    network = NetworkNeeds(**{key: value * MIB for key, value in sizes.items()})
    return PhaseNeeds(name, component, (network,), MIB, 1e9, in_pieces)


def on(device: str, needs: PhaseNeeds) -> PhaseNeeds:
    return dataclasses.replace(needs, device=device)


def machine(free_mib: int = 0, device: str = "cpu") -> Machine:
    return Machine(device, 16 * MIB, {device: lambda: free_mib * MIB})


STORED = {"cpu": 1800 * MIB, "cuda:0": 1800 * MIB}
TEXT = need("encode prompt", "text encoder", mapped_weight_bytes=800, mapped_part_bytes=100)
DENOISE = need(
    "denoise",
    "transformer",
    own_weight_bytes=10,
    mapped_weight_bytes=1000,
    mapped_part_bytes=200,
    activation_bytes=50,
    scratch_bytes=5,
)
DECODE = need("decode video", "video decoder", own_weight_bytes=30, activation_bytes=100)


def peaks(offload: Offload, *, keeps_transformer: bool = False) -> list[int]:
    keeping = Keeping(offload, keeps_transformer)
    phases = add_up([TEXT, DENOISE, DECODE], keeping, process_bytes=40 * MIB)
    return [phase.peak_bytes // MIB for phase in phases]


def test_phase_frees_each_component_after_its_phase() -> None:
    # 40 of the process, 1 of arrays; scratch memory of the device stays.
    assert peaks("phase") == [841, 1106, 176]


def test_a_kept_transformer_counts_in_later_phases() -> None:
    assert peaks("phase", keeps_transformer=True) == [841, 1106, 176 + 1060]


def test_none_keeps_everything() -> None:
    assert peaks("none") == [841, 1106 + 800, 176 + 800 + 1060]


def test_stream_counts_the_largest_part_and_what_follows_the_reader() -> None:
    assert peaks("stream") == [40 + 1 + 100 + 32, 40 + 1 + 10 + 200 + 32 + 55, 176]


def test_weights_that_pass_through_slots_take_these_on_the_device() -> None:
    network = on("cuda:0", need("denoise", "transformer", own_weight_bytes=1000, slot_bytes=120))
    for offload, weights in (("phase", 1000), ("stream", 120)):
        (phase,) = add_up([network], Keeping(offload, False), process_bytes=0)
        assert phase.peak_bytes == weights * MIB


def test_a_component_stays_between_its_phases() -> None:
    upsample = need("upsample", "upsampler", own_weight_bytes=7)
    phases = add_up([DENOISE, upsample, DENOISE], Keeping("phase", False), process_bytes=0)
    assert phases[1].other_bytes == 1060 * MIB
    assert phases[2].other_bytes == 0


def test_a_device_with_its_own_memory_counts_no_host_arrays() -> None:
    (phase,) = add_up([on("cuda:0", DENOISE)], Keeping("phase", False), process_bytes=MIB)
    assert (phase.host_bytes, phase.other_bytes) == (0, 0)


def test_memory_is_counted_for_each_device() -> None:
    """What one device keeps takes nothing of another; each has a limit of its own."""
    phases = [TEXT, on("cuda:0", DENOISE), on("cuda:1", DECODE), on("cpu", DECODE)]

    class Placed(Needs):
        decode_sizes = (WHOLE,)

        def phases(self, pieces: DecodePieces) -> list[PhaseNeeds]:
            return phases

    peaks = {"cpu": 40 + 24 + 1 + 800 + 130, "cuda:0": 1065, "cuda:1": 130}
    places = Machine("many", 40 * MIB, dict.fromkeys(peaks, lambda: 0))
    for short in (None, *peaks):
        room = {name: (size - (name == short)) * MIB for name, size in peaks.items()}
        plan = fit(Placed(), "none", room, places)
        assert {name: size // MIB for name, size in plan.peaks.items()} == peaks
        assert plan.fits == (short is None)
        if short is not None:
            assert plan.largest.device == short and f"GiB on {short} and" in (plan.problem or "")
    plan = plan.timed({"cpu": 1e9, "cuda:0": 2e9, "cuda:1": 4e9})
    assert [phase.seconds for phase in plan.phases] == [1.0, 0.5, 0.25, 1.0]
    lines = table(plan)
    assert lines[2].endswith("  cuda:0")
    assert lines[6].split() == ["all", "on", "cuda:0", "1.12", "GB"]


def test_processes_that_share_passes_are_counted_where_they_are() -> None:
    """Those of one device share the pages of files, those of others take as much there."""
    rows = placed(on("cpu", DENOISE), ("cpu",))
    (phase,) = add_up(rows, Keeping("phase", False), process_bytes=0)
    assert phase.peak_bytes == (1000 + 2 * (10 + 50 + 5 + 1)) * MIB and phase.flop == 1e9
    rows = placed(on("cuda:0", DENOISE), ("cuda:1", "cuda:1"))
    decode = on("cuda:1", DECODE)
    phases = add_up([*rows, decode], Keeping("phase", True), process_bytes=0)
    assert [(phase.name, phase.device) for phase in phases] == [
        ("denoise", "cuda:0"),
        ("denoise on cuda:1", "cuda:1"),
        ("decode video", "cuda:1"),
    ]
    assert [phase.peak_bytes // MIB for phase in phases] == [1065, 1130, 130 + 10 + 1120]
    assert [phase.flop for phase in phases] == [5e8, 0.0, 1e9]


class Needs:
    """A generation whose decode shrinks with its pieces."""

    num_frames = 121
    cut_by_memory = False
    decode_sizes: Sequence[DecodePieces] = CONV_SIZES

    def __init__(self, device: str = "cpu") -> None:
        self.device = device

    def phases(self, pieces: DecodePieces) -> list[PhaseNeeds]:
        chunk, tile = pieces.chunk_latents, pieces.tile_latents
        activations = 4000 if chunk is None else 300 if tile is None else 10 * tile
        decode = need("decode video", "video decoder", in_pieces=True, activation_bytes=activations)
        return [on(self.device, phase) for phase in (TEXT, DENOISE, decode)]

    def with_frames(self, num_frames: int) -> Needs | None:
        return None


def make_fit(budget_mib: int | None) -> MemoryPlan:
    room = {} if budget_mib is None else {"cpu": budget_mib * MIB}
    return fit(Needs(), "auto", room, machine())


@pytest.mark.parametrize(
    ("budget_mib", "offload", "keeps", "chunk", "tile"),
    [
        (None, "phase", True, None, None),
        (9000, "phase", True, None, None),
        (1500, "phase", True, 2, None),
        (1200, "phase", False, 2, None),
        (400, "stream", False, 2, None),
        (340, "stream", False, 1, 24),
    ],
)
def test_a_budget_is_kept_by_the_smallest_change(
    budget_mib: int | None, offload: str, keeps: bool, chunk: int | None, tile: int | None
) -> None:
    plan = make_fit(budget_mib)
    assert plan.fits and plan.problem is None
    assert (plan.offload, plan.keeps_transformer) == (offload, keeps)
    assert (plan.chunk_latents, plan.tile_latents) == (chunk, tile)


def test_too_small_a_budget_is_a_sentence_with_advice() -> None:
    plan = make_fit(200)
    advised = dataclasses.replace(plan, advice=advice_for(plan, None, 49))
    assert advised.problem is not None
    assert advised.problem.startswith("'denoise' needs 0.33 GiB and max_memory allows 0.20 GiB")
    assert "49 frames fit" in advised.problem
    # They may be of four bits already.
    assert "weights of more bits take less as q4_k" in advised.problem


def test_converted_weights_are_named_as_the_cure() -> None:
    class Converted(Needs):
        def phases(self, pieces: DecodePieces) -> list[PhaseNeeds]:
            return [need("denoise", "transformer", own_weight_bytes=2048)]

    plan = fit(Converted(), "auto", {"cpu": MIB}, machine())
    assert any("takes 2.00 GiB less" in advice for advice in advice_for(plan, None, None))


def test_frames_that_fit_is_the_largest_valid_number() -> None:
    assert frames_that_fit(121, lambda frames: frames <= 70) == 65
    assert frames_that_fit(121, lambda frames: frames <= 8) == 1
    assert frames_that_fit(121, lambda frames: 9 <= frames <= 70) == 65
    assert frames_that_fit(121, lambda frames: False) is None


def test_a_plan_is_json_with_times() -> None:
    plan = make_fit(None).timed({"cpu": 2e9})
    data = json.loads(json.dumps(plan.to_dict()))
    assert data["seconds"] == pytest.approx(1.5)
    assert data["phases"][1]["peak_bytes"] == plan.phases[1].peak_bytes


class Tiled(Needs):
    """A clip that is decoded whole, or in tiles that take less and compute more."""

    cut_by_memory = True
    decode_sizes = (WHOLE, *(DecodePieces(tiling={"frames": (size, 40)}) for size in (96, 80)))

    def phases(self, pieces: DecodePieces) -> list[PhaseNeeds]:
        size = 20_000 if pieces.tiling is None else 50 * pieces.tiling["frames"][0]
        decode = need("decode video", "video decoder", in_pieces=True, activation_bytes=size)
        return [TEXT, DENOISE, decode]


@pytest.mark.parametrize(
    ("free_mib", "size", "keeps"),
    [
        (100_000, None, True),
        (0, 96, True),
        (7000, 96, True),
        (5000, 96, False),
        (4500, 80, False),
        (900, 80, False),
    ],
)
def test_the_memory_of_the_machine_decides_over_tiles(
    free_mib: int, size: int | None, keeps: bool, caplog: pytest.LogCaptureFixture
) -> None:
    policy = MemoryPolicy("auto", None, machine(free_mib))
    plan, settled = policy.plan(Tiled(), {}), policy.settle(Tiled(), {})
    assert settled == plan and not plan.room
    assert plan.tiling == (None if size is None else {"frames": (size, 40)})
    if free_mib != 900:
        assert (plan.offload, plan.keeps_transformer) == ("phase", keeps)
    # What does not fit even so is left to the swap of the machine, and said.
    assert ("'decode video' may need" in caplog.text) == (free_mib == 900)


@pytest.mark.parametrize("free_mib", [0, 100, 300, 900, 100_000])
@pytest.mark.parametrize("offload", ["auto", "phase", "none", "stream"])
@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_plan_and_run_decide_alike(device: str, offload: str, free_mib: int) -> None:
    policy = MemoryPolicy(offload, None, machine(free_mib, device))
    planned, settled = policy.plan(Needs(device), STORED), policy.settle(Needs(device), STORED)
    assert planned.problem is None
    if settled is None:
        assert (planned.keeping, planned.pieces) == (policy.usual, DecodePieces())
    else:
        assert (planned.keeping, planned.pieces) == (settled.keeping, settled.pieces)
        assert planned.phases == settled.phases


def test_a_full_machine_is_planned_for(caplog: pytest.LogCaptureFixture) -> None:
    policy = MemoryPolicy("auto", None, machine(900))
    plan = policy.plan(Needs(), STORED)
    assert (plan.offload, plan.peak_bytes <= 900 * MIB) == ("stream", True)
    assert not caplog.text
    policy = MemoryPolicy("auto", None, machine(50, "cuda:0"))
    assert policy.plan(Needs("cuda:0"), STORED).offload == "stream"
    assert "the device has 0.0 GiB left" in caplog.text


def test_a_budget_that_cannot_be_kept_is_a_problem_of_both() -> None:
    policy = MemoryPolicy("auto", 0.05, machine())
    problem = policy.plan(Needs(), STORED).problem
    assert problem is not None
    with pytest.raises(DeviceMemoryError) as raised:
        policy.settle(Needs(), STORED)
    assert str(raised.value) == problem
