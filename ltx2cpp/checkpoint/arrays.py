"""Small files of arrays that the package wrote itself: contexts, records, colours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from ltx2cpp.errors import CheckpointError
from ltx2cpp.machine.room import require_heap

# The format's library holds arrays once more in what it makes, and that once more as an object. It
# ends the process where it finds no memory.
_COPIES = 2


def safetensors_of(
    arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str] | None = None
) -> bytes:
    """Return a safetensors file of arrays, which lie in memory without gaps.

    Raises:
        DeviceMemoryError: the process may not take what its bytes take.
    """
    from safetensors.numpy import save

    size = sum(array.nbytes for array in arrays.values())
    require_heap(_COPIES * size, "a safetensors file")
    return save(dict(arrays), metadata=None if metadata is None else dict(metadata))


def arrays_in(payload: bytes) -> dict[str, NDArray[Any]]:
    """Return the arrays of a safetensors file that was read whole, by name.

    The format's own library says in errors of five kinds that bytes are damaged, among them what
    numpy says of a type that it does not have.

    Raises:
        CheckpointError: they are; the sentence names no file.
        DeviceMemoryError: the process may not take what the arrays take.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    require_heap(_COPIES * len(payload), "a safetensors file")
    try:
        return load(payload)
    except (SafetensorError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise CheckpointError(str(error)) from error
