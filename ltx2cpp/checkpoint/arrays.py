"""Small files of arrays that the package wrote itself: contexts, records, colours."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from ltx2cpp.errors import CheckpointError


def arrays_in(payload: bytes) -> dict[str, NDArray[Any]]:
    """Return the arrays of a safetensors file that was read whole, by name.

    The format's own library says in errors of five kinds that bytes are damaged, among them what
    numpy says of a type that it does not have.

    Raises:
        CheckpointError: they are; the sentence names no file.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return load(payload)
    except (SafetensorError, ValueError, LookupError, AttributeError, TypeError) as error:
        raise CheckpointError(str(error)) from error
