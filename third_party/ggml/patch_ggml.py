"""Our edits to ggml, as insertions at anchors that must occur exactly once.

An insertion carries no line of ggml except a short anchor, needs neither git nor patch, and either fits or stops the
build. Eight edits are made:

- ggml's CUDA backend learns to run ``GGML_OP_CUSTOM`` nodes through a function that the application registers (on the
  CPU backend such nodes run as they are). The function gets the backend context, the current stream, the device and
  the node, and answers whether it ran; a null context asks whether it would.
- where the build leaves kernels out (``LTX2CPP_LEFT_OUT``, kernels/cuda/left_out.cu), the backend says so when it is
  asked, and fuses no product into the kernels for single rows and no sums or products of several operands, which are
  left out.
- the Vulkan backend learns the same: the function gets the backend's handle on the command buffer in recording, a
  function that enqueues a shader there, and the node; a null handle asks. ggml waits between nodes that touch the same
  memory by itself. It has no function by which the application could be registered, so it gets one.
- the Vulkan backend computes with F32 operands as they are. It would round them to F16, which ends at 65504, in products
  and in attention wherever the device has F16 arithmetic or matrix units; those stay for 16-bit and quantised weights.
- a CPU thread that waits for the others at a barrier yields its core after about 50 us. Where another program shares
  the cores, the thread waited for may not be running at all, and spinning only keeps it from that.
- loads of 4 and 8 bytes from blocks of 2-byte alignment (IQ3_XXS, Q1_0, IQ1_S) and from scales at multiples of 4
  (IQ1_M) go through types that may lie anywhere, so that the compiler assumes no more than is true.
- products of F16 are summed in F32 on ARM too. With F16 arithmetic, which a build for this machine has nearly everywhere,
  they would be summed in F16, which ends at 65504 and has 11 bits.
- sums and products of two operands tell clang that their result lies in place of one or apart from both. Where it is in
  place, as most are, clang would take a loop without vectors, four times as slow; gcc sees by itself that order is kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


class PatchError(Exception):
    """An anchor is missing or ambiguous: the pinned tree changed and the edits need a new look."""


@dataclass(frozen=True)
class Insertion:
    """``text`` goes in front of or behind ``anchor`` in the file at ``path``."""

    path: str
    anchor: str
    text: str
    after: bool


CUDA = "src/ggml-cuda/ggml-cuda.cu"
BROADCAST = "src/ggml-cuda/binbcast.cu"
VULKAN = "src/ggml-vulkan/ggml-vulkan.cpp"
CPU = "src/ggml-cpu/ggml-cpu.c"
CPU_HEADER = "src/ggml-cpu/ggml-cpu-impl.h"
BINARY = "src/ggml-cpu/binary-ops.cpp"
TILED = "src/ggml-cpu/tiled/tiled.cpp"
X86 = "src/ggml-cpu/arch/x86/quants.c"
VECTORS = "src/ggml-cpu/simd-mappings.h"
MATRICES = "src/ggml-cpu/llamafile/sgemm.cpp"

INSERTIONS = (
    Insertion(
        CUDA,
        "static bool ggml_cuda_compute_forward(",
        """// inserted by ltx2cpp: custom operations on CUDA
typedef bool (*ltx_custom_op_t)(void * context, void * stream, int device, struct ggml_tensor * node);
static ltx_custom_op_t ltx_custom_op = nullptr;
static void ltx_set_custom_op(ltx_custom_op_t function) { ltx_custom_op = function; }
#ifdef LTX2CPP_LEFT_OUT
bool ltx_has_stock_kernel(const struct ggml_tensor * node);
#endif

""",
        after=False,
    ),
    Insertion(
        CUDA,
        "static bool ggml_cuda_compute_forward(ggml_backend_cuda_context & ctx, struct ggml_tensor * dst) {\n",
        """    if (dst->op == GGML_OP_CUSTOM) {
        return ltx_custom_op && ltx_custom_op(&ctx, ctx.stream(), ctx.device, dst);
    }
""",
        after=True,
    ),
    Insertion(
        CUDA,
        "static bool ggml_backend_cuda_device_supports_op(ggml_backend_dev_t dev, const ggml_tensor * op) {\n",
        """    if (op->op == GGML_OP_CUSTOM) {
        const int device = ((ggml_backend_cuda_device_context *) dev->context)->device;
        return ltx_custom_op && ltx_custom_op(nullptr, nullptr, device, const_cast<ggml_tensor *>(op));
    }
#ifdef LTX2CPP_LEFT_OUT
    if (!ltx_has_stock_kernel(op)) {
        return false;
    }
#endif
""",
        after=True,
    ),
    Insertion(
        CUDA,
        '    if (strcmp(name, "ggml_backend_register_host_buffer") == 0) {\n',
        """    if (strcmp(name, "ggml_backend_cuda_set_custom_op") == 0) {
        return (void *) ltx_set_custom_op;
    }
""",
        after=False,
    ),
    Insertion(
        CUDA,
        "static bool ggml_cuda_should_fuse_mul_mat_vec_q(const ggml_tensor * tensor) {\n",
        """#ifdef LTX2CPP_LEFT_OUT
    return false;
#endif
""",
        after=True,
    ),
    Insertion(
        CUDA,
        "        if (n_fuse > 1) {\n",
        """#ifdef LTX2CPP_LEFT_OUT
        n_fuse = 1;
#endif
""",
        after=False,
    ),
    Insertion(
        BROADCAST,
        "template <float (*op)(const float, const float), int n_fuse>\n",
        "#ifndef LTX2CPP_LEFT_OUT\n",
        after=False,
    ),
    Insertion(BROADCAST, "void ggml_cuda_op_repeat_back(", "#endif\n", after=False),
    Insertion(
        VULKAN,
        "bool ggml_vk_build_graph(ggml_backend_vk_context * ctx, ",
        """// inserted by ltx2cpp: custom operations on Vulkan
struct ltx_vk_dispatch {
    const char * name;
    const uint32_t * words;  // the shader
    size_t word_count;
    const uint32_t * constants;  // of the specialisation, from number 0 on
    uint32_t constant_count;
    const struct ggml_tensor * const * tensors;  // bound in this order
    uint32_t tensor_count;
    const uint32_t * push;  // behind where each binding's tensor begins, in elements
    uint32_t push_count;
    uint32_t groups[3];
};
typedef void (*ltx_vk_enqueue_t)(void * call, const struct ltx_vk_dispatch * dispatch);
typedef bool (*ltx_custom_op_t)(void * call, ltx_vk_enqueue_t enqueue, struct ggml_tensor * node);
static ltx_custom_op_t ltx_custom_op = nullptr;
static void ltx_set_custom_op(ltx_custom_op_t function) { ltx_custom_op = function; }

struct ltx_vk_call {
    ggml_backend_vk_context * ctx;
    vk_context & compute_ctx;
};

static vk_pipeline ltx_vk_pipeline(vk_device & device, const ltx_vk_dispatch * d, uint32_t bindings) {
    static std::mutex mutex;
    static std::map<std::tuple<const void *, const void *, std::vector<uint32_t>>, vk_pipeline> pipelines;
    const std::vector<uint32_t> constants(d->constants, d->constants + d->constant_count);
    const std::lock_guard<std::mutex> lock(mutex);
    vk_pipeline & known = pipelines[{ device.get(), d->words, constants }];
    if (!known) {
        vk_pipeline made = std::make_shared<vk_pipeline_struct>();
        made->name = d->name;
        made->parameter_count = bindings;
        made->push_constant_size = (uint32_t) sizeof(uint32_t) * (bindings + d->push_count);
        made->wg_denoms = { 1, 1, 1 };
        made->align = 1;
        made->initialized = true;
        ggml_vk_create_pipeline_func(device, made, sizeof(uint32_t) * d->word_count, d->words, "main", bindings,
            made->wg_denoms, constants, false, false, 0);
        known = made;
    }
    return known;
}

static void ltx_vk_enqueue(void * call, const struct ltx_vk_dispatch * d) {
    ggml_backend_vk_context * ctx = ((ltx_vk_call *) call)->ctx;
    constexpr uint32_t bindings = 6;  // a fixed number; those that are left over repeat the first
    GGML_ASSERT(d->tensor_count <= bindings);
    vk_pipeline pipeline = ltx_vk_pipeline(ctx->device, d, bindings);
    ggml_pipeline_request_descriptor_sets(ctx, pipeline, 1);
    std::vector<uint32_t> push;
    vk::DescriptorBufferInfo at[bindings];
    for (uint32_t i = 0; i < bindings; ++i) {
        const ggml_tensor * tensor = d->tensors[i < d->tensor_count ? i : 0];
        push.push_back(get_misalign_bytes(ctx, tensor) / (uint32_t) ggml_type_size(tensor->type));
        at[i] = ggml_vk_tensor_subbuffer(ctx, tensor, true);
    }
    push.insert(push.end(), d->push, d->push + d->push_count);
    ggml_vk_dispatch_pipeline(ctx, ((ltx_vk_call *) call)->compute_ctx, pipeline,
        { at[0], at[1], at[2], at[3], at[4], at[5] }, push, { d->groups[0], d->groups[1], d->groups[2] });
}

static void * ltx_vk_get_proc_address(ggml_backend_reg_t reg, const char * name) {
    GGML_UNUSED(reg);
    return strcmp(name, "ggml_backend_vk_set_custom_op") == 0 ? (void *) ltx_set_custom_op : nullptr;
}

""",
        after=False,
    ),
    Insertion(
        VULKAN,
        "    case GGML_OP_POOL_2D:\n        ggml_vk_pool_2d(",
        """    case GGML_OP_CUSTOM: {
        ltx_vk_call call = { ctx, compute_ctx };
        GGML_ASSERT(ltx_custom_op && ltx_custom_op(&call, ltx_vk_enqueue, node));
        break;
    }
""",
        after=False,
    ),
    Insertion(
        VULKAN,
        "    if (!tensor_size_supported(ggml_nbytes(op))) {\n        return false;\n    }\n",
        """    if (op->op == GGML_OP_CUSTOM) {
        return ltx_custom_op && ltx_custom_op(nullptr, nullptr, const_cast<ggml_tensor *>(op));
    }
""",
        after=True,
    ),
    Insertion(VULKAN, "    /* .get_proc_address = */ ", "ltx_vk_get_proc_address, // ", after=True),
    Insertion(
        VULKAN,
        "        device->fp16 = !force_disable_f16 && fp16_storage && fp16_compute;\n",
        """        // inserted by ltx2cpp: F32 operands are computed with as they are
        device->fp16 = false;
        coopmat2_support = false;
""",
        after=True,
    ),
    Insertion(
        VULKAN,
        "    if (path == FA_COOPMAT1 && device->architecture == vk_device_architecture::NVIDIA_TURING) {\n",
        """    if (k_type == GGML_TYPE_F32) {
        path = FA_SCALAR;
    }
""",
        after=False,
    ),
    Insertion(
        VULKAN,
        "        cm1_create({GGML_TYPE_F32, GGML_TYPE_F32, false, false}, tc_mm,",
        """        // inserted by ltx2cpp: without matrix units, which have no F32, in tiles that need none
        const uint32_t ltx_rows = device->subgroup_size == 8 ? 8 : 32;
        const std::vector<vk_tile_config> ltx_tiles = {
            {{subgroup_size_32, 32, 32, 16, ltx_rows, 32, 2, 2, 2, 1, subgroup_size_8}, {32, 32, 1}, s_align},
            {{128, 64, 64, 16, mm_warp_8, 32, 2, 4, 2, 1, mm_warp_8}, {64, 64, 1}, m_align},
        };
        create_mm_pipelines({GGML_TYPE_F32, GGML_TYPE_F32, false, false}, ltx_tiles, "ltx_matmul_f32",
            matmul_f32_f32_fp32_len, matmul_f32_f32_fp32_data, sizeof(vk_mat_mat_push_constants), 3, cm1_spec);
        if (false)
""",
        after=False,
    ),
    Insertion(
        CPU,
        "    while (atomic_load_explicit(&tp->n_barrier_passed, memory_order_relaxed) == n_passed) {\n",
        """        // inserted by ltx2cpp: waiting threads make room on a shared machine
        static const int ltx_spins = 1000;
        if (++ltx_waited > ltx_spins) {
            sched_yield();
        }
""",
        after=True,
    ),
    Insertion(
        CPU,
        "    // wait for other threads\n",
        "    int ltx_waited = 0;\n",
        after=False,
    ),
    Insertion(
        CPU_HEADER,
        '#include "ggml-impl.h"\n',
        """
// inserted by ltx2cpp: integers in blocks of quantised weights, at any address
#if defined(__GNUC__)
typedef uint32_t ltx_anywhere_uint32_t __attribute__((aligned(1), may_alias));
typedef uint64_t ltx_anywhere_uint64_t __attribute__((aligned(1), may_alias));
#else
typedef uint32_t ltx_anywhere_uint32_t;
typedef uint64_t ltx_anywhere_uint64_t;
#endif
""",
        after=True,
    ),
    Insertion(TILED, "const uint32_t aux32 = *(const ", "ltx_anywhere_", after=True),
    # Q1_0
    Insertion(X86, "uint32_t * GGML_RESTRICT qs32", "ltx_anywhere_", after=False),
    Insertion(X86, "GGML_RESTRICT qs32 = (const ", "ltx_anywhere_", after=True),
    # IQ1_S
    Insertion(
        X86,
        "uint32_t *)qs, 0x00ff00ff00ff00ffULL) | _pdep_u64(qh[ib],",
        "ltx_anywhere_",
        after=False,
    ),
    Insertion(
        X86,
        "uint32_t *)(qs + 4), 0x00ff00ff00ff00ffULL) | _pdep_u64(qh[ib + 1],",
        "ltx_anywhere_",
        after=False,
    ),
    # IQ1_M
    Insertion(X86, "uint64_t*)sc)", "ltx_anywhere_", after=False),
    Insertion(
        BINARY,
        "    for (int i = 0; i < n; i++) {\n        z[i]",
        """    // inserted by ltx2cpp: an operand lies where the result does, or apart
#if defined(__clang__)
#pragma clang loop vectorize(assume_safety)
#endif
""",
        after=False,
    ),
    # Never defined.
    Insertion(
        VECTORS,
        """#define GGML_F32_VEC_REDUCE GGML_F32x4_REDUCE

// F16 NEON

#if defined(__ARM_FEATURE_FP16_VECTOR_ARITHMETIC)""",
        " && defined(LTX_SUMS_IN_F16)",
        after=True,
    ),
    Insertion(
        MATRICES,
        "#elif defined(__ARM_FEATURE_FP16_VECTOR_ARITHMETIC)",
        " && defined(LTX_SUMS_IN_F16)",
        after=True,
    ),
)


def apply(tree: Path) -> None:
    """Edits an unpacked ggml tree in place.

    Raises:
        PatchError: An anchor does not occur exactly once.
    """
    for insertion in INSERTIONS:
        path = tree / insertion.path
        text = path.read_text(encoding="utf-8")
        if (count := text.count(insertion.anchor)) != 1:
            raise PatchError(
                f"{insertion.path}: anchor {insertion.anchor.strip()!r} occurs {count} times, expected once"
            )
        replacement = (
            insertion.anchor + insertion.text
            if insertion.after
            else insertion.text + insertion.anchor
        )
        path.write_text(text.replace(insertion.anchor, replacement), encoding="utf-8")
