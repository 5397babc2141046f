// Structure of the audio-video transformer as its metadata and tensors describe it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ltx {

// What the modules of a stream are called.
struct StreamNames {
    std::string prefix;           // of those that both streams have
    std::string cross_attention;  // to the other stream
    std::string cross_scale_shift_table;
    std::string cross_adaln;
    std::string cross_gate_adaln;
};

inline const StreamNames kVideoNames{.prefix = "",
                                     .cross_attention = "audio_to_video_attn",
                                     .cross_scale_shift_table = "scale_shift_table_a2v_ca_video",
                                     .cross_adaln = "av_ca_video_scale_shift_adaln_single",
                                     .cross_gate_adaln = "av_ca_a2v_gate_adaln_single"};
inline const StreamNames kAudioNames{.prefix = "audio_",
                                     .cross_attention = "video_to_audio_attn",
                                     .cross_scale_shift_table = "scale_shift_table_a2v_ca_audio",
                                     .cross_adaln = "av_ca_audio_scale_shift_adaln_single",
                                     .cross_gate_adaln = "av_ca_v2a_gate_adaln_single"};

// One of the two streams.
struct StreamConfig {
    StreamNames names;
    int64_t num_heads;
    int64_t head_dim;
    int64_t in_channels;
    int64_t out_channels;
    int64_t context_width;  // of the prompt context as the blocks see it
    bool ff_bias;
    std::vector<double> max_pos;  // per position axis; the first is time in seconds

    int64_t width() const { return num_heads * head_dim; }
    int64_t axes() const { return static_cast<int64_t>(max_pos.size()); }
};

// Which streams are ever computed; weights of others, and of the attention between them, are not loaded.
struct StreamUse {
    bool video = true;
    bool audio = true;

    bool both() const { return video && audio; }
};

struct TransformerConfig {
    int num_layers;
    StreamConfig video;
    std::optional<StreamConfig> audio;  // absent where the file holds the video stream alone
    bool gated_attention;
    bool cross_attention_adaln;  // text cross-attention is modulated and gated (2.3 on)
    bool prompt_adaln;           // its key and value modulation follows sigma; else static table rows
    bool caption_projection;     // contexts arrive with caption_channels and are projected here (2.0)
    int64_t caption_channels;
    bool keyframes_embedding;
    float norm_eps;
    double rope_theta;
    bool rope_double;
    float timestep_scale;
    float av_gate_timestep_scale;

    // Rows of scale_shift_table and of adaln_single's output.
    int64_t modulation_rows() const { return cross_attention_adaln ? 9 : 6; }

    // Width of both cross-modal attentions; 0 where there is none.
    int64_t cross_width() const { return audio ? audio->width() : 0; }

    // Columns of the context a caller passes for a stream.
    int64_t input_context_width(const StreamConfig & stream) const {
        return caption_projection ? caption_channels : stream.context_width;
    }

    // Throws ConfigError for values that do not fit together, UnsupportedError for those that are not implemented.
    void check() const;
};

}  // namespace ltx
