"""Tell models of other families by what their files say of themselves.

Source: `general.architecture` as llama.cpp and the converters of diffusion models write it.
"""

from __future__ import annotations

from ltx2cpp.checkpoint import CheckpointFile
from ltx2cpp.errors import UnsupportedError

_KEY = "general.architecture"
# llama.cpp always names the family; other language models share the names of tensors.
_LANGUAGE_MARKS = ("token_embd.weight", "blk.0.attn_norm.weight")
_GEMMA_3, _GEMMA_4 = "gemma3", "gemma4"
# In every layer of Gemma 4.
_GEMMA_4_MARK = "blk.0.layer_output_scale.weight"
# The publishers of LTX files write several names, so only those of other models are told.
_OTHER_DIFFUSION = frozenset(
    (
        "flux",
        "sd1",
        "sdxl",
        "sd3",
        "aura",
        "hidream",
        "cosmos",
        "hyvid",
        "wan",
        "lumina2",
        "qwen_image",
    )
)


def refuse_other_family(file: CheckpointFile) -> None:
    """Refuse a model that names another family, before its tensors are looked at.

    Raises:
        UnsupportedError: it is a language model other than Gemma 3 and 4, or another diffusion
            model.
    """
    family = file.metadata.get(_KEY)
    if file.kind != "gguf" or not isinstance(family, str):
        return
    where = f"{file.path}: this is a model of the family {family[:40]!r} by its metadata"
    is_gemma = family == _GEMMA_3 or (family == _GEMMA_4 and _GEMMA_4_MARK in file.tensors)
    if not is_gemma and any(name in file.tensors for name in _LANGUAGE_MARKS):
        raise UnsupportedError(
            f"{where}; the text encoder of LTX-2 and LTX-2.3 is "
            "Gemma 3 12B, that of LTX-2.5 its own Gemma 4"
        )
    if family in _OTHER_DIFFUSION:
        raise UnsupportedError(f"{where}, which is not implemented; only LTX-2, 2.3 and 2.5 are")
