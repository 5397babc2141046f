"""Where the time of a generation goes, beside the work that was done in it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ltx2cpp.generation.pipeline_options import PipelineOptions
from ltx2cpp.model.files import ModelFiles
from ltx2cpp.observing import Observer, PhaseRecorder, Step
from ltx2cpp.options import Guidance
from ltx2cpp.pipeline import LTX2Pipeline

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ltx2cpp import _core
    from ltx2cpp.generation.request import GenerationArguments


@dataclass(frozen=True, slots=True)
class BenchmarkPhase:
    """One phase of a generation.

    Attributes:
        name: as the pipeline calls it.
        seconds: wall time.
        peak_bytes: highest resident memory in it, 0 where unknown.
        flop: products, attention and convolutions in it; 0 where it computes nothing.
        stored_bytes: weights that it loads, as stored; 0 where it loads none.
        operations: name -> (nodes, seconds) of the operations in its graphs, where asked for.
    """

    name: str
    seconds: float
    peak_bytes: int
    flop: float
    stored_bytes: int
    operations: dict[str, tuple[int, float]]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What one generation took, and what the device could do.

    Attributes:
        phases: the phases in the order in which they ended.
        peak_flop_per_s: measured rate of a 16-bit product in the caches.
        peak_bytes_per_s: measured rate of a copy, read and written.
        info: the parameters of the clip.
    """

    phases: tuple[BenchmarkPhase, ...]
    peak_flop_per_s: float
    peak_bytes_per_s: float
    info: dict[str, Any]


def benchmark(
    files: ModelFiles | None,
    prompt: str,
    recorder: PhaseRecorder,
    options: PipelineOptions,
    *,
    profile: bool = False,
    **arguments: Unpack[GenerationArguments],
) -> Benchmark:
    """Generate a clip, throw it away, and say what each phase did.

    Guidance is off, so that a step is one call of the transformer, and no prompt is looked up.

    Args:
        files: the model; None takes the demo.
        prompt: the prompt to encode.
        recorder: receives the phases.
        options: options of the pipeline, without an observer.
        profile: time each operation, which costs some microseconds for each.
        arguments: arguments of the generation; the demo has no sound unless asked for it.

    Raises:
        Error: what the pipeline raises.
    """
    observer = _Profiler(recorder) if profile else recorder
    options = {**options, "observer": observer}
    pipe = LTX2Pipeline.demo(**options) if files is None else LTX2Pipeline(files, **options)
    arguments = {"guidance": Guidance(), "seed": 0, **arguments}
    if arguments.get("audio") is None:
        arguments["audio"] = files is not None
    with pipe:
        backend = pipe.networks.backend
        if isinstance(observer, _Profiler):
            observer.devices = set(backend.devices.values())
        plan = pipe.memory_plan(prompt, **arguments)
        stream = pipe.stream(prompt, **arguments)
        for _ in stream:
            pass
        # Reading the attribute decodes the sound.
        _ = stream.sound
    flop = {phase.name: phase.flop for phase in plan.phases}
    operations = observer.operations if isinstance(observer, _Profiler) else {}
    phases = tuple(
        BenchmarkPhase(
            name=phase.name,
            seconds=phase.seconds,
            peak_bytes=phase.peak_bytes,
            flop=flop.get(phase.name, 0.0),
            stored_bytes=backend.stored_bytes(pipe.models, phase.name),
            operations=operations.get(phase.name, {}),
        )
        for phase in recorder.phases
    )
    return Benchmark(phases, *backend.peak(), stream.info)


class _Profiler(Observer):
    """Takes the times of the devices' operations at the end of every phase."""

    def __init__(self, recorder: PhaseRecorder) -> None:
        self._recorder = recorder
        self.devices: Collection[_core.Device] = ()
        self.operations: dict[str, dict[str, tuple[int, float]]] = {}

    def phase_started(self, name: str, total: int | None = None) -> None:
        self._recorder.phase_started(name, total)
        for device in self.devices:
            device.start_profile()

    def phase_progress(self, name: str, done: int, total: int) -> None:
        self._recorder.phase_progress(name, done, total)

    def phase_ended(self, name: str, seconds: float, peak_bytes: int) -> None:
        profiles = [device.take_profile() for device in self.devices]
        # One of them computes in a phase.
        self.operations[name] = max(profiles, key=len, default={})
        self._recorder.phase_ended(name, seconds, peak_bytes)

    def step(self, step: Step) -> None:
        self._recorder.step(step)
