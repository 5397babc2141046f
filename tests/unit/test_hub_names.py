"""Names of models: what they mean, and what a table of them has to hold."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from ltx2cpp.errors import HubError
from ltx2cpp.hub.names import FileName, RepositoryName, TableName, check_file, parse_name
from ltx2cpp.hub.table import USER_TABLE, Table, packaged_rows, read_table
from ltx2cpp.hub.tags import choose_by_tag, quantisation
from ltx2cpp.model.files import ModelFiles

# The listing of one repository that has three variants and two kinds of each quantisation.
_TAGS = ("Q2_K", "Q4_K_M", "UD-Q4_K_M", "Q6_K", "Q8_0", "BF16")
LISTING = [
    *(f"ltx-2.3-22b-dev-{tag}.gguf" for tag in _TAGS),
    *(f"distilled/ltx-2.3-22b-distilled-{tag}.gguf" for tag in _TAGS),
    *(f"distilled-1.1/ltx-2.3-22b-distilled-1.1-{tag}.gguf" for tag in _TAGS),
]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("ltx-2.3-distilled", TableName("ltx-2.3-distilled")),
        ("LTX-2.3-distilled:Q4_K_M", TableName("ltx-2.3-distilled", "q4_k_m")),
        ("hf:a/b", RepositoryName("a/b")),
        ("hf:a/b:UD-Q4_K_M", RepositoryName("a/b", "UD-Q4_K_M")),
        ("hf:a/b:q8_0@v1", RepositoryName("a/b", "q8_0", "v1")),
        ("hf:a/b/c/d.gguf", FileName("a/b", "c/d.gguf")),
        ("hf:a/b/d.gguf@0123abc", FileName("a/b", "d.gguf", "0123abc")),
        ("https://h.test/a/b", RepositoryName("a/b", host="h.test")),
        ("https://h.test/a/b/tree/v2/x", RepositoryName("a/b", "", "v2", "h.test")),
        ("https:/h.test/a/b/blob/main/c.gguf", FileName("a/b", "c.gguf", "main", "h.test")),
        (
            "https://h.test/a/b/resolve/v1/c.gguf?download=true",
            FileName("a/b", "c.gguf", "v1", "h.test"),
        ),
        ("model.safetensors", None),
        ("some/folder", None),
        ("C:\\models\\a", None),
    ],
)
def test_names_and_paths_are_told_apart(text: str, name: object) -> None:
    assert parse_name(text) == name


def test_a_path_that_exists_wins() -> None:
    Path("ltx-2.3-distilled").mkdir()
    assert parse_name("ltx-2.3-distilled") is None


@pytest.mark.parametrize(
    "text", ["hf:a", "hf:a/b/../c.gguf", "hf:a/b@../x", "hf:a/b/c d\n.gguf", "https://h.test/"]
)
def test_half_a_name_is_refused(text: str) -> None:
    with pytest.raises(HubError):
        parse_name(text)


@pytest.mark.parametrize("path", ["../a", "/a", "a/../b", "a//b", "a\\b", "c:a", "a\nb", "x" * 256])
def test_files_stay_in_their_repository(path: str) -> None:
    with pytest.raises(HubError, match="whose name leaves"):
        check_file(path, "a/b")


@pytest.mark.parametrize(
    ("where", "tag", "chosen"),
    [
        ("u/g", "q4_k_m", "distilled-1.1/ltx-2.3-22b-distilled-1.1-Q4_K_M.gguf"),
        ("u/g", "UD-Q4_K_M", "distilled-1.1/ltx-2.3-22b-distilled-1.1-UD-Q4_K_M.gguf"),
        ("u/g", "distilled-1.1-q4_k_m", "distilled-1.1/ltx-2.3-22b-distilled-1.1-Q4_K_M.gguf"),
        ("u/g", "distilled-Q6_K", "distilled/ltx-2.3-22b-distilled-Q6_K.gguf"),
        ("u/g", "dev-Q6_K", "ltx-2.3-22b-dev-Q6_K.gguf"),
        ("u/g", "", "distilled-1.1/ltx-2.3-22b-distilled-1.1-Q8_0.gguf"),
    ],
)
def test_a_tag_is_the_end_of_the_stem(where: str, tag: str, chosen: str) -> None:
    assert choose_by_tag(where, LISTING, tag)[0] == [chosen]


def test_a_choice_among_several_is_said() -> None:
    _, note = choose_by_tag("u/g", LISTING, "q4_k_m")
    assert "distilled-1.1-Q4_K_M.gguf is taken" in note
    assert "ltx-2.3-22b-dev-Q4_K_M.gguf" in note


def test_all_parts_of_a_model_are_chosen() -> None:
    parts = [f"m-Q8_0-0000{number}-of-00003.gguf" for number in (3, 1, 2)]
    assert choose_by_tag("u/g", [*parts, "mmproj-Q8_0.gguf"], "q8_0")[0] == sorted(parts)
    with pytest.raises(HubError, match=r"of which m-Q8_0-00002-of-00003\.gguf is missing"):
        choose_by_tag("u/g", parts[:2], "q8_0")


def test_an_unknown_tag_lists_what_there_is_nearest_first() -> None:
    with pytest.raises(HubError, match=r"no file that ends in 'q4_k_s'; there are: Q4_K_M, "):
        choose_by_tag("u/g", LISTING, "q4_k_s")


def test_quantisations_of_names() -> None:
    names = ["a-UD-Q4_K_XL.gguf", "a_Q4_K_M.gguf", "a.IQ4_XS.gguf", "a-Q8_0_light.gguf", "a.gguf"]
    found = [quantisation(name) for name in names]
    assert found == ["UD-Q4_K_XL", "Q4_K_M", "IQ4_XS", "Q8_0_light", ""]


def test_a_wrong_name_is_answered_with_the_nearest() -> None:
    table = Table(packaged_rows())
    with pytest.raises(HubError, match=r"nearest names are ltx-2\.3-distilled, "):
        table.settle(TableName("ltx-2.3-distiled"))
    with pytest.raises(HubError, match=r"no such weights .* q8_0, q6_k, "):
        table.settle(TableName("ltx-2.3-distilled", "q9"))
    assert table.settle(TableName("ltx-2.3-distilled")) == "ltx-2.3-distilled:q8_0"
    assert table.settle(TableName("ltx-2.5-distilled")) == "ltx-2.5-distilled:bf16"


# Name -> gigabytes of its download, as the table of names has been worked out.
TOTALS = {
    "ltx-2.3-distilled": 34.4,
    "ltx-2.3-distilled:q6_k": 29.4,
    "ltx-2.3-distilled:q5_k_m": 27.5,
    "ltx-2.3-distilled:q4_k_m": 25.8,
    "ltx-2.3-distilled:bf16": 70.5,
    "ltx-2.3-distilled:fp8": 37.0,
    "ltx-2.5-distilled:bf16": 70.1,
    "ltx-2.5-distilled:q4_k_m": 43.8,
}


def test_rows_are_whole() -> None:
    """Sizes known to the byte are, and all hashes are hashes."""
    rows = packaged_rows()
    roles = {"lora", "distilled_lora", *(item.name for item in fields(ModelFiles))}
    assert len({(row.repository, row.file, row.role) for row in rows}) > 30
    for row in rows:
        assert row.names and row.licence and row.role in roles, row
        assert re.fullmatch(r"([0-9a-f]{64})?", row.sha256), row
        assert row.gate == row.repository.startswith(("Lightricks/LTX-2.5", "google/")), row
        assert all(":" in name or row.size_bytes < 8e9 for name in row.names), row
    # Two rows of one name in one role would be two transformers.
    for name in Table(rows).names:
        roles = [row.role for row in Table(rows).of(name, ("two-stage", "temporal", "enhance"))]
        assert len(roles) == len(set(roles)), name


# File -> bytes and the beginning of its hash, as the publishers list them.
PUBLISHED = {
    "ltx-2.3-22b-dev-Q6_K.gguf": (17_774_906_400, ""),
    "ltx-2.3-22b-dev-Q4_K_M.gguf": (14_326_856_736, ""),
    "ltx-2.3-22b-distilled_embeddings_connectors.safetensors": (2_312_144_712, ""),
    "ltx-2.3-22b-dev_embeddings_connectors.safetensors": (2_312_144_712, ""),
    "ltx-2.3-22b-distilled_video_vae.safetensors": (1_452_256_522, ""),
    "ltx-2.3-22b-dev_video_vae.safetensors": (1_452_256_522, ""),
    "ltx-2.3-22b-distilled_audio_vae.safetensors": (364_853_140, ""),
    "ltx-2.3-22b-dev_audio_vae.safetensors": (364_853_140, ""),
    "ltx-2.3-22b-dev-fp8.safetensors": (29_145_431_166, ""),
    "ltx-2.3-22b-distilled-fp8.safetensors": (29_531_884_062, ""),
    "ltx-2.3-temporal-upscaler-x2-1.0.safetensors": (261_944_000, ""),
    "ltx-2-19b-dev-fp8.safetensors": (27_078_716_018, ""),
    "ltx-2-19b-distilled-fp8.safetensors": (27_078_716_346, ""),
    "ltx-2-19b-distilled-lora-384.safetensors": (7_674_558_424, ""),
    "ltx-2-spatial-upscaler-x2-1.0.safetensors": (995_765_578, ""),
    "ltx-2-temporal-upscaler-x2-1.0.safetensors": (261_965_800, ""),
    "gemma-3-12b-it-qat-UD-Q4_K_XL.gguf": (7_432_229_248, ""),
    "taeltx2_3.safetensors": (23_531_296, ""),
    "ltx-2.5-22b-distilled-transformer-bf16.safetensors": (42_018_190_584, "31eb3cad"),
    "gemma4-12b-with-proj-ltx-2.5-bf16.safetensors": (26_263_858_182, "ef724361"),
    "ltx-2.5-video-vae-conv-bf16.safetensors": (1_452_269_922, "685b06ee"),
    "ltx-2.5-audio-vae-bf16.safetensors": (364_866_540, "c52733d3"),
    "ltx-2.5-latent-spatial-upscaler-x2-bf16-1.0.safetensors": (995_778_752, "eb5a71fe"),
    "ltx-2.5-latent-temporal-upscaler-x2-bf16-1.0.safetensors": (261_944_000, "2bc3300f"),
}


def test_rows_say_what_publishers_list() -> None:
    exact = {
        row.file.rpartition("/")[2]: (row.size_bytes, row.sha256[:8])
        for row in packaged_rows()
        if row.exact and "*" not in row.file
    }
    assert exact == PUBLISHED


@pytest.mark.parametrize(("name", "gigabytes"), TOTALS.items())
def test_totals_of_the_table(name: str, gigabytes: float) -> None:
    table = Table(packaged_rows())
    parsed = parse_name(name)
    assert isinstance(parsed, TableName)
    total = sum(row.size_bytes for row in table.of(table.settle(parsed)))
    assert total / 1e9 == pytest.approx(gigabytes, abs=0.06)


def test_rows_of_the_user_come_first(tmp_path: Path) -> None:
    row = {"names": ["mine"], "role": "transformer", "repository": "a/b", "file": "c.gguf", "gb": 1}
    (tmp_path / USER_TABLE).write_text(json.dumps([row]))
    table = read_table(tmp_path)
    assert table.names[0] == "mine"
    assert table.settle(TableName("mine")) == "mine"
    (tmp_path / USER_TABLE).write_text(json.dumps([{**row, "repository": "a"}]))
    with pytest.raises(HubError, match="row 1: has no role, no repository"):
        read_table(tmp_path)
