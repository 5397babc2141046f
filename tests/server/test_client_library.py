"""The interface through the library that it follows."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import openai
import pytest
from PIL import Image

from ltx2cpp.media import read_parameters

PROMPT = "a red circle moves right on a blue background"
# The smallest clip that has a second latent frame.
SHORT: dict[str, Any] = {"num_frames": 9, "num_inference_steps": 2}


def make(client: openai.OpenAI, **fields: Any) -> Any:
    """Make a short clip and wait for it."""
    fields = {"prompt": PROMPT, "extra_body": SHORT, **fields}
    return client.videos.create_and_poll(poll_interval_ms=50, **fields)


def video_of(client: openai.OpenAI, clip_id: str) -> bytes:
    """Return the sheet of a clip's frames, which says nothing of settings."""
    return client.videos.download_content(clip_id, variant="spritesheet").read()


@pytest.fixture(scope="module")
def clip(server: Any) -> Any:
    """A finished clip of seed 7."""
    with server.client() as client:
        return make(client, extra_body={**SHORT, "seed": 7}, model="demo", size="96x64")


def test_a_clip_is_made_and_loaded(client: openai.OpenAI, clip: Any, tmp_path: Any) -> None:
    assert (clip.status, clip.progress, clip.error) == ("completed", 100, None)
    assert (clip.size, clip.model, clip.seconds) == ("96x64", "demo", "0.375")
    assert clip.model_extra["num_frames"] == 9
    loaded = client.videos.download_content(clip.id)
    assert loaded.response.headers["content-type"] == "video/mp4"
    loaded.write_to_file(tmp_path / "clip.mp4")
    told = read_parameters(tmp_path / "clip.mp4")
    assert (told["prompt"], told["seed"], told["num_frames"]) == (PROMPT, 7, 9)
    assert client.videos.retrieve(clip.id).id == clip.id
    variants: Any = (("thumbnail", "webp", (96, 64)), ("spritesheet", "jpeg", (384, 192)))
    for variant, kind, size in variants:
        picture = client.videos.download_content(clip.id, variant=variant)
        assert picture.response.headers["content-type"] == f"image/{kind}"
        assert Image.open(io.BytesIO(picture.read())).size == size


def test_the_same_seed_gives_the_same_bytes(client: openai.OpenAI, clip: Any) -> None:
    again = make(client, extra_body={**SHORT, "seed": 7})
    first, second = (client.videos.download_content(each.id).read() for each in (clip, again))
    assert first == second


def test_models_are_taken_by_name(client: openai.OpenAI, clip: Any) -> None:
    """One leaves memory for the other; both are the demo model here."""
    assert [model.id for model in client.models.list()] == ["demo", "again"]
    other = make(client, extra_body={**SHORT, "seed": 7}, model="again")
    assert (other.model, other.status) == ("again", "completed")
    first, second = (client.videos.download_content(each.id).read() for each in (clip, other))
    assert first == second


def test_loras_are_taken_by_name(client: openai.OpenAI, clip: Any) -> None:
    """For one clip; the next one without them is what it was before."""
    plain = client.videos.download_content(clip.id).read()
    other = make(client, extra_body={**SHORT, "seed": 7, "loras": "wild:0.5"})
    assert other.status == "completed"
    assert video_of(client, other.id) != video_of(client, clip.id)
    again = make(client, extra_body={**SHORT, "seed": 7})
    assert client.videos.download_content(again.id).read() == plain
    for model, loras in (("demo", "tame"), ("again", "wild"), ("demo", "../wild.safetensors")):
        with pytest.raises(openai.BadRequestError) as refused:
            client.videos.create(prompt=PROMPT, model=model, extra_body={"loras": loras})
        assert refused.value.param == "loras"


def test_a_remix_keeps_seed_and_size(client: openai.OpenAI, clip: Any) -> None:
    remix = client.videos.remix(clip.id, prompt="a green square moves left on a black background")
    assert remix.remixed_from_video_id == clip.id
    assert remix.model_extra is not None and remix.model_extra["seed"] == 7
    assert client.videos.poll(remix.id, poll_interval_ms=50).status == "completed"
    assert client.videos.delete(remix.id).deleted


def test_a_clip_is_extended_and_edited(client: openai.OpenAI, clip: Any) -> None:
    data = client.videos.download_content(clip.id).read()
    steps: dict[str, Any] = {"num_inference_steps": 2}
    longer = client.videos.extend(
        prompt=PROMPT, seconds="1", video=("../../clip.mp4", data), extra_body=steps
    )
    steps |= {"step_cache": "taylorseer:0.5"}
    edited = client.videos.edit(prompt=PROMPT, video=("clip.mp4", data), extra_body=steps)
    longer = client.videos.poll(longer.id, poll_interval_ms=50)
    assert longer.status == "completed" and float(longer.seconds) > 1.2
    edited = client.videos.poll(edited.id, poll_interval_ms=50)
    assert (edited.seconds, edited.model_extra["step_cache"]) == ("0.375", "taylorseer:0.5")
    made = client.videos.download_content(edited.id).read()
    form: Any = {"headers": {"Content-Type": "multipart/form-data"}}
    settings = client.post("/settings", cast_to=dict, files={"video": made}, options=form)
    assert settings["step_cache"] == "taylorseer:0.5" and settings["prompt"] == PROMPT


def test_pictures_hold_the_clip(client: openai.OpenAI) -> None:
    picture = io.BytesIO()
    Image.fromarray(np.full((64, 96, 3), (200, 30, 30), np.uint8)).save(picture, "PNG")
    made = make(client, input_reference=("../../../etc/passwd.png", picture.getvalue()))
    assert made.status == "completed"
    sheet = client.videos.download_content(made.id, variant="spritesheet").read()
    first = Image.open(io.BytesIO(sheet)).crop((0, 0, 96, 64))
    red, green, blue = np.asarray(first).mean(axis=(0, 1))
    assert red > 2 * max(green, blue)


def test_listing_goes_on_while_clips_are_deleted(client: openai.OpenAI) -> None:
    """With a cursor that names a clip which is gone by then."""
    for video in client.videos.list(limit=100):
        client.videos.delete(video.id)
    made = [client.videos.create(prompt=PROMPT, extra_body=SHORT).id for _ in range(5)]
    assert [video.id for video in client.videos.list(limit=2)] == made[::-1]
    assert [video.id for video in client.videos.list(limit=2, order="asc")] == made
    gone = [client.videos.delete(video.id).id for video in client.videos.list(limit=2)]
    assert gone == made[::-1]
    assert client.videos.list().data == []


def test_json_is_taken_as_well(client: openai.OpenAI) -> None:
    body = {"size": "128x64", **SHORT}
    made = client.videos.create(
        prompt=PROMPT, extra_body=body, extra_headers={"Content-Type": "application/json"}
    )
    assert made.size == "128x64"
    client.videos.delete(made.id)


@pytest.mark.parametrize(
    ("fields", "kind", "code", "param"),
    [
        ({"size": "97x64"}, openai.BadRequestError, "invalid_value", "width"),
        ({"size": "large"}, openai.BadRequestError, "invalid_value", "size"),
        ({"model": "sora-2"}, openai.NotFoundError, "model_not_found", "model"),
        ({"extra_body": {"sed": 3}}, openai.BadRequestError, "unknown_field", "sed"),
        (
            {"extra_body": {"step_cache": "taylorseer:1.5"}},
            openai.BadRequestError,
            "invalid_value",
            "step_cache",
        ),
        ({"prompt": ""}, openai.BadRequestError, "invalid_value", "prompt"),
        ({"input_reference": b"text"}, openai.BadRequestError, "unsupported_value", None),
    ],
)
def test_what_is_refused(
    client: openai.OpenAI, fields: Any, kind: type[openai.APIStatusError], code: str, param: str
) -> None:
    with pytest.raises(kind) as refused:
        client.videos.create(**{"prompt": PROMPT, **fields})
    assert refused.value.code == code
    assert param in (None, refused.value.param)


def test_content_that_is_not_there_yet(client: openai.OpenAI) -> None:
    made = client.videos.create(prompt=PROMPT)
    with pytest.raises(openai.ConflictError, match="no clip"):
        client.videos.download_content(made.id)
    client.videos.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        client.videos.retrieve(made.id)
