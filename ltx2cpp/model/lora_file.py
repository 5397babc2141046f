"""Read what a LoRA file, or one of its relatives, changes: LoRA, LoHa, LoKr, DoRA, differences."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ltx2cpp.checkpoint import (
    AdapterForm,
    CheckpointFile,
    LowRankPair,
    MagnitudeOf,
    StoredMatrix,
    TensorInfo,
    WeightChange,
    open_checkpoint,
)
from ltx2cpp.checkpoint.safetensors import show
from ltx2cpp.errors import CheckpointError, UnsupportedError
from ltx2cpp.model.adapter_alphas import AlphaRule
from ltx2cpp.model.adapter_keys import (
    ALPHA,
    AdapterKey,
    Family,
    kind_title,
    read_key,
    unread_kind,
)

_FORMS: dict[Family, AdapterForm] = {
    "LoRA": "product",
    "LoHa": "hadamard",
    "LoKr": "kronecker",
    "weight difference": "product",
}
# The two factors of each matrix of a family, the outer one first.
_FACTORS: dict[Family, tuple[tuple[str, str], ...]] = {
    "LoRA": (("up", "down"),),
    "LoHa": (("w1_a", "w1_b"), ("w2_a", "w2_b")),
    "LoKr": (("w1_a", "w1_b"), ("w2_a", "w2_b")),
}
# Names under which a LoKr stores each matrix whole.
_WHOLE = ("w1", "w2")
_DIFFERENCE = "diff"
_MAX_FACTOR = 64


@dataclass(frozen=True, slots=True)
class StoredChange:
    """What a file makes of one module.

    Attributes:
        module: its stored name, prefix included.
        family: which of the kinds.
        matrices: one of a LoRA and of a difference, two of the others.
        factor: alpha / rank where an alpha is known, else 1.
        magnitude: (1, n), the lengths that rows or columns of the changed weight get (DoRA), or
            None.
        magnitude_of: which of them.
    """

    module: str
    family: Family
    matrices: tuple[StoredMatrix, ...]
    factor: float
    magnitude: TensorInfo | None = None
    magnitude_of: MagnitudeOf = "rows"

    @property
    def kind(self) -> str:
        return kind_title(self.family, magnitude=self.magnitude is not None)

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in) of the weight that it fits."""
        first, last = self.matrices[0].shape, self.matrices[-1].shape
        return (first[0] * last[0], first[1] * last[1]) if self.family == "LoKr" else first

    @property
    def rank(self) -> int:
        """The largest inner width of its factors; of a matrix stored whole, its smaller side."""
        return max(matrix.rank for matrix in self.matrices)

    def scaled(self, strength: float) -> LowRankPair | WeightChange:
        """Return the change with a strength; plain pairs are those that need no merging."""
        (left, right), plain = (self.matrices[0].left, self.matrices[0].right), self.kind == "LoRA"
        if plain and right is not None:
            return LowRankPair(right, left, strength * self.factor)
        return WeightChange(
            _FORMS[self.family],
            self.matrices,
            self.factor,
            strength,
            self.magnitude,
            self.magnitude_of,
        )


@dataclass(frozen=True)
class LoraFile:
    """An opened LoRA; no factor has been read yet.

    Attributes:
        file: the file.
        changes: what it makes of each module, in the order of the file.
        strangers: keys that are no part of a change, such as differences of biases.
        reference_downscale_factor: how much smaller an IC-LoRA wants its reference video.
        reference_temporal_scale_factor: how much slower it wants it.
    """

    file: CheckpointFile
    changes: tuple[StoredChange, ...]
    strangers: tuple[str, ...]
    reference_downscale_factor: int
    reference_temporal_scale_factor: int

    @property
    def kind(self) -> str:
        """The kinds of its changes: "LoRA", "DoRA", "LoKr and LoRA"."""
        return " and ".join(sorted({change.kind for change in self.changes}))


def open_lora_file(path: Path) -> LoraFile:
    """Open a LoRA and sort its keys.

    Raises:
        CheckpointError: not a model file, not a LoRA, half of a pair missing, or a bad alpha.
        UnsupportedError: an adapter of a kind that is not read, by its name.
    """
    file = open_checkpoint(path)
    unread = unread_kind(file.tensors)
    if unread is not None:
        title, name = unread
        raise UnsupportedError(
            f"{path}: this is {title} ({show(name)}), which is not implemented; plain LoRA, LoHa, "
            "LoKr, DoRA and whole differences are"
        )
    modules: dict[str, dict[AdapterKey, TensorInfo]] = {}
    alphas: dict[str, TensorInfo] = {}
    strangers = []
    for name, info in file.tensors.items():
        key = read_key(name)
        if key is not None and not _is_of_vector(key, info):
            parts = modules.setdefault(key.module, {})
            if key in parts:
                raise CheckpointError(
                    f"{path}: {show(parts[key].name)} and {show(name)} are the same factor of one "
                    "module; files with several adapters are not read"
                )
            parts[key] = info
        elif name.endswith(ALPHA):
            alphas[name.removesuffix(ALPHA)] = info
        else:
            strangers.append(name)
    if not modules:
        raise CheckpointError(
            f"{path}: is not a LoRA: none of its {len(file.tensors)} tensors is a low-rank factor "
            "(lora_A, lora_B, lora_down or lora_up, or those of LoHa and LoKr) or the difference "
            "of a matrix (diff)"
        )
    strangers += [f"{module}{ALPHA}" for module in alphas if module not in modules]
    rule = AlphaRule(file, path, alphas)
    changes = tuple(_change(path, module, parts, rule) for module, parts in modules.items())
    if rule.states_dora and all(change.magnitude is None for change in changes):
        raise CheckpointError(
            f"{path}: its configuration says use_dora, but it has no magnitudes (dora_scale or "
            "lora_magnitude_vector); the file is incomplete"
        )
    return LoraFile(
        file,
        changes,
        tuple(strangers),
        _reference_factor(file, "reference_downscale_factor"),
        _reference_factor(file, "reference_temporal_scale_factor"),
    )


def _is_of_vector(key: AdapterKey, info: TensorInfo) -> bool:
    """Return whether a key is the difference of a bias or a norm, which are left as they are."""
    return key.part == _DIFFERENCE and sum(extent != 1 for extent in info.shape) < 2


def _change(
    path: Path, module: str, parts: Mapping[AdapterKey, TensorInfo], rule: AlphaRule
) -> StoredChange:
    where = f"{path}: the LoRA of {show(module)}"
    families = list(dict.fromkeys(key.family for key in parts if key.family is not None))
    if not families:
        raise CheckpointError(f"{where} has magnitudes and no factors; the file is incomplete")
    if len(families) > 1:
        raise CheckpointError(
            f"{where} is both a {families[0]} and a {families[1]}; files with several adapters are "
            "not read"
        )
    family = families[0]
    factors = {key.part: info for key, info in parts.items() if key.part != "magnitude"}
    matrices = _matrices(family, factors, where)
    if family == "LoHa" and matrices[0].shape != matrices[1].shape:
        raise CheckpointError(
            f"{where} multiplies matrices of {list(matrices[0].shape)} and "
            f"{list(matrices[1].shape)} by elements; they do not belong together"
        )
    ranks = [matrix.left.shape[1] for matrix in matrices if matrix.right is not None]
    # Whole matrices have no rank, and whatever is stated as their alpha is not applied.
    factor = rule.factor(module, ranks[-1], where) if ranks else 1.0
    change = StoredChange(module, family, matrices, factor)
    magnitudes = [info for key, info in parts.items() if key.part == "magnitude"]
    if not magnitudes:
        return change
    magnitude, magnitude_of = _magnitude(magnitudes[0], change.shape, where)
    return StoredChange(module, family, matrices, factor, magnitude, magnitude_of)


def _matrices(
    family: Family, factors: Mapping[str, TensorInfo], where: str
) -> tuple[StoredMatrix, ...]:
    if family == "weight difference":
        return (StoredMatrix(_as_matrix(factors[_DIFFERENCE], where)),)
    return tuple(
        _matrix(factors, pair, whole, where)
        for pair, whole in zip(_FACTORS[family], _WHOLE, strict=False)
    )


def _matrix(
    factors: Mapping[str, TensorInfo], pair: tuple[str, str], whole: str, where: str
) -> StoredMatrix:
    present = [part for part in pair if part in factors]
    if whole in factors:
        if present:
            raise CheckpointError(
                f"{where} has {whole} whole and as factors; the file is not what it seems"
            )
        return StoredMatrix(_as_matrix(factors[whole], where))
    if not present:
        raise CheckpointError(
            f"{where} has neither {pair[0]} nor {pair[1]}; the file is incomplete"
        )
    if len(present) == 1:
        (half,) = present
        raise CheckpointError(
            f"{where} has only its {half} factor ({show(factors[half].name)}); the file is "
            "incomplete"
        )
    left, right = (_as_matrix(factors[part], where) for part in pair)
    if left.shape[1] != right.shape[0]:
        raise CheckpointError(
            f"{where} has factors of ranks {right.shape[0]} and {left.shape[1]}, shapes "
            f"{list(right.shape)} and {list(left.shape)}; they do not belong together"
        )
    return StoredMatrix(left, right)


def _magnitude(
    info: TensorInfo, shape: tuple[int, int], where: str
) -> tuple[TensorInfo, MagnitudeOf]:
    """Return magnitudes as (1, n), and whether they are those of rows or of columns.

    peft and the newer LyCORIS have one for each output, (out,) or (out, 1); ComfyUI's and the older
    form is one for each input, (1, in).
    """
    _check_type(info, where)
    extents = [n for n in info.shape if n != 1]
    count = math.prod(info.shape)
    of_columns = len(info.shape) > 1 and info.shape[0] == 1 and count == shape[1]
    if len(extents) <= 1 and not of_columns and count == shape[0]:
        magnitude_of: MagnitudeOf = "rows"
    elif len(extents) <= 1 and count == shape[1]:
        magnitude_of = "columns"
    else:
        raise CheckpointError(
            f"{where} has magnitudes {show(info.name)} of shape {list(info.shape)}; one for each "
            f"of its {shape[0]} outputs or {shape[1]} inputs is expected"
        )
    return _reshaped(info, (1, count)), magnitude_of


def _as_matrix(info: TensorInfo, where: str) -> TensorInfo:
    """Drop the trailing ones of factors that were stored as 1x1 convolutions."""
    shape = info.shape
    while len(shape) > 2 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) != 2 or 0 in shape:
        raise CheckpointError(
            f"{where} has a factor {show(info.name)} of shape {list(info.shape)}; a matrix is "
            "expected"
        )
    _check_type(info, where)
    return _reshaped(info, shape)


def _check_type(info: TensorInfo, where: str) -> None:
    if not (info.dtype.is_float or info.dtype.is_quantized):
        raise UnsupportedError(
            f"{where} is stored as {info.dtype}, which is not implemented; use a bf16, f16 or f32 "
            "file"
        )


def _reshaped(info: TensorInfo, shape: tuple[int, ...]) -> TensorInfo:
    if shape == info.shape:
        return info
    return TensorInfo(info.name, info.dtype, shape, info.path, info.offset, info.size_bytes)


def _reference_factor(file: CheckpointFile, key: str) -> int:
    value = file.metadata.get(key)
    if value is None:
        return 1
    match = re.fullmatch(r"(\d{1,3})(\.0*)?", str(value).strip())
    if match is None or not 1 <= int(match[1]) <= _MAX_FACTOR:
        raise CheckpointError(
            f"{file.path}: {key} is {show(value)}; a whole number from 1 to {_MAX_FACTOR} is "
            "expected"
        )
    return int(match[1])
