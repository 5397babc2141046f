"""The tokenizer from every container against ids of the Hugging Face fast tokenizer."""

from __future__ import annotations

import json
import random
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ltx2cpp.errors import ArgumentError, CheckpointError, UnsupportedError
from ltx2cpp.text.fast_tokenizer import refusing
from ltx2cpp.text.sentencepiece_model import Piece, PieceType, read_pieces, write_model
from ltx2cpp.text.tokenizer import MAX_TOKENS, Cut, Tokenizer

GOLDEN = Path(__file__).parents[1] / "golden" / "tokenizer"
PROMPTS: list[dict[str, Any]] = json.loads((GOLDEN / "prompts.json").read_text())["prompts"]
MODEL = (GOLDEN / "tokenizer.model").read_bytes()
JSON = (GOLDEN / "tokenizer.json").read_bytes()


def gguf_metadata() -> dict[str, Any]:
    """The vocabulary as llama.cpp's converter writes it, deviations included."""
    tokens, scores, types = [], [], []
    for piece in read_pieces(MODEL, "tokenizer.model"):
        kind = piece.kind
        text = piece.text
        if kind is PieceType.USER_DEFINED:
            text = text.replace("\u2581", " ")
            if re.fullmatch(r"<unused\d+>|<mask>", text):
                kind = PieceType.CONTROL
        special = kind in (PieceType.CONTROL, PieceType.USER_DEFINED)
        tokens.append(text)
        scores.append(-1000.0 if special else piece.score)
        types.append(int(kind))
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": np.float32(scores),
        "tokenizer.ggml.token_type": np.int32(types),
        "tokenizer.ggml.bos_token_id": 2,
        "tokenizer.ggml.add_space_prefix": False,
    }


def gguf_merges_metadata() -> dict[str, Any]:
    """The same vocabulary as a converter writes it that only found tokenizer.json."""
    metadata = gguf_metadata()
    del metadata["tokenizer.ggml.scores"]
    merges = json.loads(JSON)["model"]["merges"]
    return {
        **metadata,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.tokens": [piece.text for piece in read_pieces(MODEL, "tokenizer.model")],
        "tokenizer.ggml.merges": [f"{left} {right}" for left, right in merges],
    }


@cache
def tokenizer(container: str) -> Tokenizer:
    if container == "gguf":
        return Tokenizer.from_gguf_metadata(gguf_metadata(), "gemma.gguf")
    if container == "gguf merges":
        return Tokenizer.from_gguf_metadata(gguf_merges_metadata(), "gemma.gguf")
    if container == "spiece_model":
        return Tokenizer.from_sentencepiece(MODEL, "gemma.safetensors: spiece_model")
    if container == "tokenizer_json":
        return Tokenizer.from_json(JSON, "gemma.safetensors: tokenizer_json")
    return Tokenizer.from_file(GOLDEN / container)


CONTAINERS = [
    "tokenizer.model",
    "tokenizer.json",
    "gguf",
    "gguf merges",
    "spiece_model",
    "tokenizer_json",
]


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("index", range(len(PROMPTS)))
def test_ids_are_the_reference(container: str, index: int) -> None:
    ids = tokenizer(container).encode(PROMPTS[index]["text"])
    assert ids.dtype == np.int32
    assert ids.tolist() == PROMPTS[index]["ids"]


def test_containers_agree_on_random_text() -> None:
    pieces = [*" abcdehlnorstuw\u2581\n\t<>.,\u00e9\u6771\U0001f600", "  ", "   ", "\n\n", "the"]
    pieces += ["<b>", "</b>", "<bos>", "<unused3>", "<table>", "ing", "\u2581" * 2, " " * 33]
    source = random.Random(0)
    for _ in range(500):
        text = "".join(source.choices(pieces, k=source.randint(1, 25)))
        want = tokenizer("tokenizer.json").encode(text).tolist()
        for container in ("tokenizer.model", "gguf", "gguf merges"):
            assert tokenizer(container).encode(text).tolist() == want, (container, text)


def test_bos_is_first_and_once() -> None:
    for container in CONTAINERS:
        assert tokenizer(container).encode("").tolist() == [2]
        assert tokenizer(container).encode("a dog").tolist().count(2) == 1


def test_control_words_of_the_user_give_their_ids() -> None:
    for container in CONTAINERS:
        assert tokenizer(container).encode("<pad><eos><bos><unk>").tolist() == [2, 0, 1, 2, 3]


def test_white_space_at_the_ends_is_dropped() -> None:
    encode = tokenizer("tokenizer.model").encode
    assert encode("\u3000 a dog\n ").tolist() == encode("a dog").tolist()


def test_long_prompts_keep_the_first_ids() -> None:
    for container in CONTAINERS:
        ids = tokenizer(container).encode("the dog " * 2000)
        assert ids.size == MAX_TOKENS
        assert ids[0] == 2
        np.testing.assert_array_equal(
            ids[:100], tokenizer(container).encode("the dog " * 200)[:100]
        )


def test_what_is_cut_off_is_told() -> None:
    # Each word is one token, and <bos> another.
    kept = "the dog " * 511 + "the"
    for container in CONTAINERS:
        cut = tokenizer(container).cut
        assert cut(kept) is None
        assert cut(f"  {kept} dog the") == Cut(1026, word=1024, num_words=1025, text="dog the")
    # The text is in the cut where its end has no space and many tokens.
    found = tokenizer("tokenizer.model").cut("\u6771\u4eac" * 3000)
    assert found is not None
    assert (found.word, found.num_words) == (1, 1)
    kept = "\u6771\u4eac" * 3000
    kept = kept[: len(kept) - len(found.text)]
    assert 0 <= MAX_TOKENS - len(tokenizer("tokenizer.model").encode(kept)) <= 40


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (None, "expected a string"),
        (b"bytes", "expected a string"),
        ("half \ud83d of a pair", "character 5 is half"),
        ("x" * (2**20 + 1), "at most 1048576 characters"),
    ],
)
def test_prompts_that_are_not_text_are_refused(prompt: Any, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        tokenizer("tokenizer.model").encode(prompt)


def test_pieces_survive_writing_and_reading() -> None:
    pieces = read_pieces(MODEL, "tokenizer.model")
    assert len(pieces) == 900
    assert pieces[2] == Piece("<bos>", 0.0, PieceType.CONTROL)
    assert read_pieces(write_model(pieces), "copy") == pieces


@pytest.mark.parametrize("cut", [1, 7, 100, 9000, len(MODEL) - 1])
def test_truncated_models_are_refused(cut: int) -> None:
    with pytest.raises(CheckpointError, match=r"^cut\.model: "):
        Tokenizer.from_sentencepiece(MODEL[:cut], "cut.model")


def test_garbage_is_refused_whatever_it_is() -> None:
    source = random.Random(1)
    for _ in range(200):
        damaged = bytearray(MODEL[: source.randint(1, 4000)])
        for _ in range(source.randint(1, 20)):
            damaged[source.randrange(len(damaged))] = source.randrange(256)
        with pytest.raises(CheckpointError, match=r"^bad\.model: "):
            Tokenizer.from_sentencepiece(bytes(damaged), "bad.model")


@pytest.mark.parametrize(
    "payload", [b"{", b"{}", b'{"model": 3}', b"\xff\xfe{", JSON[: len(JSON) // 2]]
)
def test_broken_json_is_refused(payload: bytes) -> None:
    with pytest.raises(CheckpointError, match=r"not a readable tokenizer\.json"):
        Tokenizer.from_json(payload, "tokenizer.json")


_WORDS = {"type": "WordLevel", "vocab": {"<bos>": 2, "a": 1}, "unk_token": "x"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AA"}}, "Precompiled"),
        (
            {"normalizer": {"type": "Replace", "pattern": {"String": ""}, "content": "x" * 300}},
            "one letter for another",
        ),
        ({"pre_tokenizer": {"type": "FixedLength", "length": 0}}, "FixedLength"),
        (
            {"model": {"type": "BPE", "continuing_subword_prefix": "abc"}},
            "continuing_subword_prefix",
        ),
        ({"model": _WORDS}, r"the vocabulary fails at the prompt .*\[UNK\]"),
        ({"model": {**_WORDS, "vocab": {"<bos>": 2**32 - 1}}}, "<bos> has the id 4294967295"),
        ({"model": {**_WORDS, "vocab": {"<bos>": 1, "fox": 2**31}}}, "gives the id 2147483648"),
    ],
)
def test_json_that_fails_late_or_panics_is_refused(
    change: dict[str, Any], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = {**json.loads(JSON), "added_tokens": [], "pre_tokenizer": None, **change}
    with pytest.raises(CheckpointError, match=f"^tokenizer.json: .*{message}"):
        Tokenizer.from_json(json.dumps(settings).encode(), "tokenizer.json").encode("fox")
    assert capfd.readouterr() == ("", "")


def test_panics_are_errors_too() -> None:
    class Panic(BaseException):
        pass

    message = r"^it fails \(index out of bounds\)$"
    with pytest.raises(CheckpointError, match=message), refusing("it fails"):
        raise Panic("index out of bounds")
    with pytest.raises(KeyboardInterrupt), refusing("it fails"):
        raise KeyboardInterrupt


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no\.model: cannot be read"):
        Tokenizer.from_file(tmp_path / "no.model")


def test_vocabularies_without_bos_are_refused() -> None:
    pieces = [Piece("<unk>", 0.0, PieceType.UNKNOWN), Piece("a", 0.0, PieceType.NORMAL)]
    with pytest.raises(CheckpointError, match="no <bos>; not a Gemma tokenizer"):
        Tokenizer.from_sentencepiece(write_model(pieces), "other.model")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"tokenizer.ggml.model": None}, CheckpointError, "holds no vocabulary"),
        ({"tokenizer.ggml.model": np.zeros(0)}, CheckpointError, "holds no vocabulary"),
        ({"tokenizer.ggml.model": "bert"}, UnsupportedError, "'bert', expected 'llama'"),
        ({"tokenizer.ggml.tokens": None}, CheckpointError, "tokens is missing"),
        ({"tokenizer.ggml.tokens": [1, 2]}, CheckpointError, "not text"),
        ({"tokenizer.ggml.scores": None}, CheckpointError, "scores should hold 900"),
        ({"tokenizer.ggml.scores": 3}, CheckpointError, "found no list"),
        ({"tokenizer.ggml.scores": [1.0]}, CheckpointError, "found 1 values"),
        ({"tokenizer.ggml.scores": [float("nan")] * 900}, CheckpointError, "not finite"),
        ({"tokenizer.ggml.scores": [-1e300] * 900}, CheckpointError, "not finite"),
        ({"tokenizer.ggml.scores": [[1.0]] * 900}, CheckpointError, "not finite"),
        ({"tokenizer.ggml.tokens": ["\udc80"] * 900}, CheckpointError, "not valid Unicode"),
        ({"tokenizer.ggml.token_type": [9] * 900}, CheckpointError, "holds 9, expected 1 to 6"),
        ({"tokenizer.ggml.bos_token_id": 900}, CheckpointError, "expected 0 to 899"),
        ({"tokenizer.ggml.bos_token_id": "2"}, CheckpointError, "expected 0 to 899"),
    ],
)
def test_gguf_vocabularies_that_do_not_fit_are_refused(
    change: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Tokenizer.from_gguf_metadata({**gguf_metadata(), **change}, "gemma.gguf")


def test_byte_level_vocabularies_are_refused() -> None:
    metadata = gguf_merges_metadata()
    metadata["tokenizer.ggml.tokens"][-1] = "\u0120the"
    with pytest.raises(UnsupportedError, match="GPT-2's byte-level"):
        Tokenizer.from_gguf_metadata(metadata, "other.gguf")


@pytest.mark.parametrize("merge", ["one", "a b c", " b", "zzz qqq"])
def test_merges_that_are_no_pairs_are_refused(merge: str) -> None:
    metadata = gguf_merges_metadata()
    metadata["tokenizer.ggml.merges"][0] = merge
    with pytest.raises(CheckpointError, match=r"^gemma\.gguf: "):
        Tokenizer.from_gguf_metadata(metadata, "gemma.gguf")
