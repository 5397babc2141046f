"""What a worker takes of a node of a cluster, and which of its GPUs are those of the command."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ltx2cpp.devices import Devices
from ltx2cpp.errors import ArgumentError

_ANY, _CPU = "auto", "cpu"


@dataclass(frozen=True)
class Share:
    """What one worker takes of a node, and how many workers there is room for."""

    threads: int
    gpus: int
    workers: int


def share_of(nodes: Sequence[Mapping[str, float]], threads: int | None, devices: Devices) -> Share:
    """Return the GPUs that the command names for each worker, else the processors of a node.

    Args:
        nodes: resources of each, as Ray tells them.
        threads: of one worker; None for what the node with the fewest has for each.
        devices: of the parts of the model. What is on any device is on the CPU where no node has a
            GPU.

    Raises:
        ArgumentError: no node has as many GPUs as are named.
    """
    gpus = len(gpus_of(devices))
    with_gpus = [node for node in nodes if gpus and node.get("GPU", 0) >= gpus]
    if gpus and not with_gpus:
        if set(_names_of(devices)) - {_ANY, _CPU}:
            most = int(max((node.get("GPU", 0) for node in nodes), default=0))
            raise ArgumentError(
                f"--ray: --device {devices} wants {gpus} GPUs of a node, and Ray knows of {most} "
                "at most; ray start --num-gpus tells it of more"
            )
        gpus = 0
    usable = with_gpus or [node for node in nodes if node.get("CPU", 0) >= 1]
    each = [node.get("CPU", 1) / (node["GPU"] // gpus if gpus else 1) for node in usable]
    threads = threads or max(1, int(min(each, default=1)))
    rooms = [node["GPU"] // gpus if gpus else node["CPU"] // threads for node in usable]
    return Share(threads, gpus, max(1, int(sum(rooms))))


def gpus_of(devices: Devices) -> list[int]:
    """Return the numbers of the GPUs that parts are on; "auto" and "cuda" are on the first."""
    return sorted({_number_of(name) for name in _names_of(devices) if name != _CPU})


def on_assigned(devices: Devices, assigned: Sequence[int | str]) -> Devices:
    """Return devices with the GPUs that a worker was given in the place of those named.

    Args:
        devices: of the parts of the model; their GPUs count from that with the lowest number.
        assigned: numbers of the worker's GPUs on its node. CUDA sees these alone and counts them
            from 0, as Ray has it; Vulkan sees all.
    """
    order = gpus_of(devices)

    def placed(name: str) -> str:
        kind = name.lower().partition(":")[0]
        if kind in (_ANY, _CPU):
            return name
        place = order.index(_number_of(name))
        return f"{kind}:{assigned[place] if kind == 'vulkan' else place}"

    parts = {part: placed(name) for part, name in devices.by_part.items()}
    return Devices(**parts, guidance=tuple(map(placed, devices.guidance)))


def _names_of(devices: Devices) -> list[str]:
    return [name.lower() for name in (*devices.by_part.values(), *devices.guidance)]


def _number_of(name: str) -> int:
    """Return the number of a GPU.

    Raises:
        ArgumentError: its name has none that counts.
    """
    number = name.partition(":")[2] or "0"
    if not (number.isascii() and number.isdecimal()):
        raise ArgumentError(f"device: expected a number after the colon, found {name!r:.60}")
    return int(number)
