// Hooks that let the test suite run the operations of the video networks. Only built with LTX2CPP_TESTING.
#include <memory>
#include <optional>

#include "bindings/register.h"
#include "bindings/testing.h"
#include "bindings/testing_window.h"
#include "ops/conv3d/conv3d.h"
#include "ops/depth_to_space/depth_to_space.h"
#include "ops/grid_rope/grid_rope.h"
#include "ops/group_norm/group_norm.h"
#include "ops/pad/pad.h"
#include "ops/pixel_norm/pixel_norm.h"
#include "ops/window_attention/window_attention.h"

namespace py = pybind11;

namespace ltx::bindings {

namespace {

using Case = std::unique_ptr<OpCase>;
using Optional = std::optional<FloatArray>;

ggml_type parse_type(const std::string & name) {
    if (name == "f32") {
        return GGML_TYPE_F32;
    }
    if (name == "f16") {
        return GGML_TYPE_F16;
    }
    if (name == "bf16") {
        return GGML_TYPE_BF16;
    }
    throw ArgumentError("type '", name, "' is none of f32, f16, bf16");
}

// Null where there is no array.
ggml_tensor * optional_input(OpCase & op, Graph & graph, const std::string & name, const Optional & array,
                             ggml_type type = GGML_TYPE_F32) {
    if (!array) {
        return nullptr;
    }
    ggml_tensor * tensor = op.input(graph, name, *array);
    return type == GGML_TYPE_F32 ? tensor : ggml_cast(graph.ctx(), tensor, type);
}

FramePieces pieces_input(OpCase & op, Graph & graph, const Optional & earlier, const Optional & frames,
                         ggml_type type_of_earlier = GGML_TYPE_F32) {
    return {optional_input(op, graph, "earlier", earlier, type_of_earlier),
            optional_input(op, graph, "frames", frames)};
}

SpaceTimeFactor factor_of(const std::array<int32_t, 3> & factor) {
    return {factor[0], factor[1], factor[2]};
}

Packing packing_of(bool height_fastest) {
    return height_fastest ? Packing::HeightFastest : Packing::WidthFastest;
}

Case make_case(bool fused, int threads, const std::function<ggml_tensor *(OpCase &, Graph &)> & build) {
    auto result = std::make_unique<OpCase>(fused, threads);
    result->build([&](Graph & graph) { return as_f32(graph, build(*result, graph)); });
    return result;
}

Case pad_case(const Optional & earlier, const Optional & frames, const std::string & type, int32_t front, int32_t back,
              bool reflect, bool zero_frames, bool norm_silu, bool earlier_is_padded, float eps, bool fused,
              int threads) {
    return make_case(fused, threads, [&](OpCase & op, Graph & graph) {
        const PadOptions options{
            .type = parse_type(type),
            .front = front,
            .back = back,
            .spatial = reflect ? SpatialPad::Reflect : SpatialPad::Zeros,
            .temporal = zero_frames ? TemporalPad::Zeros : TemporalPad::Repeat,
            .norm_silu = norm_silu,
            .earlier_is_padded = earlier_is_padded,
            .eps = eps,
        };
        return pad_frames(
            graph, pieces_input(op, graph, earlier, frames, earlier_is_padded ? options.type : GGML_TYPE_F32), options);
    });
}

Case conv3d_case(const FloatArray & weight, const FloatArray & bias, const FloatArray & padded,
                 const Optional & earlier, const Optional & frames, const std::string & type, int64_t taps, bool fused,
                 int threads) {
    return make_case(fused, threads, [&](OpCase & op, Graph & graph) {
        const bool direct = type == "direct";
        const ggml_type held = direct ? GGML_TYPE_BF16 : parse_type(type);
        ConvKernel kernel{optional_input(op, graph, "weight", weight, held), op.input(graph, "bias", bias), taps};
        ggml_tensor * x = optional_input(op, graph, "padded", padded);
        if (const int64_t channels = kernel.buffer_channels(); channels > x->ne[0]) {
            x = ggml_pad(graph.ctx(), x, static_cast<int>(channels - x->ne[0]), 0, 0, 0);
        }
        x = held == GGML_TYPE_F32 ? x : ggml_cast(graph.ctx(), x, held);
        return conv3d(graph, kernel, x, pieces_input(op, graph, earlier, frames));
    });
}

}  // namespace

void register_testing_video(py::module_ & module) {
    py::module_ testing = module.attr("_testing");
    testing.def("pad_frames", &pad_case, py::kw_only(), py::arg("earlier") = py::none(), py::arg("frames") = py::none(),
                py::arg("type") = "f32", py::arg("front") = 0, py::arg("back") = 0, py::arg("reflect") = false,
                py::arg("zero_frames") = false, py::arg("norm_silu") = false, py::arg("earlier_is_padded") = false,
                py::arg("eps") = 1e-8f, py::arg("fused"), py::arg("threads") = 1,
                "Pieces (frames, height, width, channels).");
    testing.def("conv3d", &conv3d_case, py::arg("weight"), py::arg("bias"), py::arg("padded"), py::kw_only(),
                py::arg("earlier") = py::none(), py::arg("frames") = py::none(), py::arg("type") = "f32",
                py::arg("taps") = 27, py::arg("fused"), py::arg("threads") = 1,
                "weight (taps, out, in), or (out, in * taps) and type \"direct\"; padded (frames + 2, height + 2, "
                "width + 2, in), residual pieces.");
    testing.def(
        "pixel_norm_silu",
        [](const FloatArray & x, float eps, bool fused, int threads) {
            return make_case(fused, threads, [&](OpCase & op, Graph & graph) {
                return pixel_norm_silu(graph, op.input(graph, "x", x), eps);
            });
        },
        py::arg("x"), py::arg("eps"), py::kw_only(), py::arg("fused"), py::arg("threads") = 1, "x (..., channels).");
    testing.def(
        "depth_to_space",
        [](const FloatArray & x, const std::array<int32_t, 3> & factor, bool height_fastest, bool drop_first,
           const Optional & earlier, const Optional & frames, bool fused, int threads) {
            return make_case(fused, threads, [&](OpCase & op, Graph & graph) {
                return depth_to_space(graph, op.input(graph, "x", x), factor_of(factor), packing_of(height_fastest),
                                      drop_first, pieces_input(op, graph, earlier, frames));
            });
        },
        py::arg("x"), py::arg("factor"), py::arg("height_fastest") = false, py::arg("drop_first") = false,
        py::arg("earlier") = py::none(), py::arg("frames") = py::none(), py::kw_only(), py::arg("fused"),
        py::arg("threads") = 1, "x and the shortcut's pieces (frames, height, width, channels).");
    testing.def(
        "space_to_depth",
        [](const FloatArray & x, const std::array<int32_t, 3> & factor, bool height_fastest, const Optional & shortcut,
           int32_t lead, bool fused, int threads) {
            return make_case(fused, threads, [&](OpCase & op, Graph & graph) {
                return space_to_depth(graph, op.input(graph, "x", x), factor_of(factor), packing_of(height_fastest),
                                      optional_input(op, graph, "shortcut", shortcut), lead);
            });
        },
        py::arg("x"), py::arg("factor"), py::arg("height_fastest") = false, py::arg("shortcut") = py::none(),
        py::arg("lead") = 0, py::kw_only(), py::arg("fused"), py::arg("threads") = 1,
        "x and shortcut (frames, height, width, channels).");
    testing.def(
        "group_norm_silu",
        [](const FloatArray & x, const FloatArray & weight, const FloatArray & bias, int64_t groups, float eps,
           const Optional & residual, bool fused, int threads) {
            return make_case(fused, threads, [&](OpCase & op, Graph & graph) {
                return group_norm_silu(graph, op.input(graph, "x", x), op.input(graph, "weight", weight),
                                       op.input(graph, "bias", bias), groups, eps,
                                       optional_input(op, graph, "residual", residual));
            });
        },
        py::arg("x"), py::arg("weight"), py::arg("bias"), py::arg("groups"), py::arg("eps"),
        py::arg("residual") = py::none(), py::kw_only(), py::arg("fused"), py::arg("threads") = 1,
        "x and residual (frames, height, width, channels).");
    testing.def(
        "norm_grid_rope",
        [](const FloatArray & qkv, const FloatArray & q_weight, const FloatArray & k_weight, float scale, float eps,
           bool fused, int threads) {
            return make_case(fused, threads, [&](OpCase & op, Graph & graph) {
                return norm_grid_rope(graph, op.input(graph, "qkv", qkv), op.input(graph, "q_weight", q_weight),
                                      op.input(graph, "k_weight", k_weight), scale, eps);
            });
        },
        py::arg("qkv"), py::arg("q_weight"), py::arg("k_weight"), py::arg("scale"), py::arg("eps"), py::kw_only(),
        py::arg("fused") = true, py::arg("threads") = 1,
        "qkv (frames, height, width, 3 * channels), weights (head_dim,).");
    testing.def(
        "window_attention",
        [](const FloatArray & qkv, int64_t head_dim, const std::array<int32_t, 3> & window, bool centred, bool fused,
           int threads) {
            return make_case(fused, threads, [&](OpCase & op, Graph & graph) {
                return window_attention(graph, op.input(graph, "qkv", qkv), head_dim, {window[0], window[1], window[2]},
                                        centred ? RowEnds::Centre : RowEnds::Shift);
            });
        },
        py::arg("qkv"), py::arg("head_dim"), py::arg("window"), py::kw_only(), py::arg("centred") = false,
        py::arg("fused") = true, py::arg("threads") = 1, "qkv (frames, height, width, 3 * channels).");
    testing.def("choose_window_form", &choose_window_form, py::arg("name"),
                "Lets windowed attention run as on a CPU with these instructions, in plain C++, from here on.");
}

}  // namespace ltx::bindings
