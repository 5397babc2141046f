#include "networks/clip_layout.h"

namespace ltx {

namespace {

void transpose(std::span<const float> from, std::vector<float> & to, int64_t rows, int64_t columns) {
    for (int64_t r = 0; r < rows; ++r) {
        for (int64_t c = 0; c < columns; ++c) {
            to[static_cast<size_t>(c * rows + r)] = from[static_cast<size_t>(r * columns + c)];
        }
    }
}

}  // namespace

std::vector<float> to_channels_last(const HostView & planar) {
    const int64_t channels = planar.shape.front();
    std::vector<float> values(planar.values.size());
    transpose(planar.values, values, channels, static_cast<int64_t>(values.size()) / channels);
    return values;
}

HostTensor to_channels_first(const HostTensor & tensor) {
    const int64_t channels = tensor.shape.back();
    HostTensor planar{{channels}, std::vector<float>(tensor.values.size())};
    planar.shape.insert(planar.shape.end(), tensor.shape.begin(), tensor.shape.end() - 1);
    transpose(tensor.values, planar.values, static_cast<int64_t>(tensor.values.size()) / channels, channels);
    return planar;
}

void append_frames(HostTensor & clip, const HostTensor & frames) {
    if (clip.shape.empty()) {
        clip = frames;
        return;
    }
    clip.shape[0] += frames.shape[0];
    clip.values.insert(clip.values.end(), frames.values.begin(), frames.values.end());
}

void append_frames(std::map<std::string, HostTensor> & clips, const std::map<std::string, HostTensor> & frames) {
    for (const auto & [name, piece] : frames) {
        append_frames(clips[name], piece);
    }
}

}  // namespace ltx
