"""Which element type each weight gets, in a converted file and when weights are converted on load.

The choice depends on the name, the shape and the stored type alone, so that a converted file and a
file converted on load hold the same values.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from enum import Enum

from ltx2cpp.checkpoint.tensors import DType
from ltx2cpp.errors import ArgumentError
from ltx2cpp.options import spell_type


class Recipe(str, Enum):
    """A policy for a whole file; the value is what users write (in either case)."""

    F32 = "f32"
    F16 = "f16"
    BF16 = "bf16"
    Q8_0 = "q8_0"
    Q6_K = "q6_k"
    Q5_K_M = "q5_k_m"
    Q4_K_M = "q4_k_m"
    INT8_CONVROT = "int8_convrot"

    @property
    def is_quantized(self) -> bool:
        return self not in (Recipe.F32, Recipe.F16, Recipe.BF16)

    def __str__(self) -> str:
        return self.value


class WeightClass(Enum):
    """How a weight reacts to rounding.

    Attributes:
        VECTOR: norms, biases, modulation tables, statistics, filters: tiny, and often used in
            float32 arithmetic.
        STEERING: small matrices that every token or every block depends on.
        KERNEL: convolution kernels of the codecs and upsamplers.
        LINEAR: the bulk: attention and feed-forward matrices.
        SENSITIVE: those of them that lose most at four and five bits.
        PROJECTION: text features to context; used once per prompt.
        EMBEDDING: token embeddings, of which only a few rows are read.
    """

    VECTOR = "vector"
    STEERING = "steering"
    KERNEL = "kernel"
    LINEAR = "linear"
    SENSITIVE = "sensitive"
    PROJECTION = "projection"
    EMBEDDING = "embedding"


# The first pattern that matches decides. Official, diffusers and llama.cpp spellings.
_CLASSES: tuple[tuple[re.Pattern[str], WeightClass], ...] = tuple(
    (re.compile(pattern), weight_class)
    for pattern, weight_class in (
        (
            r"scale_shift_table|keyframes_abs_pos_embedding|per_channel_statistics"
            r"|(^|\.)mel_stft\.|\.filter$|\.kernel$",
            WeightClass.VECTOR,
        ),
        (
            r"(^|[._])(adaln_single|prompt_adaln|time_embed|timestep_embedder|patchify_proj"
            r"|caption_projection|to_gate_logits|learnable_registers)\b"
            r"|(^|\.)(audio_)?proj_(in|out)\.|(^|\.)av_cross_attn_",
            WeightClass.STEERING,
        ),
        (r"aggregate_embed\.|text_proj_in\.", WeightClass.PROJECTION),
        (r"(^|\.)(embed_tokens(_per_layer)?|token_embd)\.", WeightClass.EMBEDDING),
        # Not audio_ff.net.2: a sixth of the size, and the files of other tools keep it plain too.
        (
            r"(^|\.)transformer_(1d_)?blocks\.\d+\.(.*\.)?(to_v|ff\.net\.2)\.weight$"
            r"|(^|\.)layers\.\d+\.(self_attn\.v_proj|mlp\.down_proj)\."
            r"|^blk\.\d+\.(attn_v|ffn_down)\.",
            WeightClass.SENSITIVE,
        ),
        (
            r"(^|\.)transformer_(1d_)?blocks\.\d+\."
            r"(.*\.)?(to_q|to_k|to_out\.0|(audio_)?ff\.net\.0\.proj|audio_ff\.net\.2)\.weight$"
            r"|(^|\.)layers\.\d+\.(self_attn\.[qko]_proj|mlp\.(gate|up)_proj"
            r"|per_layer_(input_gate|projection))\."
            r"|^blk\.\d+\.(attn_q|attn_k|attn_output|ffn_gate|ffn_up)\.",
            WeightClass.LINEAR,
        ),
    )
)

# Kernels below this size are kept exact, as the GGUF files of other tools keep them.
_SMALL_KERNEL_ELEMENTS = 1024

# The rows of PROJECTION gather the states of all layers, whose sizes differ by orders of magnitude,
# and it is used once per prompt: eight bits at every level.
_QUANTIZED: dict[Recipe, dict[WeightClass, DType]] = {
    Recipe.Q8_0: {
        WeightClass.LINEAR: DType.Q8_0,
        WeightClass.SENSITIVE: DType.Q8_0,
        WeightClass.EMBEDDING: DType.Q8_0,
        WeightClass.PROJECTION: DType.Q8_0,
    },
    Recipe.Q6_K: {
        WeightClass.LINEAR: DType.Q6_K,
        WeightClass.SENSITIVE: DType.Q6_K,
        WeightClass.EMBEDDING: DType.Q6_K,
        WeightClass.PROJECTION: DType.Q8_0,
    },
    Recipe.Q5_K_M: {
        WeightClass.LINEAR: DType.Q5_K,
        WeightClass.SENSITIVE: DType.Q6_K,
        WeightClass.EMBEDDING: DType.Q6_K,
        WeightClass.PROJECTION: DType.Q8_0,
    },
    Recipe.Q4_K_M: {
        WeightClass.LINEAR: DType.Q4_K,
        WeightClass.SENSITIVE: DType.Q6_K,
        WeightClass.EMBEDDING: DType.Q6_K,
        WeightClass.PROJECTION: DType.Q8_0,
    },
    Recipe.INT8_CONVROT: {
        WeightClass.LINEAR: DType.I8,
        WeightClass.SENSITIVE: DType.I8,
        WeightClass.EMBEDDING: DType.Q8_0,
        WeightClass.PROJECTION: DType.Q8_0,
    },
}

# Columns of a row that are rotated together, and the fewest that are: short rows lose too much.
ROTATION_GROUP = 256
_MIN_ROTATED_COLUMNS = 1024

_ALIASES = {"q5_k": Recipe.Q5_K_M, "q4_k": Recipe.Q4_K_M}


def parse_recipe(text: str | Recipe) -> Recipe:
    """Return the recipe that a user's word means, in any spelling of `spell_type`.

    q5_k and q4_k mean the _m forms.

    Raises:
        ArgumentError: not one of them.
    """
    if isinstance(text, Recipe):
        return text
    word = spell_type(str(text))
    if word in _ALIASES:
        return _ALIASES[word]
    try:
        return Recipe(word)
    except ValueError as error:
        names = ", ".join(recipe.value for recipe in Recipe)
        raise ArgumentError(
            f"type: unknown weight type {text!r}; expected one of {names}"
        ) from error


def weight_class(name: str, shape: Sequence[int]) -> WeightClass:
    """Return the class of a weight.

    Args:
        name: stored or canonical name.
        shape: extents, outermost first.
    """
    if len(shape) <= 1:
        return WeightClass.VECTOR
    for pattern, kind in _CLASSES:
        if pattern.search(name):
            return kind
    if len(shape) > 2 and math.prod(shape) <= _SMALL_KERNEL_ELEMENTS:
        return WeightClass.VECTOR
    return WeightClass.KERNEL


def target_dtype(
    name: str, shape: Sequence[int], source_dtype: DType, recipe: Recipe | str
) -> DType | None:
    """Return the type that a weight is converted to.

    A type whose blocks do not divide the rows gives way to q8_0, and that to the 16-bit type; rows
    that are not rotated (int8_convrot) stay in 16 bits.
    The 16-bit type of quantised recipes is bf16, which loses no range, unless the file has f16.

    Args:
        name: stored or canonical name.
        shape: extents, outermost first.
        source_dtype: stored type.
        recipe: what the user asked for; quantised sources are allowed.

    Returns:
        the type, which may be the stored one; None for bytes and integers, which are no weights
        and stay as they are.

    Raises:
        ArgumentError: unknown recipe.
    """
    recipe = parse_recipe(recipe)
    if not (source_dtype.is_float or source_dtype.is_quantized):
        return None
    kind = weight_class(name, shape)
    if recipe is Recipe.F32 or kind is WeightClass.VECTOR:
        return DType.F32
    half = _half_type(source_dtype, recipe)
    if not recipe.is_quantized or len(shape) != 2:
        return half
    target = _QUANTIZED[recipe].get(kind, half)
    if target is DType.I8:
        columns = shape[-1]
        rotates = columns >= _MIN_ROTATED_COLUMNS and columns % ROTATION_GROUP == 0
        # Scales are named after the ending.
        return DType.I8 if rotates and name.endswith(".weight") else half
    for candidate in (target, DType.Q8_0):
        if target.is_quantized and shape[-1] % candidate.block_elements == 0:
            return candidate
    return half


def _half_type(source_dtype: DType, recipe: Recipe) -> DType:
    if recipe is Recipe.F16:
        return DType.F16
    if recipe is Recipe.BF16:
        return DType.BF16
    return DType.F16 if source_dtype is DType.F16 else DType.BF16
