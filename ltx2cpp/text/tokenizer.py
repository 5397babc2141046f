"""Gemma's tokenizer from any of the containers it is shipped in. Never uses the network.

All containers give the ids that the Hugging Face fast tokenizer gives, which the models were
trained with: user-defined and control pieces are cut out of the raw text first, longest match
first, and only the text between them is split into subwords.

Source: Hugging Face transformers, Gemma tokenizer; Google sentencepiece, model format.
"""

from __future__ import annotations

import copy
import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ltx2cpp.errors import ArgumentError, CheckpointError, UnsupportedError
from ltx2cpp.text.fast_tokenizer import (
    LARGEST_ID,
    FastSubwords,
    read_json,
    refusing,
    require_text_room,
)
from ltx2cpp.text.sentencepiece_model import Piece, PieceType, read_pieces, write_model

MAX_TOKENS = 1024  # BOS included; the length of the connector's input

_BOS = "<bos>"
_SPACE = "\u2581"  # how pieces spell a space
_MAX_CHARACTERS = 1 << 20
# A piece that is one byte, and pieces that order a text and are no part of it.
_KINDS = {int(kind): kind for kind in PieceType}
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_MARK = re.compile(
    r"<(?:bos|eos|pad|unk|mask|unused\d+|\w+_of_\w+|\w+_soft_token|\|\w+\|?|\w+\|)>|\[multimodal\]"
)
# Scripts without spaces have words of any length; of these, pieces count.
_WORD = re.compile(r"\S{1,40}")


@dataclass(frozen=True)
class Cut:
    """What of a prompt is past the tokens that the text encoder takes.

    Attributes:
        num_tokens: tokens of the whole prompt, BOS included.
        word: number of the first word that is not seen whole, from 1.
        num_words: words of the whole prompt.
        text: the prompt from there on.
    """

    num_tokens: int
    word: int
    num_words: int
    text: str


class _Subwords(Protocol):
    """Splits text that holds no special piece."""

    def ids(self, text: str) -> list[int]: ...

    def piece(self, token: int) -> str | None: ...


class Tokenizer:
    """Turns a prompt into the ids of Gemma's text model.

    Example:
        >>> Tokenizer.from_file(Path("gemma-3-12b-it/tokenizer.model")).encode("A cat.")
    """

    def __init__(self, subwords: _Subwords, special: Mapping[str, int], bos_id: int) -> None:
        self._subwords = subwords
        self._special = dict(special)
        self._bos_id = bos_id
        self._repeats_bos = True
        # Lengths to try at a position, by the character that stands there.
        lengths: dict[str, set[int]] = {}
        for piece in self._special:
            lengths.setdefault(piece[0], set()).add(len(piece))
        self._lengths = {first: sorted(sizes, reverse=True) for first, sizes in lengths.items()}

    @classmethod
    def from_file(cls, path: Path) -> Tokenizer:
        """Read ``tokenizer.model`` or ``tokenizer.json``, told apart by their content.

        Raises:
            CheckpointError: the file cannot be read or is neither.
        """
        try:
            payload = path.read_bytes()
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from error
        if payload.lstrip()[:1] == b"{":
            return cls.from_json(payload, str(path))
        return cls.from_sentencepiece(payload, str(path))

    @classmethod
    def from_sentencepiece(cls, payload: bytes, where: str) -> Tokenizer:
        """Read the bytes of a sentencepiece model.

        Args:
            payload: the file, or the ``spiece_model`` tensor of a text encoder.
            where: file or tensor name for errors.

        Raises:
            CheckpointError: malformed, or not a Gemma vocabulary.
        """
        return cls._from_pieces(read_pieces(payload, where), payload, where)

    @classmethod
    def from_gguf_metadata(cls, metadata: Mapping[str, Any], where: str) -> Tokenizer:
        """Read the vocabulary that llama.cpp puts into a GGUF file.

        Args:
            metadata: key values of the file; ``tokenizer.ggml.*`` is used.
            where: file name for errors.

        Raises:
            CheckpointError: keys are missing or do not fit together.
            UnsupportedError: a vocabulary of another kind.
        """
        kind = metadata.get("tokenizer.ggml.model")
        if not isinstance(kind, str):
            raise CheckpointError(
                f"{where}: holds no vocabulary (no tokenizer.ggml.model); give tokenizer="
            )
        tokens = _strings(metadata, "tokenizer.ggml.tokens", where)
        types = _numbers(metadata, "tokenizer.ggml.token_type", len(tokens), where)
        bos_id = _bos_id(metadata, tokens, where)
        if kind == "llama":
            scores = _numbers(metadata, "tokenizer.ggml.scores", len(tokens), where)
            pieces = [
                _piece(token, score, int(number), where)
                for token, score, number in zip(tokens, scores, types, strict=True)
            ]
            return cls._from_pieces(pieces, write_model(pieces), where, bos_id)
        # llama.cpp's name for the same kind in Gemma 4.
        if kind in ("gpt2", "gemma4"):
            return cls._from_merges(metadata, tokens, types, bos_id, where)
        raise UnsupportedError(
            f"{where}: tokenizer.ggml.model is {kind!r:.60}, expected 'llama', 'gpt2' or 'gemma4' "
            "as Gemma has"
        )

    @classmethod
    def from_json(cls, payload: bytes, where: str) -> Tokenizer:
        """Read the bytes of a Hugging Face ``tokenizer.json``.

        Args:
            payload: the file, or the ``tokenizer_json`` tensor of a text encoder.
            where: file or tensor name for errors.

        Raises:
            CheckpointError: malformed, or no ``<bos>``.
        """
        tokenizer = read_json(payload, where)
        bos_id = tokenizer.token_to_id(_BOS)
        if bos_id is None:
            raise CheckpointError(f"{where}: the vocabulary has no {_BOS}; not a Gemma tokenizer")
        # The package cuts its added tokens out of the raw text itself.
        if bos_id > LARGEST_ID:
            raise CheckpointError(
                f"{where}: {_BOS} has the id {bos_id}, expected at most {LARGEST_ID}"
            )
        return cls(FastSubwords(tokenizer, where), {}, bos_id)

    @classmethod
    def _from_pieces(
        cls, pieces: Sequence[Piece], model: bytes, where: str, bos_id: int | None = None
    ) -> Tokenizer:
        special = {
            piece.text: index
            for index, piece in enumerate(pieces)
            if piece.kind in (PieceType.UNKNOWN, PieceType.CONTROL, PieceType.USER_DEFINED)
            and piece.text
        }
        if bos_id is None:
            bos_id = special.get(_BOS)
        if bos_id is None:
            raise CheckpointError(f"{where}: the vocabulary has no {_BOS}; not a Gemma tokenizer")
        return cls(_PieceSubwords(model, len(pieces), where), special, bos_id)

    @classmethod
    def _from_merges(
        cls,
        metadata: Mapping[str, Any],
        tokens: Sequence[str],
        types: Sequence[float],
        bos_id: int,
        where: str,
    ) -> Tokenizer:
        import tokenizers
        from tokenizers import models, normalizers

        if any("\u0120" in token for token in tokens):
            raise UnsupportedError(
                f"{where}: the vocabulary is of GPT-2's byte-level kind; Gemma 3 has none, "
                "so this is another model's tokenizer"
            )
        kinds = [_kind(int(number), where) for number in types]
        special = {
            token: index
            for index, (token, kind) in enumerate(zip(tokens, kinds, strict=True))
            if kind in (PieceType.UNKNOWN, PieceType.CONTROL, PieceType.USER_DEFINED) and token
        }
        merges = []
        for line in _strings(metadata, "tokenizer.ggml.merges", where):
            left, _, right = line.partition(" ")
            if not left or not right or " " in right:
                raise CheckpointError(f"{where}: merge {line[:60]!r} is not a pair of pieces")
            merges.append((left, right))
        unknown = [t for t, kind in zip(tokens, kinds, strict=True) if kind is PieceType.UNKNOWN]
        require_text_room(sum(map(len, tokens)) + sum(len(a) + len(b) for a, b in merges), where)
        with refusing(f"{where}: vocabulary and merges do not fit"):
            model = models.BPE(
                vocab={token: index for index, token in enumerate(tokens)},
                merges=merges,
                unk_token=unknown[0] if unknown else None,
                fuse_unk=True,
                byte_fallback=True,
            )
        tokenizer = tokenizers.Tokenizer(model)
        tokenizer.normalizer = normalizers.Replace(" ", _SPACE)
        return cls(FastSubwords(tokenizer, where), special, bos_id)

    def with_one_bos(self) -> Tokenizer:
        """Return the tokenizer by the rule of Gemma 4: no BOS before one that is written.


        Source: ltx-core 1.2.0, text encoder of LTX-2.5.
        """
        tokenizer = copy.copy(self)
        tokenizer._repeats_bos = False
        return tokenizer

    def encode(self, prompt: str) -> NDArray[np.int32]:
        """Return the ids of ``prompt``, int32 (n,) with n in 1..1024.

        White space at both ends is dropped, BOS comes first, nothing is appended, and ids past the
        1024th are cut off. Spellings of special pieces, ``<bos>`` too, give their ids.

        Raises:
            ArgumentError: not a string, longer than a million characters, or not valid Unicode.
        """
        text = self._checked(prompt).strip()
        return np.asarray(self._ids(text)[:MAX_TOKENS], np.int32)

    def cut(self, prompt: str) -> Cut | None:
        """Return what `encode` cuts off a prompt, None where all of it fits.

        Raises:
            ArgumentError: as `encode`.
        """
        text = self._checked(prompt).strip()
        num_tokens = len(self._ids(text))
        if num_tokens <= MAX_TOKENS:
            return None
        words = list(_WORD.finditer(text))
        # The first word up to whose end the text has too many tokens.
        first = bisect_left(
            words, MAX_TOKENS + 1, key=lambda word: len(self._ids(text[: word.end()]))
        )
        start = words[min(first, len(words) - 1)].start()
        return Cut(
            num_tokens=num_tokens,
            word=len(text[: start + 1].split()),
            num_words=len(text.split()),
            text=text[start:],
        )

    def _ids(self, text: str) -> list[int]:
        """Return all ids of a text, <bos> first."""
        ids = [self._bos_id, *self.text_ids(text)]
        if not self._repeats_bos and ids[1:2] == [self._bos_id]:
            del ids[0]
        return ids

    @property
    def bos_id(self) -> int:
        """The id that begins every text."""
        return self._bos_id

    def text_ids(self, text: str) -> list[int]:
        """Return the ids of a part of a text as it stands, without <bos> and however many."""
        ids: list[int] = []
        for part in self._parts(text):
            if isinstance(part, int):
                ids.append(part)
            else:
                ids.extend(self._subwords.ids(part))
        return ids

    def id_of(self, piece: str) -> int | None:
        """Return the id of a special piece; None where the vocabulary does not have it as one."""
        ids = self.text_ids(piece)
        return ids[0] if len(ids) == 1 and self._subwords.piece(ids[0]) == piece else None

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids; marks such as ``<bos>`` say nothing.

        Bytes that are no UTF-8 become U+FFFD.
        """
        encoded = b"".join(_bytes_of(self._subwords.piece(token)) for token in ids)
        return encoded.decode("utf-8", errors="replace")

    @staticmethod
    def _checked(prompt: str) -> str:
        if not isinstance(prompt, str):
            raise ArgumentError(f"prompt: expected a string, found {type(prompt).__name__}")
        if len(prompt) > _MAX_CHARACTERS:
            raise ArgumentError(
                f"prompt: expected at most {_MAX_CHARACTERS} characters, found {len(prompt)}"
            )
        try:
            prompt.encode("utf-8")
        except UnicodeEncodeError as error:
            raise ArgumentError(
                f"prompt: character {error.start} is half of a surrogate pair, not valid Unicode"
            ) from error
        return prompt

    def _parts(self, text: str) -> Iterator[str | int]:
        """Yield the ids of special pieces and the stretches of text between them, in order."""
        start = position = 0
        while position < len(text):
            piece = self._special_at(text, position)
            if piece is None:
                position += 1
                continue
            if start < position:
                yield text[start:position]
            position += len(piece)
            start = position
            yield self._special[piece]
        if start < len(text):
            yield text[start:]

    def _special_at(self, text: str, position: int) -> str | None:
        for length in self._lengths.get(text[position], ()):
            candidate = text[position : position + length]
            if candidate in self._special:
                return candidate
        return None


class _PieceSubwords:
    """sentencepiece's own BPE."""

    def __init__(self, model: bytes, num_pieces: int, where: str) -> None:
        import sentencepiece

        self._where = where
        require_text_room(len(model), where)
        self._processor = sentencepiece.SentencePieceProcessor()
        try:
            self._processor.LoadFromSerializedProto(model)
        except RuntimeError as error:
            raise CheckpointError(f"{where}: sentencepiece refuses the model ({error})") from error
        if self._processor.GetPieceSize() != num_pieces:
            raise CheckpointError(
                f"{where}: expected {num_pieces} pieces, sentencepiece reads "
                f"{self._processor.GetPieceSize()}"
            )

    def ids(self, text: str) -> list[int]:
        require_text_room(len(text), self._where)
        ids: list[int] = self._processor.EncodeAsIds(text)
        return ids

    def piece(self, token: int) -> str | None:
        """Return how the vocabulary spells an id, None past its end."""
        if not 0 <= token < self._processor.GetPieceSize():
            return None
        spelled: str = self._processor.IdToPiece(token)
        return spelled


def _bytes_of(piece: str | None) -> bytes:
    """Return what a piece of the vocabulary stands for."""
    if piece is None or _MARK.fullmatch(piece):
        return b""
    if byte := _BYTE.fullmatch(piece):
        return bytes.fromhex(byte[1])
    return piece.replace(_SPACE, " ").encode()


def _strings(metadata: Mapping[str, Any], key: str, where: str) -> Sequence[str]:
    values = metadata.get(key)
    if not isinstance(values, (list, tuple)) or not values:
        raise CheckpointError(f"{where}: {key} is missing or not a list")
    if not all(isinstance(value, str) for value in values):
        raise CheckpointError(f"{where}: {key} holds values that are not text")
    try:
        "".join(values).encode("utf-8")
    except UnicodeEncodeError as error:
        raise CheckpointError(f"{where}: {key} holds text that is not valid Unicode") from error
    return values


def _numbers(metadata: Mapping[str, Any], key: str, count: int, where: str) -> Sequence[float]:
    values = metadata.get(key)
    amount = len(values) if isinstance(values, (list, tuple, np.ndarray)) else None
    if amount != count:
        found = "no list" if amount is None else f"{amount} values"
        raise CheckpointError(f"{where}: {key} should hold {count} values, found {found}")
    numbers = np.asarray(values)
    with np.errstate(over="ignore", invalid="ignore"):  # what does not fit is refused
        fits = numbers.dtype.kind in "fiu" and np.isfinite(numbers.astype(np.float32)).all()
    if not fits or numbers.ndim != 1:
        raise CheckpointError(f"{where}: {key} holds values that are not finite float32 numbers")
    listed: list[float] = numbers.tolist()
    return listed


def _bos_id(metadata: Mapping[str, Any], tokens: Sequence[str], where: str) -> int:
    bos_id = metadata.get("tokenizer.ggml.bos_token_id")
    if bos_id is None and _BOS in tokens:
        bos_id = tokens.index(_BOS)
    if not isinstance(bos_id, (int, np.integer)) or not 0 <= bos_id < len(tokens):
        raise CheckpointError(
            f"{where}: tokenizer.ggml.bos_token_id is {bos_id!r}, expected 0 to {len(tokens) - 1}"
        )
    return int(bos_id)


def _kind(number: int, where: str) -> PieceType:
    kind = _KINDS.get(number)
    if kind is None:
        raise CheckpointError(f"{where}: tokenizer.ggml.token_type holds {number}, expected 1 to 6")
    return kind


def _piece(token: str, score: float, number: int, where: str) -> Piece:
    kind = _kind(number, where)
    if kind is PieceType.USER_DEFINED:
        # llama.cpp's converter stores these with real spaces.
        token = token.replace(" ", _SPACE)
    return Piece(token, score, kind)
