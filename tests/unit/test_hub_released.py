"""Models by name at their released sizes: dry runs, and what is read before the bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers.checkpoint_writers import ARRAY, F32, I32, STRING, gguf_key, write_gguf
from helpers.stub_hub import StubFile, StubHub
from released.configs import released_config
from released.files25 import write_holes
from released.layouts import released_tensors

from ltx2cpp.checkpoint.safetensors import open_safetensors
from ltx2cpp.cli.options.names import report
from ltx2cpp.hub import Hub
from ltx2cpp.hub.table import packaged_rows

# Name -> gigabytes of its download, as the command prints them.
TOTALS = {
    "ltx-2.3-distilled": "34.4",
    "ltx-2.3-distilled:q6_k": "29.4",
    "ltx-2.3-distilled:q5_k_m": "27.5",
    "ltx-2.3-distilled:q4_k_m": "25.8",
    "ltx-2.3-distilled:bf16": "70.5",
    "ltx-2.3-distilled:fp8": "37",
    "ltx-2.5-distilled:bf16": "70.1",
    "ltx-2.5-distilled:q4_k_m": "43.8",
}


def test_a_dry_run_of_every_name(
    stub: StubHub,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Against a hub whose files have the sizes of the table, with terms accepted."""
    monkeypatch.setenv("HF_TOKEN", "good")
    listings: dict[str, dict[str, Any]] = {}
    expected: dict[str, int] = {}
    # Of a file that parts are cut out of the header is read: here with one tensor of each.
    autoencoders = {"vae.a": ("BF16", (1000, 500)), "audio_vae.a": ("BF16", (1000,))}
    cut_bytes = {"video_vae": 1_000_000, "audio_vae": 2000}
    for row in packaged_rows():
        files = listings.setdefault(row.repository, {})
        path = {"*": "m.safetensors", "*.safetensors": "m.safetensors"}.get(row.file, row.file)
        files[path] = StubFile(size_only=row.size_bytes, sha256=row.sha256)
        if row.cut:
            holes = write_holes(tmp_path / "cut.safetensors", autoencoders)
            files[path] = StubFile(path=holes, sha256="c" * 64)
        for name in row.names if not row.when else ():
            size_bytes = cut_bytes[row.role] if row.cut else row.size_bytes
            expected[name] = expected.get(name, 0) + size_bytes
    for repository, files in listings.items():
        stub.add(repository, files, gated=repository.startswith(("google/", "Lightricks/LTX-2.5")))
    hub = Hub()
    for name, size_bytes in expected.items():
        missing_bytes = hub.find({"checkpoint": name}, newest=True).missing_bytes
        # A part has a header of its own.
        assert size_bytes <= missing_bytes <= size_bytes + 1000, name
    assert len(expected) > 20
    for name, gigabytes in TOTALS.items():
        lines = report(hub.find({"checkpoint": name}, newest=True))
        assert f"to fetch: {gigabytes} GB of {gigabytes} GB; " in lines[-1], name
    # What writes prompts out comes with the model that needs it, or by a name of its own.
    writer = ("prompt_enhancer", "gemma-3-12b-it-qat-UD-Q4_K_XL.gguf")
    for given in ({"checkpoint": "ltx-2.5-distilled:bf16"}, {"prompt_enhancer": "gemma-3-12b"}):
        wanted = hub.find(given, enhance=True, newest=True).wanted
        assert writer in [(each.role, each.title) for each in wanted]


def test_a_remote_plan_reads_headers_alone(stub: StubHub, tmp_path: Path) -> None:
    """Of files as large as the released ones."""
    config = {"config": json.dumps(released_config("2.3")), "model_version": "2.3.0"}
    whole = write_holes(tmp_path / "whole", released_tensors("2.3"), config)
    words = [f"\u2581word{number}" for number in range(262_208)]
    keys = [
        gguf_key("general.architecture", STRING, "gemma3"),
        gguf_key("tokenizer.ggml.tokens", ARRAY, (STRING, words)),
        gguf_key("tokenizer.ggml.scores", ARRAY, (F32, [0.0] * len(words))),
        gguf_key("tokenizer.ggml.token_type", ARRAY, (I32, [1] * len(words))),
    ]
    gemma = write_gguf(tmp_path / "gemma", {"token_embd.weight": ("Q8_0", (262_208, 3840))}, keys)
    names = {"checkpoint": "whole-distilled.safetensors", "text_encoder": "gemma.gguf"}
    stub.add(
        "o/n",
        {
            names["checkpoint"]: StubFile(path=whole, sha256="a" * 64),
            names["text_encoder"]: StubFile(path=gemma, sha256="b" * 64),
        },
    )
    download = Hub().find({role: f"hf:o/n/{name}" for role, name in names.items()})
    with download.headers() as paths:
        assert paths["checkpoint"].stat().st_size == whole.stat().st_size > 40e9
        assert len(open_safetensors(paths["checkpoint"]).tensors) > 4000
    assert stub.sent[names["checkpoint"]] <= 1_500_000
    assert stub.sent[names["text_encoder"]] <= 10_000_000
