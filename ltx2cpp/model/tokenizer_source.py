"""Find the vocabulary that belongs to a text encoder, in any of its containers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ltx2cpp.checkpoint import CheckpointFile, TensorInfo, open_checkpoint, read_bytes
from ltx2cpp.checkpoint.gguf import MAGIC
from ltx2cpp.checkpoint.hub import snapshot_of
from ltx2cpp.checkpoint.single import HEAD_BYTES, read_head, refuse_stranger
from ltx2cpp.errors import CheckpointError
from ltx2cpp.paths import is_file, is_folder

if TYPE_CHECKING:
    from ltx2cpp.model.source import Source
    from ltx2cpp.text.tokenizer import Tokenizer

# The reference uses tokenizer.json, so it comes first where a folder has both.
_FILE_NAMES = ("tokenizer.json", "tokenizer.model")
_TENSOR_NAMES = ("tokenizer_json", "hf_asset__tokenizer.json", "spiece_model")


@dataclass(frozen=True)
class TokenizerSource:
    """Where the vocabulary is: in a file, in a tensor, or in the metadata of a GGUF.

    Attributes:
        kind: container of the vocabulary.
        path: the file.
        tensor: the tensor that holds it, for files with an embedded tokenizer.
        gguf: the opened GGUF, for kind "gguf".
    """

    kind: Literal["sentencepiece", "tokenizer_json", "gguf"]
    path: Path
    tensor: TensorInfo | None = None
    gguf: CheckpointFile | None = None

    def open(self) -> Tokenizer:
        """Read the vocabulary."""
        from ltx2cpp.text.tokenizer import Tokenizer

        if self.gguf is not None:
            return Tokenizer.from_gguf_metadata(self.gguf.metadata, str(self.path))
        if self.tensor is None:
            return Tokenizer.from_file(self.path)
        where = f"{self.path}: {self.tensor.name}"
        if self.kind == "tokenizer_json":
            return Tokenizer.from_json(read_bytes(self.tensor), where)
        return Tokenizer.from_sentencepiece(read_bytes(self.tensor), where)


def find_tokenizer(path: Path | None, sources: Mapping[str, Source]) -> TokenizerSource | None:
    """Find the tokenizer of a model.

    Args:
        path: what the user gave; None looks in and beside the text encoder.
        sources: role -> opened file.

    Returns:
        the tokenizer; None when no path was given and none was found.

    Raises:
        CheckpointError: the given path holds no tokenizer.
    """
    if path is not None:
        return _source_at(path)
    for role in ("text_encoder", "checkpoint"):
        source = sources.get(role)
        if source is None:
            continue
        tokenizer = _inside(source.file) or (
            _beside(source.path) if role == "text_encoder" else None
        )
        if tokenizer is not None:
            return tokenizer
    return None


def _source_at(path: Path) -> TokenizerSource:
    if is_folder(path):
        tokenizer = _in_folder(snapshot_of(path))
        if tokenizer is None:
            raise CheckpointError(f"{path}: holds neither {' nor '.join(_FILE_NAMES)}")
        return tokenizer
    head = read_head(path, HEAD_BYTES)
    if not head:
        raise CheckpointError(f"{path}: is empty, so no tokenizer")
    if head.startswith(MAGIC):
        file = open_checkpoint(path)
        return _inside(file) or TokenizerSource("gguf", path, gguf=file)
    if path.suffix == ".safetensors":
        tokenizer = _inside(open_checkpoint(path))
        if tokenizer is None:
            raise CheckpointError(f"{path}: holds no tokenizer tensor ({', '.join(_TENSOR_NAMES)})")
        return tokenizer
    return _from_file(path, head)


def _from_file(path: Path, head: bytes) -> TokenizerSource:
    refuse_stranger(path, head)
    json = head.lstrip().startswith(b"{")
    return TokenizerSource("tokenizer_json" if json else "sentencepiece", path)


def _inside(file: CheckpointFile) -> TokenizerSource | None:
    for name in _TENSOR_NAMES:
        # A checkpoint that holds the text encoder has a prefix before it.
        inside = (each for each in file.tensors if each == name or each.endswith(f".{name}"))
        info = file.tensors.get(next(inside, ""))
        if info is not None:
            kind: Literal["sentencepiece", "tokenizer_json"] = (
                "sentencepiece" if name == "spiece_model" else "tokenizer_json"
            )
            return TokenizerSource(kind, info.path, tensor=info)
    if file.kind == "gguf" and "tokenizer.ggml.model" in file.metadata:
        return TokenizerSource("gguf", file.path, gguf=file)
    return None


def _beside(path: Path) -> TokenizerSource | None:
    """Look in the folder of the text encoder, then where diffusers puts the tokenizer."""
    folder = path if is_folder(path) else path.parent
    return _in_folder(folder) or _in_folder(folder.parent / "tokenizer")


def _in_folder(folder: Path) -> TokenizerSource | None:
    for name in _FILE_NAMES:
        path = folder / name
        if is_file(path):
            return _from_file(path, read_head(path, HEAD_BYTES))
    return None
