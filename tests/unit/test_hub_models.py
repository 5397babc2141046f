"""Whole models by name: as publishers lay them out, cut out, found in folders, chosen."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.model_parts import cut
from helpers.stub_hub import StubHub

from ltx2cpp import LoraSpec, LTX2Pipeline, MemoryPlan, ModelFiles
from ltx2cpp.checkpoint.safetensors import open_safetensors
from ltx2cpp.cli.commands import generate
from ltx2cpp.cli.main import build_parser, main
from ltx2cpp.cli.options.names import take_names
from ltx2cpp.convert import convert
from ltx2cpp.errors import ConfigError, HubError
from ltx2cpp.hub import Hub, fetch_lora, fetch_loras
from ltx2cpp.hub.table import USER_TABLE
from ltx2cpp.networks.enhancer import PromptEnhancer

TINY = "ltx-2.3-tiny.safetensors"
DIT = "model.diffusion_model."
CALL: dict[str, Any] = {
    "width": 64,
    "height": 64,
    "num_frames": 1,
    "num_inference_steps": 1,
    "seed": 1,
    "audio": False,
    "output": "latents",
}


@pytest.fixture(scope="module")
def parts(fixture_a: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The tiny model in the parts that publishers cut it into."""
    folder, whole = tmp_path_factory.mktemp("parts"), fixture_a / TINY
    transformer = cut(whole, folder / "distilled-transformer.safetensors", (DIT,))
    convert(transformer, folder / "distilled-BF16.gguf", "bf16")
    return {
        "whole": whole,
        "transformer": transformer,
        "gguf": folder / "distilled-BF16.gguf",
        "projection": cut(whole, folder / "p.safetensors", ("text_embedding_projection.",)),
        "video": cut(whole, folder / "v.safetensors", ("vae.",), "vae."),
        "audio": cut(whole, folder / "a.safetensors", ("audio_vae.", "vocoder.")),
    }


@pytest.fixture(scope="module")
def latent(fixture_a: Path) -> np.ndarray[Any, Any]:
    """What the local files give."""
    files = ModelFiles(
        fixture_a / TINY, text_encoder=fixture_a / "gemma-3-tiny", variant="distilled"
    )
    with LTX2Pipeline(files, device="cpu") as pipe:
        video: np.ndarray[Any, Any] = pipe("a boat", **CALL).video_latent
        return video


def add_gemma(stub: StubHub, fixture_a: Path) -> None:
    folder = fixture_a / "gemma-3-tiny"
    stub.add("tiny/gemma", {path.name: path for path in folder.iterdir()})


def named_rows(names: list[str], rows: dict[str, tuple[str, str]]) -> list[dict[str, object]]:
    return [
        {"names": names, "role": role, "repository": repository, "file": file, "gb": 0.01}
        for role, (repository, file) in rows.items()
    ]


def name_rows(tmp_path: Path, names: list[str], rows: dict[str, tuple[str, str]]) -> None:
    """Write a table of the user's."""
    (tmp_path / "hub").mkdir(exist_ok=True)
    (tmp_path / "hub" / USER_TABLE).write_text(json.dumps(named_rows(names, rows)))


def test_models_of_three_publishers(
    stub: StubHub,
    fixture_a: Path,
    parts: dict[str, Path],
    latent: np.ndarray[Any, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One file; a GGUF with small files beside it; a folder for each kind of part."""
    add_gemma(stub, fixture_a)
    encoder = ("tiny/gemma", "*")
    stub.add("tiny/official", {"tiny-distilled.safetensors": parts["whole"], "README.md": b""})
    stub.add(
        "tiny/gguf",
        {
            "distilled-1.1/tiny-distilled-1.1-Q8_0.gguf": parts["gguf"],
            "tiny-dev-Q8_0.gguf": b"GGUF",
            "text_encoders/tiny-distilled_embeddings_connectors.safetensors": parts["projection"],
            "vae/tiny-distilled_video_vae.safetensors": parts["video"],
            "vae/tiny-distilled_audio_vae.safetensors": parts["audio"],
        },
    )
    stub.add(
        "tiny/folders",
        {
            "diffusion_models/tiny-distilled_transformer_only_bf16.safetensors": parts[
                "transformer"
            ],
            "text_encoders/tiny_text_projection_bf16.safetensors": parts["projection"],
            "vae/TINY_video_vae_bf16.safetensors": parts["video"],
            "vae/TINY_audio_vae_bf16.safetensors": parts["audio"],
        },
    )
    whole = ModelFiles("hf:tiny/official", text_encoder="hf:tiny/gemma")
    name_rows(
        tmp_path,
        ["tiny"],
        {
            "transformer": ("tiny/gguf", "distilled-1.1/tiny-distilled-1.1-Q8_0.gguf"),
            "text_projection": ("tiny/gguf", "text_encoders/*_connectors.safetensors"),
            "video_vae": ("tiny/gguf", "vae/*_video_vae.safetensors"),
            "audio_vae": ("tiny/gguf", "vae/*_audio_vae.safetensors"),
            "text_encoder": encoder,
        },
    )
    folders = ModelFiles(
        transformer="hf:tiny/folders/diffusion_models/"
        "tiny-distilled_transformer_only_bf16.safetensors",
        text_projection="hf:tiny/folders/text_encoders/tiny_text_projection_bf16.safetensors",
        video_vae="hf:tiny/folders/vae/TINY_video_vae_bf16.safetensors",
        text_encoder="hf:tiny/gemma",
    )
    assert main(["download", "tiny", "--dry-run"]) == 0
    assert "memory: fits" in capsys.readouterr().err
    for files in (whole, ModelFiles("tiny"), folders):
        with LTX2Pipeline(files, device="cpu") as pipe:
            np.testing.assert_array_equal(pipe("a boat", **CALL).video_latent, latent)
    sizes = {
        path: file.size for each in stub.repositories.values() for path, file in each.files.items()
    }
    # Headers have been read before some of them; no byte of a body came twice.
    assert all(stub.sent[path] <= sizes[path] + (1200 << 10) for path in stub.sent)


def test_generate_says_what_it_fetches_and_makes_the_clip(
    stub: StubHub,
    fixture_a: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    add_gemma(stub, fixture_a)
    stub.add("tiny/official", {"tiny-distilled.safetensors": fixture_a / TINY})
    clip = ("-W", "64", "-H", "64", "--steps", "1", "--no-audio", "--device", "cpu")
    model = ("-hf", "tiny/official", "--text-encoder", "hf:tiny/gemma")
    assert main(["plan", "a boat", *model, *clip, "--json"]) == 0
    # A header of a safetensors file is no more than this, at released sizes.
    assert stub.sent["tiny-distilled.safetensors"] < 1_500_000
    assert json.loads(capsys.readouterr().out)["phases"]
    assert main(["inspect", "hf:tiny/official", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["version"] == "2.3"
    assert main(["generate", "a boat", *model, *clip, "-o", "a.png"]) == 0
    said = capsys.readouterr().err
    for words in ("to fetch: 12.9 MB of 13 MB", "free disk", "licences: other", "memory: fits"):
        assert words in said
    assert Path("a.png").exists()
    stub.forget()
    assert main(["encode", "a boat", *model, "-o", "a.safetensors", "--offline", "-q"]) == 0
    assert not stub.requests


def test_a_lora_may_be_named(stub: StubHub) -> None:
    stub.add("o/n", {"b.safetensors": b"x" * 9, "gemma.json": b"{}"})
    words = ["generate", "a", "-o", "a.mp4", "-q", "--lora", "hf:o/n/b.safetensors:0.5@1"]
    arguments = build_parser().parse_args(words)
    take_names(arguments, ("model",))
    [lora] = arguments.loras
    assert (Path(lora.path).read_bytes(), lora.strength, lora.stage) == (b"x" * 9, 0.5, 1)
    assert fetch_loras([LoraSpec("hf:o/n/b.safetensors")])[0].path == lora.path
    assert fetch_lora(Path("hf:o/n/b.safetensors")) == lora.path


def test_a_part_of_a_large_file_is_cut_out(
    stub: StubHub,
    fixture_a: Path,
    parts: dict[str, Path],
) -> None:
    stub.add("tiny/whole", {TINY: fixture_a / TINY})
    name = f"hf:tiny/whole/{TINY}"
    download = Hub().find({"video_vae": name})
    path = download.fetch()["video_vae"]
    cut_out, whole = open_safetensors(path), open_safetensors(fixture_a / TINY)
    assert set(cut_out.tensors) == {each for each in whole.tensors if each.startswith("vae.")}
    for each, info in cut_out.tensors.items():
        source = whole.tensors[each]
        data = path.read_bytes()[info.offset : info.offset + info.size_bytes]
        with (fixture_a / TINY).open("rb") as stream:
            stream.seek(source.offset)
            assert stream.read(source.size_bytes) == data
    assert cut_out.metadata == whole.metadata
    assert (
        stub.sent[TINY] < path.stat().st_size + (600 << 10) < (fixture_a / TINY).stat().st_size / 2
    )
    stub.forget()
    assert Hub(offline=True).find({"video_vae": name}).fetch()["video_vae"] == path


def test_wrong_partners_are_found_before_the_bytes(
    stub: StubHub,
    fixture_a: Path,
    fixture_c: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stub.add("tiny/official", {"tiny-distilled.safetensors": fixture_a / TINY})
    stub.add("tiny/c", {path.name: path for path in fixture_c.glob("*.safetensors")})
    names = (
        "-m",
        "hf:tiny/official",
        "--text-encoder",
        "hf:tiny/c/gemma4-tiny-with-proj.safetensors",
    )
    assert main(["generate", "a", *names, "-o", "a.png"]) == ConfigError.exit_code
    said = capsys.readouterr().err
    assert "hf:tiny/c/gemma4-tiny-with-proj.safetensors: this is Gemma 4" in said
    assert "needs Gemma 3 12B (by name: gemma-3-12b)" in said
    sizes = sum(stub.sent.values())
    assert sizes < 900_000 < (fixture_a / TINY).stat().st_size


@pytest.mark.parametrize(
    ("transformer", "role", "partner", "words"),
    [
        (
            "ltx-2-19b-distilled_Q4_K_M.gguf",
            "connectors",
            "ltx-2-19b-embeddings_connector_dev_bf16.safetensors",
            "these connectors are of the dev model",
        ),
        (
            "ltx-2.3-22b-dev-Q8_0.gguf",
            "spatial_upsampler",
            "ltx-2-spatial-upscaler-x2-1.0.safetensors",
            "this upscaler is of LTX-2.0, .* take ltx-2.3-upscaler",
        ),
    ],
)
def test_partners_of_other_names(
    stub: StubHub,
    transformer: str,
    role: str,
    partner: str,
    words: str,
    fixture_a: Path,
) -> None:
    stub.add("o/n", {transformer: b"GGUF", partner: fixture_a / TINY})
    with pytest.raises(HubError, match=words):
        Hub().find({"transformer": f"hf:o/n/{transformer}", role: f"hf:o/n/{partner}"})


def test_files_of_another_program_count(
    stub: StubHub,
    fixture_a: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    stub.add("tiny/official", {"tiny-distilled.safetensors": fixture_a / TINY})
    name_rows(tmp_path, ["tiny"], {"checkpoint": ("tiny/official", "tiny-distilled.safetensors")})
    folder = tmp_path / "other" / "models"
    folder.mkdir(parents=True)
    file = folder / "tiny-distilled.safetensors"
    shutil.copy(fixture_a / TINY, file)
    (folder / "broken.gguf").write_bytes(b"GGUF")
    assert main(["models", "add", str(tmp_path / "other"), "-q"]) == 0
    said = capsys.readouterr().out
    assert f"{file}: counts for tiny" in said and "broken.gguf: the file ends" in said
    assert main(["download", "tiny", "hf:tiny/official", "-q", "--json"]) == 0
    for result in json.loads(capsys.readouterr().out):
        assert result["fetched_bytes"] == 0 and result["files"] == {"checkpoint": str(file)}
    assert not stub.file_requests
    assert main(["models", "verify", "tiny", "-q"]) == 0
    assert main(["models", "rm", "tiny", "-q"]) == 0
    assert file.exists()
    # A file that was changed since counts as unknown.
    file.write_bytes(b"x")
    assert Hub().find({"checkpoint": "tiny"}, newest=True).missing_bytes > 0


@pytest.mark.parametrize("folder", ["gemma", "text-encoder"])
def test_a_folder_of_shards_counts(
    stub: StubHub,
    fixture_a: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    folder: str,
) -> None:
    """By its name and sizes without asking for accepted terms; by its hashes, if the hub tells."""
    add_gemma(stub, fixture_a)
    stub.repositories["tiny/gemma"].gated = folder == "gemma"
    name_rows(tmp_path, ["gem:bf16"], {"text_encoder": ("tiny/gemma", "*")})
    there = tmp_path / "other" / folder
    shutil.copytree(fixture_a / "gemma-3-tiny", there)
    assert main(["models", "add", "other", "-q"]) == 0
    told = "counts for gem:bf16" if folder == "gemma" else "known by its hash; counts where"
    assert f"{there}: {told}" in capsys.readouterr().out
    for newest in (False, True):
        [wanted] = Hub().find({"text_encoder": "gem"}, newest=newest).wanted
        assert wanted.path(Hub().cache) == there and not wanted.missing(Hub().cache)
    assert not stub.file_requests
    if folder == "gemma":
        assert main(["models", "verify", "gem:bf16", "-q"]) == 0
        assert f"right: {there / 'tokenizer.model'}" in capsys.readouterr().out
        assert main(["models", "show", "gem:bf16"]) == 0
        assert f"here: {there}" in capsys.readouterr().out
        assert not stub.requests
    else:
        [wanted] = Hub().find({"text_encoder": "hf:tiny/gemma"}).wanted
        assert wanted.here == there
    # A shard that was changed since counts as unknown, and the folder with it.
    shard = there / "model-00001-of-00002.safetensors"
    shard.chmod(0o644)
    shard.write_bytes(shard.read_bytes()[:-1] + b"x")
    stub.repositories["tiny/gemma"].gated = False
    assert Hub().find({"text_encoder": "gem"}, newest=True).missing_bytes > 10**6


def test_models_are_listed_verified_and_removed(
    stub: StubHub,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = np.random.default_rng(0).bytes(100_000)
    stub.add("o/n", {"a.gguf": data})
    name_rows(tmp_path, ["mine"], {"transformer": ("o/n", "a.gguf")})
    assert main(["download", "mine", "-q"]) == 0
    capsys.readouterr()
    stub.forget()
    assert main(["models", "--json"]) == 0
    models = {each["name"]: each for each in json.loads(capsys.readouterr().out)}
    assert models["mine"]["complete"] and not models["ltx-2.3-distilled:q8_0"]["complete"]
    assert main(["models"]) == 0
    assert "ltx-2.5-distilled:bf16" in capsys.readouterr().out
    assert main(["models", "show", "mine"]) == 0
    assert "o/n/a.gguf" in capsys.readouterr().out
    assert main(["models", "verify", "mine", "-q"]) == 0
    blob = next((tmp_path / "hub").rglob("a.gguf")).resolve()
    blob.write_bytes(data[:-1] + b"?")
    assert main(["models", "verify", "mine", "-q"]) == 3
    assert "its bytes are not those of its hash" in capsys.readouterr().err
    unfinished = blob.with_name("0" * 64 + ".part")
    unfinished.write_bytes(bytes(50_000))
    assert main(["models", "rm", "mine"]) == 0
    assert not unfinished.exists()
    assert "mine: 150 kB freed" in capsys.readouterr().out
    assert not blob.exists() and not list((tmp_path / "hub").rglob("a.gguf"))
    assert main(["models", "show"]) == 2
    assert not stub.requests


def test_what_writes_prompts_out_is_fetched_when_it_is_asked_for(
    stub: StubHub,
    fixture_a: Path,
    fixture_c: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the name of a model whose own text encoder cannot write."""
    monkeypatch.setattr(PromptEnhancer, "write", lambda *_: "A boat drifts.")
    add_gemma(stub, fixture_a)
    stub.add("tiny/c", {path.name: path for path in fixture_c.glob("*.safetensors")})
    rows = {
        "transformer": ("tiny/c", "ltx-2.5-tiny-transformer.safetensors"),
        "text_encoder": ("tiny/c", "gemma4-tiny-with-proj.safetensors"),
        "video_vae": ("tiny/c", "ltx-2.5-tiny-video-vae-conv.safetensors"),
        "prompt_enhancer": ("tiny/gemma", "*"),
    }
    name_rows(tmp_path, ["tiny-distilled"], rows)
    table = tmp_path / "hub" / USER_TABLE
    *others, writer = json.loads(table.read_text())
    table.write_text(json.dumps([*others, writer | {"when": "enhance"}]))
    with LTX2Pipeline("tiny-distilled", device="cpu", threads=1) as pipe:
        pipe("a boat", **CALL)
        assert not any("tiny/gemma" in request.path for request in stub.requests)
        transformer = pipe.models.transformer
        info = pipe("a boat", enhance_prompt=True, **CALL).info
        assert info["enhanced_prompt"] == "A boat drifts."
        assert pipe.models.transformer is transformer
        stub.forget()
        # Once is enough, also where the LoRAs change.
        pipe.set_loras([], "merge")
        assert pipe.memory_plan("a boat", enhance_prompt=True, **CALL).phases[0].name == (
            "enhance prompt"
        )
        assert not stub.requests


def test_smaller_weights_are_taken_where_the_usual_ones_do_not_fit(
    stub: StubHub,
    fixture_a: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add_gemma(stub, fixture_a)
    files = ("tiny-distilled.safetensors", "small.safetensors")
    stub.add("tiny/official", dict.fromkeys(files, fixture_a / TINY))
    rows: list[object] = []
    for name, file in zip(("tiny:q8_0", "tiny:q4_k_m"), files, strict=True):
        rows += named_rows(
            [name], {"checkpoint": ("tiny/official", file), "text_encoder": ("tiny/gemma", "*")}
        )
    (tmp_path / "hub").mkdir()
    (tmp_path / "hub" / USER_TABLE).write_text(json.dumps(rows))
    plan_of = generate.memory_plan

    def plan_on_a_small_machine(arguments: Any, note: Any) -> MemoryPlan:
        plan = plan_of(arguments, note)
        streams = "small" not in str(arguments.model)
        return dataclasses.replace(plan, offload="stream" if streams else plan.offload)

    monkeypatch.setattr(generate, "memory_plan", plan_on_a_small_machine)
    words = ("generate", "a", "-W", "64", "-H", "64", "--num-frames", "1", "--no-audio")
    assert main([*words, "-m", "tiny:q8_0", "--max-memory", "0.01", "-o", "a.png"]) == 4
    said = capsys.readouterr().err
    assert "tiny:q8_0 (13 MB) does not fit" in said and "a smaller one: tiny:q4_k_m (13" in said
    # Headers of files that both have are read once.
    asked = [(each.path, each.headers.get("Range")) for each in stub.file_requests]
    assert len(asked) == len(set(asked)) > 3
    assert main([*words, "-m", "tiny", "--steps", "1", "-o", "a.png"]) == 0
    said = capsys.readouterr().err
    assert "memory: tiny:q8_0 (13 MB) fits with --offload stream, which reads" in said
    assert "tiny:q4_k_m is taken, as no weights were named; --model tiny:q8_0 takes others" in said
    assert stub.sent["tiny-distilled.safetensors"] < 1_000_000
    # What is here whole is taken from now on, and nobody is asked.
    stub.forget()
    assert main([*words, "-m", "tiny", "--steps", "1", "-o", "b.png", "--offline"]) == 0
    assert "tiny:q4_k_m is here and is taken" in capsys.readouterr().err
    assert not stub.requests
