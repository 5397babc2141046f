"""LoRAs written into a prompt, as other programs have it: they are only words here."""

from __future__ import annotations

import logging
import re

logger = logging.getLogger("ltx2cpp")

# Name and strength, also of relatives of LoRAs.
_TAG = re.compile(r"<\s*(?:lora|lyco|lycoris|loha|lokr)\s*:([^<>:]+)(?::([^<>:]*))?[^<>]*>", re.I)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)")


def warn_of_lora_tags(*prompts: object) -> None:
    """Log how LoRAs are given where a prompt names some.

    Args:
        prompts: those that are text are looked at.
    """
    texts = (text for text in prompts if isinstance(text, str))
    tags = [match for text in texts for match in _TAG.finditer(text)]
    if not tags:
        return
    files = [f"{tag[1].strip()}.safetensors" for tag in tags]
    strengths = [tag[2] if tag[2] and _NUMBER.fullmatch(tag[2]) else "" for tag in tags]
    options = " ".join(
        f"--lora {file}{strength and f':{strength}'}"
        for file, strength in zip(files, strengths, strict=True)
    )
    specs = ", ".join(
        f"LoraSpec({file!r}{strength and f', {strength}'})"
        for file, strength in zip(files, strengths, strict=True)
    )
    logger.warning(
        "%s is taken as words of the prompt; LoRAs are files, given as %s, or loras=[%s] in Python",
        tags[0][0],
        options,
        specs,
    )
