#include "networks/video_chunks.h"

#include <algorithm>

namespace ltx {

int64_t chunk_latents(int64_t picture_pixels, int64_t frames_per_latent) {
    // Measured with LTX-2.3 and BF16 kernels. The last level has 8 values per pixel: residual stream, input buffer,
    // result, and the frames kept until they are copied.
    constexpr int64_t kBytesPerPixel = 106;
    // About what the largest layer's weights take; longer runs are hardly faster.
    constexpr int64_t kRunBytes = 192 << 20;
    constexpr int64_t kMaxLatents = 8;
    return std::clamp<int64_t>(kRunBytes / (picture_pixels * frames_per_latent * kBytesPerPixel), 1, kMaxLatents);
}

std::unique_ptr<Residency> one_layer_at_a_time(const Backend & backend, std::vector<const WeightStore *> stores) {
    if (!backend.is_cpu()) {
        return nullptr;
    }
    return std::make_unique<MappedResidency>(std::move(stores), PageCache::Keep);
}

FrameStream stream_over(StateStore & states) {
    return FrameStream([&states](const std::string & layer, ggml_type type,
                                 const std::array<int64_t, 4> & ne) { return states.make(layer, type, ne); },
                       [&states](const std::string & layer) { return states.get(layer); });
}

}  // namespace ltx
