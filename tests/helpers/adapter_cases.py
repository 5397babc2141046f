"""Adapters of every kind that is read, with what each makes of a weight by numpy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Factors = dict[str, NDArray[np.float32]]

ALPHA = 3.0
RANK = 4


@dataclass(frozen=True)
class AdapterCase:
    """The tensors of one module by the end of their keys, and the matrix that they stand for.

    Attributes:
        tensors: end of a key -> values.
        matrix: what is added to the weight, alpha / rank included, before magnitudes.
    """

    tensors: Factors
    matrix: Array

    def change(self, weight: Array) -> Array:
        """Return what a strength of 1 adds to a weight (out, in)."""
        changed = weight + self.matrix
        for key in ("dora_scale", "lora_magnitude_vector.weight"):
            if key in self.tensors:
                magnitude = self.tensors[key].astype(np.float64)
                magnitude = magnitude[:, None] if magnitude.ndim == 1 else magnitude
                along = 1 if magnitude.shape[0] > 1 else 0
                lengths = np.linalg.norm(changed, axis=along, keepdims=True)
                return np.asarray(magnitude * changed / lengths - weight)
        return self.matrix

    def under(self, module: str) -> Factors:
        """Return the tensors under the keys of a module."""
        return {f"{module}.{end}": values for end, values in self.tensors.items()}


def _random(rng: np.random.Generator, *shape: int) -> NDArray[np.float32]:
    return (rng.standard_normal(shape) * 0.4).astype(np.float32)


def _product(tensors: Mapping[str, NDArray[np.float32]], left: str, right: str) -> Array:
    return tensors[left].astype(np.float64) @ tensors[right].astype(np.float64)


def _alpha() -> NDArray[np.float32]:
    return np.asarray(ALPHA, np.float32)


def _lora(rng: np.random.Generator, out: int, columns: int) -> AdapterCase:
    tensors = {
        "lora_down.weight": _random(rng, RANK, columns),
        "lora_up.weight": _random(rng, out, RANK),
        "alpha": _alpha(),
    }
    product = _product(tensors, "lora_up.weight", "lora_down.weight")
    return AdapterCase(tensors, ALPHA / RANK * product)


def _loha(rng: np.random.Generator, out: int, columns: int) -> AdapterCase:
    tensors = {
        "hada_w1_a": _random(rng, out, RANK),
        "hada_w1_b": _random(rng, RANK, columns),
        "hada_w2_a": _random(rng, out, RANK),
        "hada_w2_b": _random(rng, RANK, columns),
        "alpha": _alpha(),
    }
    first, second = (_product(tensors, f"hada_w{n}_a", f"hada_w{n}_b") for n in (1, 2))
    return AdapterCase(tensors, ALPHA / RANK * first * second)


def _lokr(
    rng: np.random.Generator, out: int, columns: int, factored: tuple[bool, bool]
) -> AdapterCase:
    tensors: Factors = {"alpha": _alpha()}
    matrices = []
    for number, shape in ((1, (8, 4)), (2, (out // 8, columns // 4))):
        if factored[number - 1]:
            tensors[f"lokr_w{number}_a"] = _random(rng, shape[0], RANK)
            tensors[f"lokr_w{number}_b"] = _random(rng, RANK, shape[1])
            matrices.append(_product(tensors, f"lokr_w{number}_a", f"lokr_w{number}_b"))
        else:
            tensors[f"lokr_w{number}"] = _random(rng, *shape)
            matrices.append(tensors[f"lokr_w{number}"].astype(np.float64))
    # Of two whole matrices alpha means nothing.
    factor = ALPHA / RANK if any(factored) else 1.0
    return AdapterCase(tensors, factor * np.kron(*matrices))


def _difference(rng: np.random.Generator, out: int, columns: int) -> AdapterCase:
    # Beside one of its bias, which is left out.
    tensors = {"diff": _random(rng, out, columns), "diff_b": _random(rng, out)}
    return AdapterCase(tensors, tensors["diff"].astype(np.float64))


def _with_magnitude(
    case: AdapterCase, rng: np.random.Generator, key: str, shape: tuple[int, ...]
) -> AdapterCase:
    magnitude = (1.0 + rng.random(shape)).astype(np.float32)
    return AdapterCase(case.tensors | {key: magnitude}, case.matrix)


_Maker = Callable[[np.random.Generator, int, int], AdapterCase]

ADAPTERS: dict[str, _Maker] = {
    "lora": _lora,
    "loha": _loha,
    "lokr whole": lambda rng, out, n: _lokr(rng, out, n, (False, False)),
    "lokr half": lambda rng, out, n: _lokr(rng, out, n, (False, True)),
    "lokr other half": lambda rng, out, n: _lokr(rng, out, n, (True, False)),
    "lokr factored": lambda rng, out, n: _lokr(rng, out, n, (True, True)),
    "difference": _difference,
    "dora of outputs": lambda rng, out, n: _with_magnitude(
        _lora(rng, out, n), rng, "dora_scale", (out, 1)
    ),
    "dora of inputs": lambda rng, out, n: _with_magnitude(
        _lora(rng, out, n), rng, "dora_scale", (1, n)
    ),
    "dora of peft": lambda rng, out, n: _with_magnitude(
        _lora(rng, out, n), rng, "lora_magnitude_vector.weight", (out,)
    ),
    "loha with dora": lambda rng, out, n: _with_magnitude(
        _loha(rng, out, n), rng, "dora_scale", (out, 1)
    ),
    "lokr with dora": lambda rng, out, n: _with_magnitude(
        _lokr(rng, out, n, (False, True)), rng, "dora_scale", (1, n)
    ),
}
