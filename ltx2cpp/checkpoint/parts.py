"""Join the parts of a model that is published in several files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ltx2cpp.checkpoint.gguf import original_shape
from ltx2cpp.checkpoint.safetensors import show
from ltx2cpp.checkpoint.single import open_single
from ltx2cpp.checkpoint.tensors import CheckpointFile, TensorInfo, reading
from ltx2cpp.errors import CheckpointError

MAX_PARTS = 1000

_NUMBERED = re.compile(
    r"(?P<stem>.+)-(?P<index>[0-9]{5})-of-(?P<total>[0-9]{5})(?P<suffix>\.safetensors|\.gguf)",
    re.DOTALL,
)
_COUNT_KEY, _NUMBER_KEY, _TENSORS_KEY = "split.count", "split.no", "split.tensors.count"


@dataclass(frozen=True, slots=True)
class PartName:
    """The name of a numbered part, such as `model-00001-of-00005.safetensors`.

    Attributes:
        stem: what stands before the number.
        index: number of this part, from 1 on.
        total: number of parts, at least 2.
        suffix: ".safetensors" or ".gguf".
    """

    stem: str
    index: int
    total: int
    suffix: str

    @classmethod
    def parse(cls, name: str) -> PartName | None:
        """Return the parsed name; None for a file that is a whole by its name."""
        match = _NUMBERED.fullmatch(name)
        if match is None:
            return None
        index, total = int(match["index"]), int(match["total"])
        if total < 2 or not 1 <= index <= total:
            return None
        return cls(match["stem"], index, total, match["suffix"])

    @property
    def whole(self) -> tuple[str, int, str]:
        """What all parts of one model have in common."""
        return self.stem, self.total, self.suffix

    def names(self) -> list[str]:
        """Return the names of all parts, in order."""
        return [
            f"{self.stem}-{index:05d}-of-{self.total:05d}{self.suffix}"
            for index in range(1, self.total + 1)
        ]


def part_paths(folder: Path, part: PartName, where: str) -> list[Path]:
    """Return the paths of all parts of the model that a part belongs to.

    Args:
        folder: where the parts lie.
        part: one of them.
        where: what was named, for messages.

    Raises:
        CheckpointError: one is missing, which is named, or there are too many.
    """
    if part.total > MAX_PARTS:
        raise CheckpointError(f"{where}: has {part.total} parts (at most {MAX_PARTS} are read)")
    with reading(folder):
        present = {entry.name for entry in folder.iterdir()}
    missing = [name for name in part.names() if name not in present]
    if missing:
        more = f" and {len(missing) - 1} more are" if len(missing) > 1 else " is"
        raise CheckpointError(
            f"{where}: is a model in {part.total} parts, of which {missing[0]}{more} missing in "
            f"{folder}; download all parts into one folder"
        )
    return [folder / name for name in part.names()]


def join_parts(path: Path, parts: Sequence[CheckpointFile]) -> CheckpointFile:
    """Return safetensors shards as one file, with the metadata of the first.

    Raises:
        CheckpointError: two of them hold a tensor of one name.
    """
    return CheckpointFile(path, "sharded", parts[0].metadata, _all_tensors(str(path), parts))


def split_count(file: CheckpointFile) -> int:
    """Return in how many parts a GGUF is published by its own metadata; 1 for a whole.

    Raises:
        CheckpointError: the count is no number.
    """
    return _number(file, _COUNT_KEY, 1)


def open_split_gguf(file: CheckpointFile) -> CheckpointFile:
    """Open a GGUF that was split into parts.

    Args:
        file: any part of it, opened.

    Returns:
        the whole, under the path of the first part and with its metadata, which the others lack.

    Raises:
        CheckpointError: a part is missing, damaged, renamed, or of another split.
    """
    count, number = split_count(file), _number(file, _NUMBER_KEY, 0)
    part = PartName.parse(file.path.name)
    if part is None or (part.index, part.total) != (number + 1, count):
        raise CheckpointError(
            f"{file.path}: is part {number + 1} of {count} of a split model, and is found with "
            f"the others only under a name that ends in -{number + 1:05d}-of-{count:05d}.gguf"
        )
    parts = []
    for index, path in enumerate(part_paths(file.path.parent, part, str(file.path))):
        opened = file if index == number else open_single(path)
        found = (opened.kind, split_count(opened), _number(opened, _NUMBER_KEY, 0))
        if found != ("gguf", count, index):
            raise CheckpointError(
                f"{path}: is not part {index + 1} of {count} of the split model that "
                f"{file.path.name} belongs to"
            )
        parts.append(opened)
    first = parts[0]
    tensors = _all_tensors(str(first.path), parts)
    announced = _number(first, _TENSORS_KEY, len(tensors))
    if announced != len(tensors):
        raise CheckpointError(
            f"{first.path}: announces {announced} tensors in all parts, which hold {len(tensors)}; "
            "are they parts of one model?"
        )
    # Only the first part has the metadata, recorded shapes of all tensors among it.
    shaped = {name: original_shape(info, first.metadata) for name, info in tensors.items()}
    return CheckpointFile(first.path, "gguf", first.metadata, shaped)


def _all_tensors(where: str, parts: Sequence[CheckpointFile]) -> dict[str, TensorInfo]:
    tensors: dict[str, TensorInfo] = {}
    for part in parts:
        for name, info in part.tensors.items():
            if name in tensors:
                raise CheckpointError(
                    f"{where}: tensor '{name}' occurs in {tensors[name].path.name} and in "
                    f"{info.path.name}"
                )
            tensors[name] = info
    return tensors


def _number(file: CheckpointFile, key: str, default: int) -> int:
    value: Any = file.metadata.get(key, default) if file.kind == "gguf" else default
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise CheckpointError(f"{file.path}: {key} is {show(value)}; a number is expected")
    return value
