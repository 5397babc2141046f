"""LoRAs written into a prompt are answered with how they are given."""

from __future__ import annotations

import pytest

from ltx2cpp.generation.lora_tags import warn_of_lora_tags


@pytest.mark.parametrize(
    ("prompt", "option", "specs"),
    [
        (
            "a red boat <lora:my-style:0.8>",
            "--lora my-style.safetensors:0.8",
            "loras=[LoraSpec('my-style.safetensors', 0.8)]",
        ),
        (
            "a boat <LoRA: sub/style >",
            "--lora sub/style.safetensors",
            "loras=[LoraSpec('sub/style.safetensors')]",
        ),
        (
            "a boat <lyco:style:0.5:0.7>",
            "--lora style.safetensors:0.5",
            "loras=[LoraSpec('style.safetensors', 0.5)]",
        ),
        (
            "a <lora:a:1> b <lora:b:strong>",
            "--lora a.safetensors:1 --lora b.safetensors",
            "loras=[LoraSpec('a.safetensors', 1), LoraSpec('b.safetensors')]",
        ),
    ],
)
def test_tags_are_answered_in_either_prompt(
    caplog: pytest.LogCaptureFixture, prompt: str, option: str, specs: str
) -> None:
    for prompts in ((prompt, None), ("a boat", prompt)):
        caplog.clear()
        warn_of_lora_tags(*prompts)
        (message,) = caplog.messages
        assert message.startswith("<") and f"given as {option}, or {specs} in Python" in message


@pytest.mark.parametrize("prompt", ["a <b> c", "lora: a girl", "5 < 6: yes > no", "<lora>", None])
def test_other_words_are_no_tags(caplog: pytest.LogCaptureFixture, prompt: object) -> None:
    warn_of_lora_tags(prompt)
    assert not caplog.messages
