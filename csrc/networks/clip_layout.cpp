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

std::vector<float> to_channels_last(const HostView & clip) {
    std::vector<float> values(clip.values.size());
    transpose(clip.values, values, clip.shape[0], clip.shape[1] * clip.shape[2] * clip.shape[3]);
    return values;
}

HostTensor to_channels_first(const HostTensor & clip) {
    HostTensor result{{clip.shape[3], clip.shape[0], clip.shape[1], clip.shape[2]},
                      std::vector<float>(clip.values.size())};
    transpose(clip.values, result.values, clip.shape[0] * clip.shape[1] * clip.shape[2], clip.shape[3]);
    return result;
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
