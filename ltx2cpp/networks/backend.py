"""What all networks of a pipeline share: the device, and how weights get there."""

from __future__ import annotations

import copy
import dataclasses
import functools
import logging
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ltx2cpp import _core
from ltx2cpp.checkpoint import DType, WeightChange, WeightRef
from ltx2cpp.devices import PARTS, Devices, Part, spell_parts
from ltx2cpp.errors import ArgumentError
from ltx2cpp.machine.process_memory import available_bytes
from ltx2cpp.machine.processors import default_threads
from ltx2cpp.memory.plan import CPU
from ltx2cpp.model.lora import check_lora_mode
from ltx2cpp.model.quantization import target_dtype
from ltx2cpp.networks.finite import check_finite
from ltx2cpp.networks.lazy import LazyNetwork
from ltx2cpp.options import LoraMode, Offload, check_weight_type

if TYPE_CHECKING:
    from ltx2cpp.model.components import Component
    from ltx2cpp.model.model_set import ModelSet
    from ltx2cpp.observing import Observer
    from ltx2cpp.values import FloatArray

logger = logging.getLogger("ltx2cpp")


class _Loadable(Protocol):
    def load(self) -> None: ...


class _Streamable(_Loadable, Protocol):
    def stream_weights(self, drop_cached: bool = False) -> None: ...


N = TypeVar("N", bound=_Loadable)
S = TypeVar("S", bound=_Streamable)

# The largest share of a network's bytes that may be made on load where weights are to be streamed;
# what is made stays in memory.
_MAX_MADE_SHARE = 0.5

# Peak rates by device and number of threads. A measurement takes seconds, so a process makes each
# of them once.
_peaks: dict[tuple[str, int], tuple[float, float]] = {}


@dataclasses.dataclass
class Settings:
    """What may change between generations, for networks on all devices alike.

    Attributes:
        lora_mode: how LoRAs are added to the weights.
        offload: what leaves memory when; a memory plan may change it.
        must_stream: whether the caller asked for weights to go behind the reader.
    """

    lora_mode: LoraMode
    offload: Offload = "phase"
    must_stream: bool = False


class Backend:
    """What all networks of one pipeline share.

    Args:
        device: "cpu", "cuda", "cuda:N", "vulkan:N" or "auto", for all networks or for each part.
        weight_type: "file" keeps weights as stored; another name converts them on load.
        threads: None takes the cores that this process may use, no more than a quota fills.
        observer: receives the loading phases.
        lora_mode: how LoRAs are added to the weights.

    Raises:
        ArgumentError: unknown weight type, device, thread count or mode.

    Attributes:
        device: the core's, of the part that this is the backend of; else of the transformer.
        settings: what may change between generations.
        threads: of the CPU, for all processes together.
        guidance: names of the devices of further processes that share the passes of guidance.
    """

    def __init__(
        self,
        device: str | Devices,
        weight_type: str,
        threads: int | None,
        observer: Observer,
        lora_mode: str = "auto",
    ) -> None:
        weight_type = check_weight_type(weight_type)
        if threads is not None and (type(threads) is not int or not 1 <= threads <= 1024):
            raise ArgumentError(f"threads: expected 1 to 1024 or None, found {threads!r}")
        devices = device if isinstance(device, Devices) else Devices.spelled(device)
        self.threads = threads or default_threads()
        self.devices, self.guidance = _opened(devices, self.threads)
        self.device = self.devices["denoise"]
        self.weight_type = weight_type
        self.settings = Settings(check_lora_mode(lora_mode))
        self.observer = observer
        # Loading phase -> components whose weights it loads.
        self._parts: dict[str, tuple[str, ...]] = {}

    def of(self, part: Part) -> Backend:
        """Return the backend of a part's networks, which shares all but the device."""
        if self.devices[part] is self.device:
            return self
        other = copy.copy(self)
        other.device = self.devices[part]
        return other

    @property
    def lora_mode(self) -> LoraMode:
        """How LoRAs are added to the weights."""
        return self.settings.lora_mode

    @property
    def offload(self) -> Offload:
        """What leaves memory when."""
        return self.settings.offload

    @property
    def must_stream(self) -> bool:
        """Whether the caller asked for weights to go behind the reader."""
        return self.settings.must_stream

    @property
    def places(self) -> str:
        """The name of the device; with several of them, which part is where."""
        names = {part: device.name for part, device in self.devices.items()}
        return spell_parts(names, self.guidance)

    def lazy(self, name: str, parts: Sequence[str], make: Callable[[], N]) -> LazyNetwork[N]:
        """Return a network that is loaded when it is first used.

        Args:
            name: what the observer hears behind "load".
            parts: components of a model set whose weights it loads.
            make: claims the weights from the files and loads none.
        """
        network = LazyNetwork(name, make, self.observer)
        self._parts[network.loading] = tuple(parts)
        return network

    def stored_bytes(self, models: ModelSet, phase: str) -> int:
        """Return the bytes as stored of the weights that a loading phase loads, 0 for others."""
        components = (getattr(models, part) for part in self._parts.get(phase, ()))
        return sum(component.size_bytes for component in components if component is not None)

    def claim(
        self,
        network: Callable[[_core.TensorTable, dict[str, Any], _core.Device], N],
        component: Component,
        weight_type: str | None = None,
    ) -> N:
        """Return a network of the core with its weights claimed, none of them loaded.

        Args:
            network: makes it.
            component: its weights.
            weight_type: type that they are loaded as; None takes that of all networks.
        """
        return network(self.table(component, weight_type), config_dict(component), self.device)

    def table(self, component: Component, weight_type: str | None = None) -> _core.TensorTable:
        """Return the core's table of a component's weights, with the types they load as."""
        table = _core.TensorTable()
        for name, ref in component.tensors.items():
            target = self._target(name, ref, weight_type or self.weight_type)
            table.add(
                name,
                *ref.info.place,
                None if target is None else str(target),
                ref.scale,
            )
            if ref.scales is not None:
                scales = ref.scales
                table.add_scales(name, scales.info.place, scales.rows, scales.columns, scales.tiled)
            if ref.rotation:
                table.set_rotation(name, ref.rotation)
            for pair in ref.low_rank:
                table.add_low_rank(name, pair.down.place, pair.up.place, pair.scale)
            for change in ref.changes:
                _add_change(table, name, change)
        if any(ref.low_rank for ref in component.tensors.values()):
            table.set_low_rank_mode(self.lora_mode)
        return table

    def finite(self, values: FloatArray, network: str, *components: Component | None) -> FloatArray:
        """Return what a network gave, or raise `NonFiniteError`; see `check_finite`."""
        return check_finite(values, network, components, self.weight_type)

    def free_bytes(self) -> int:
        """Return what the device, or the machine for the CPU, can still give; 0 where unknown."""
        return _free_bytes(self.device.name)

    def free_bytes_by_device(self) -> dict[str, Callable[[], int]]:
        """Return for each device, by its name, what tells what it can still give."""
        further = {name: functools.partial(_free_bytes, name) for name in self.guidance}
        own = {device.name: self.of(part).free_bytes for part, device in self.devices.items()}
        return {**further, **own}

    def flop_per_s_by_device(self, share: float) -> dict[str, float]:
        """Return a share of the peak rate of each device, by its name."""
        backends = {device.name: self.of(part) for part, device in self.devices.items()}
        # One that denoises on a part of the threads has others beside it that have the rest.
        return {
            name: share * each.peak()[0] * self.threads / each.device.threads
            for name, each in backends.items()
        }

    def arithmetic(self) -> dict[str, str]:
        """Return what decides, beside the weights, the last bits of what networks give."""
        features = [
            each["features"] for each in _core.devices() if each["name"] == self.device.name
        ]
        encoding = self.devices["encode"].name.partition(":")[0]
        kind = self.device.name.partition(":")[0]
        return {
            "device": kind,
            **({} if encoding == kind else {"device of the prompt": encoding}),
            "instructions of the device": " ".join(*features),
            "weight_type": self.weight_type,
            "lora_mode": self.lora_mode,
        }

    def peak(self) -> tuple[float, float]:
        """Return flop/s of a 16-bit product and bytes/s of a copy, measured once in a process."""
        key = (self.device.name, self.device.threads)
        if key not in _peaks:
            _peaks[key] = self.device.measure_peak()
        return _peaks[key]

    def stream_if_asked(self, network: S) -> S:
        """Return the network, which lets weights go behind the reader where that is asked for."""
        if self.offload in ("stream", "disk"):
            network.stream_weights(drop_cached=self.offload == "disk")
        return network

    def check_streaming(self, component: Component) -> None:
        """Raise where too little of a network could go behind the reader.

        Raises:
            ArgumentError: most of its weights are made on load; they would stay in memory.
        """
        if self.device.name != "cpu":
            # Whatever was loaded passes through the device's slots.
            return
        converted_bytes = sum(
            ref.info.size_bytes
            for name, ref in component.tensors.items()
            if len(ref.info.shape) == 2 and self._is_made(name, ref)
        )
        if converted_bytes > _MAX_MADE_SHARE * component.size_bytes:
            raise ArgumentError(
                "offload: weights that are converted on load (weight_type, fp8, weights with "
                "scales, a merged LoRA) cannot go behind the reader, and in "
                f"{component.source} these are "
                f"{100 * converted_bytes / component.size_bytes:.0f} %; give a file with the "
                "weights as they are used (ltx2cpp-cli convert), lora_mode 'runtime', or offload "
                "'phase'"
            )

    def _is_made(self, name: str, ref: WeightRef) -> bool:
        target = self._target(name, ref, self.weight_type)
        as_integers = target is DType.I8 and ref.holds_rotated_rows
        if not as_integers and not (ref.is_plain and ref.info.dtype.is_held):
            return True
        if target not in (None, ref.info.dtype):
            return True
        if ref.changes:
            return True
        eight_bits = ref.info.size_bytes >= math.prod(ref.info.shape)
        merges = self.lora_mode == "merge" or (self.lora_mode == "auto" and eight_bits)
        return bool(ref.low_rank) and merges

    def _target(self, name: str, ref: WeightRef, weight_type: str) -> DType | None:
        target = ref.target
        if weight_type != "file":
            dtype = target_dtype(name, ref.info.shape, ref.dtype, weight_type)
            target = target if dtype is None else dtype
        if self.lora_mode == "auto" and ref.changes and (target or ref.info.dtype).is_quantized:
            # Merged into fewer bits, a small change would be rounded away.
            return DType.Q8_0
        return target


def _opened(devices: Devices, threads: int) -> tuple[dict[Part, _core.Device], tuple[str, ...]]:
    """Return the devices of all parts, each opened once, and names of those of other processes.

    Raises:
        ArgumentError: there is no such device, or passes would be computed on several kinds.
    """
    by_name: dict[str, _core.Device] = {}

    def opened(part: Part, name: str) -> _core.Device:
        try:
            return by_name.setdefault(name, by_name.get(name) or _core.Device(name, threads))
        except ArgumentError as error:
            if str(devices) == name:
                raise
            raise ArgumentError(f"{part}={name}: {error}") from error

    parts = {part: opened(part, devices.by_part[part]) for part in PARTS}
    for device in by_name.values():
        if not device.runs_custom_ops:
            logger.warning(
                "%s: this build's kernels cannot run there (no hook in its ggml, or built"
                " without CUDA), so networks use ggml's operations only, which is slower",
                device.name,
            )
    guidance = tuple(opened("denoise", name).name for name in devices.guidance)
    names = (parts["denoise"].name, *guidance)
    if len({name.partition(":")[0] for name in names}) > 1:
        raise ArgumentError(
            f"device: the passes of a step are computed on devices of one kind, found "
            f"{' and '.join(names)}"
        )
    if guidance and names[0] == CPU:
        parts["denoise"] = _core.Device(CPU, share_of_threads(threads, guidance))
    return parts, guidance


def share_of_threads(threads: int, guidance: Sequence[str]) -> int:
    """Return how many of the CPU's threads each process has that computes passes there."""
    return max(1, threads // (1 + len(guidance)))


def _free_bytes(name: str) -> int:
    """Return what a device, or the machine for the CPU, can still give; 0 where unknown."""
    if name == CPU:
        return available_bytes()
    free = {device["name"]: device["free_bytes"] for device in _core.devices()}
    return int(free.get(name, 0))


def _add_change(table: _core.TensorTable, name: str, change: WeightChange) -> None:
    table.add_adapter(
        name,
        change.form,
        [
            (matrix.left.place, None if matrix.right is None else matrix.right.place)
            for matrix in change.matrices
        ],
        change.scale,
        change.strength,
        None if change.magnitude is None else change.magnitude.place,
        change.magnitude_of,
    )


def config_dict(component: Component) -> dict[str, Any]:
    """Return a configuration as the core takes it."""
    return dataclasses.asdict(component.config)
