"""Every bound of the test suite: the largest accepted normalised RMS error, with its reason.

Loosening a bound needs a reason here.
"""

from __future__ import annotations

# --- own operations, CPU, float32 ---

# One rounding per step of about five steps; float32 rounds to 6e-8 relative.
OP_F32 = 5e-7

# Two forms of windowed attention sum up to 1331 weighted values, in other orders: measured 8e-7.
WINDOW_FORMS = 3e-6
# On matrix registers, whose operands are pairs of BF16 values that hold 16 bits of a float32.
WINDOW_TILES = 3e-5

# Largest relative error of one GELU value: the exponent reaches 60 before it is rounded to float32.
GELU_ELEMENT = 1e-5

# A convolution sums 27 products of up to a few hundred terms each.
CONV_F32 = 2e-6

# One rounding to the type; half a unit in the last place, uniformly spread, is 0.29 of it.
ROUNDING = {"f32": OP_F32, "f16": 3e-4, "bf16": 2.5e-3}

# Products of BF16 values are exact in float32; up to 1500 of them are added in float32, whose
# instructions may drop subnormal results.
GEMM_BF16 = 1e-6

# A layer's input and decoded weights are rounded to BF16 (4e-3 relative each, 1.7e-3 RMS); its
# result may be rounded again.
LINEAR_BF16 = 4e-3

# Where tokens are few, or operations composed, ggml multiplies quantised weights by activations
# rounded to 8 bits with one scale per block: measured 5.4e-3 with blocks of 32 values (q8_0),
# 8.2e-3 with blocks of 256 (the others), on values of a normal distribution.
LINEAR_STOCK_8_BIT = 1.2e-2

# Integers and their sums are exact; a value halfway between two integers may be rounded to another
# one than in float64.
INT8_LINEAR = 1e-4

# Both sides rounded to 8 bits by the largest value of their rotated row: 1.2e-2 to 1.5e-2 for any
# data (spec of the format, and measured here).
INT8_ROUNDING = 2e-2

# Weights of keys are rounded to BF16 before they meet the values, and the result is rounded.
ATTENTION_BF16 = 5e-3

# --- CUDA devices (pytest --device) ---

# Least bounds there. Float32 products run in TF32, the others on bfloat16 operands; errors of
# networks add up over a few layers. What is float32 by definition is so there, in another order of
# summation and with the device's own functions.
DEVICE_CUDA = {"networks": 2e-2, "products": 5e-3, "float32": 1e-4}

# A shader of ours against stock operations on the same Vulkan device, both in float32.
VULKAN_SHADER = 1e-6

# --- sampling, numpy ---

# Noise levels, absolute: computed in float32 in the reference's order; one or two roundings near 1
# where its vector code fuses a product and a sum.
SIGMA_ABSOLUTE = 1e-6

# Inverse of the normal distribution against Python's statistics module, both float64.
QUANTILE_F64 = 1e-14

# --- whole runs, CPU, float32 weights ---

# Latents after all denoising steps: measured 5e-7 without and 2e-6 with guidance (its differences
# are weighted by up to 7); ten times that for other orders of summation.
RUN_F32 = 2e-5

# --- transformer, CPU ---

# Float32 against the reference in float32, torch, and numpy in float64 with float32 angles:
# measured up to 2e-6 in all three, at toy sizes and for a block 4096 wide.
TRANSFORMER_F32 = 1e-5

# BF16 weights multiply activations rounded to BF16 (4e-3 relative); measured 3e-3 to 5e-3 after
# four blocks.
TRANSFORMER_BF16 = 2e-2

# Packed weights are held in BF16 (measured 1e-3 to 3e-3), or multiplied by activations in 8 bits
# with one scale for 32 (3e-3 to 1e-2) or 256 values (8e-3 to 2e-2).
TRANSFORMER_STORED_TYPES = 3e-2

# Weights and activations in 8 bits with one scale for a rotated row: measured 6e-3 to 1.3e-2.
TRANSFORMER_INT8 = 3e-2

# --- text model, feature extractors and connector, CPU ---

# Float32 weights against formulas in float64, the pip references and recordings in float32:
# measured 1e-7 to 6e-6, the most at 1024 tokens (rotary angles of far positions) and against
# recordings that were made with left padding.
TEXT_F32 = 2e-5

# Activations are rounded to the type of the weights before every product: measured 6e-4, 6e-3, and
# 2e-2 where 8 bits share a scale per block, of the logits of a small Gemma 4 up to 3.4e-2: which of
# two neighbours values round to differs from processor to processor, and the figure by a tenth.
TEXT_F16 = 2e-3
TEXT_BF16 = 2e-2
TEXT_Q8_0 = 4e-2

# Seconds of the duration head, one number: measured up to 2e-6 against the reference and formulas
# in float64, most of it from the contexts.
DURATION_F32 = 2e-5

# --- video VAE and latent upsamplers, CPU ---

# Float32 against formulas in float64 and the authors' code in float32: measured up to 2e-6.
VIDEO_F32 = 1e-5

# Kernels in BF16 multiply activations rounded to BF16 before every convolution; measured 3e-3 to
# 9e-3 after 40 of them.
VIDEO_BF16 = 2e-2

# The decoder for previews, float32 throughout, against formulas in float64: measured 1e-7 after 14
# convolutions; ten times that for wider sums in other orders.
PREVIEW_F32 = 1e-6

# --- given clips ---

# Levels of 255: luma and chroma in 8 bits are up to 2 off, encoders at their usual quality and the
# scaling of pixels that are not square do the rest; measured up to 4. Another matrix or range would
# be off by 15 and more.
CLIP_COLOUR = 6

# A clip lasts a whole number of frames at the rate that it is taken at.
CLIP_DURATION_FRAMES = 1

# Frames are moved by half a place at most; sound follows its time stamps where they are further off
# than this. People notice about twice as much.
CLIP_SYNC_FRAMES = 0.5
CLIP_SYNC_S = 0.02

# Outlines tell how long a sound is from its packets; decoders drop what encoders put in front, and
# the last packet is full.
OUTLINED_SOUND_S = 0.1

# A short click overshoots in Opus; measured up to 0.07. Another mix would be off by 0.29.
CLIP_CLICK_LEVEL = 0.1

# --- samplers, numpy ---

# Ten steps in float32 against float64, through a network that doubles differences at each step.
SAMPLER_F32 = 1e-5

# --- LoRAs, CPU ---

# Weights and activations in blocks of 8 bits against float32: measured 1e-2 on the tiny model with
# and without LoRAs.
LORA_Q8_0 = 3e-2

# Sums of float32 and float64 differ in the last bit, which moves few values over a rounding step;
# activations rounded to BF16 before the next product then differ where they lie between two values:
# measured up to 9e-3, each as far from float32 weights (1.0e-2 and 1.4e-2) as the other.
LORA_ROUNDED_ONCE = 2e-2

# What reuse between steps may change: what thresholds are chosen for; taylorseer measured 0.030
# on the clip of the test.
STEP_CACHE = 5e-2

# --- audio, CPU, float32 ---

# Sums of up to 2000 products in one order: measured up to 5e-7.
CONV_F32 = 2e-6

# The sine's argument is rounded to float32, as in the reference: measured up to 3e-7.
SNAKE_SINE = 2e-6

# Audio VAE against the reference in float32: measured 1.4e-6; the order of sums differs.
AUDIO_VAE_F32 = 1e-5

# A hundred convolutions in a row: measured 1.0e-6 against the reference; the logarithm of a quiet
# mel bin enlarges differences of the wave between the two generators.
WAVE_F32 = 1e-5

# Log-mel spectrum and resampling, numpy in float64 against the reference in float32.
MEL_F32 = 2e-6
RESAMPLING_F32 = 1e-5

# Activations are rounded to BF16, or to 8 bits for quantised weights, before each product; measured
# up to 1.4e-2 over all publishers, packings and types.
LAYOUT_FILE_TYPES = 2e-2

# Adapters merged in float32 against float64: measured up to 2e-7.
ADAPTER_F32 = 1e-6
