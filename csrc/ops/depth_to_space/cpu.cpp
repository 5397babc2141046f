#include <algorithm>
#include <vector>

#include "ops/depth_to_space/depth_to_space.h"

namespace ltx {

namespace {

struct CellOffset {
    int64_t time, height, width;
};

// The neighbour that channel offset `index` stands for.
CellOffset cell_offset(SpaceTimeFactor factor, Packing packing, int64_t index) {
    const int64_t in_plane = index % (factor.height * factor.width);
    const int64_t time = index / (factor.height * factor.width);
    return packing == Packing::WidthFastest ? CellOffset{time, in_plane / factor.width, in_plane % factor.width}
                                            : CellOffset{time, in_plane % factor.height, in_plane / factor.height};
}

// The channels at one position.
const float * channels_at(const ggml_tensor * t, int64_t x, int64_t y, int64_t frame) {
    return reinterpret_cast<const float *>(static_cast<const char *>(t->data) + x * t->nb[1] + y * t->nb[2] +
                                           frame * t->nb[3]);
}

}  // namespace

void depth_to_space_cpu(ggml_tensor * dst, int thread, int num_threads, void * /*unused*/) {
    const auto params = constants_of<DepthToSpaceConstants>(dst);
    const ggml_tensor * in = dst->src[0];
    const FramePieces shortcut = pieces_of(dst, 1, params.shortcut);
    const int64_t split = frame_count(shortcut.earlier);
    const SpaceTimeFactor f = params.factor;
    const int64_t p = f.product();
    const int64_t channels = dst->ne[0];
    const auto [begin, end] = rows_of_thread(in->ne[2] * in->ne[3], thread, num_threads);
    for (int64_t line = begin; line < end; ++line) {
        const int64_t y = line % in->ne[2];
        const int64_t t = line / in->ne[2];
        const ggml_tensor * piece = t < split ? shortcut.earlier : shortcut.frames;
        for (int64_t index = 0; index < p; ++index) {
            const CellOffset at = cell_offset(f, params.packing, index);
            const int64_t frame = t * f.time + at.time - params.drop_first;
            if (frame < 0) {
                continue;
            }
            for (int64_t x = 0; x < in->ne[1]; ++x) {
                const float * from = channels_at(in, x, y, t) + index;
                auto * to =
                    const_cast<float *>(channels_at(dst, x * f.width + at.width, y * f.height + at.height, frame));
                for (int64_t c = 0; c < channels; ++c) {
                    to[c] = from[c * p];
                }
                if (piece) {
                    const float * added = channels_at(piece, x, y, t < split ? t : t - split) + index;
                    const int64_t period = piece->ne[0] / p;
                    for (int64_t c = 0; c < channels; ++c) {
                        to[c] += added[c % period * p];
                    }
                }
            }
        }
    }
}

void space_to_depth_cpu(ggml_tensor * dst, int thread, int num_threads, void * /*unused*/) {
    const auto params = constants_of<SpaceToDepthConstants>(dst);
    const ggml_tensor * in = dst->src[0];
    const ggml_tensor * shortcut = dst->src[1];
    const SpaceTimeFactor f = params.factor;
    const int64_t p = f.product();
    const int64_t group = shortcut ? shortcut->ne[0] * p / dst->ne[0] : 0;
    std::vector<const float *> rows(static_cast<size_t>(p));
    const auto [begin, end] = rows_of_thread(ggml_nrows(dst), thread, num_threads);
    for (int64_t position = begin; position < end; ++position) {
        const int64_t x = position % dst->ne[1];
        const int64_t y = position / dst->ne[1] % dst->ne[2];
        const int64_t t = position / (dst->ne[1] * dst->ne[2]);
        float * to = static_cast<float *>(dst->data) + position * dst->ne[0];
        for (int64_t index = 0; index < p; ++index) {
            const CellOffset at = cell_offset(f, params.packing, index);
            const int64_t frame = t * f.time + at.time;
            const float * from = channels_at(in, x * f.width + at.width, y * f.height + at.height, frame);
            for (int64_t c = 0; c < in->ne[0]; ++c) {
                to[c * p + index] = from[c];
            }
            if (shortcut) {
                rows[static_cast<size_t>(index)] =
                    channels_at(shortcut, x * f.width + at.width, y * f.height + at.height,
                                std::max<int64_t>(0, frame - params.lead));
            }
        }
        for (int64_t o = 0; group && o < dst->ne[0]; ++o) {
            float sum = 0.0f;
            for (int64_t k = o * group; k < (o + 1) * group; ++k) {
                sum += rows[static_cast<size_t>(k % p)][k / p];
            }
            to[o] += sum / static_cast<float>(group);
        }
    }
}

}  // namespace ltx
