#include "networks/preview_decoder.h"

#include <algorithm>

#include "base/error.h"
#include "networks/clip_layout.h"

namespace ltx {

namespace {

std::string picture_name(int64_t index) {
    return "picture " + std::to_string(index);
}

// The first of the pictures of a latent frame that is made.
int64_t first_picture(bool is_first, PreviewPictures wanted) {
    return is_first || wanted == PreviewPictures::Last ? kPreviewPictures - 1 : 0;
}

}  // namespace

PreviewDecoderNetwork::PreviewDecoderNetwork(TensorTable table, const PreviewDecoderConfig & config,
                                             std::shared_ptr<Backend> backend)
    : Network("preview decoder", std::move(table), std::move(backend), Streaming::Never,
              [&](const Scope & scope) { return PreviewDecoder::load(scope, config); }) {}

void PreviewDecoderNetwork::check(const Shape & latent) const {
    const int64_t channels = model().config.latent_channels;
    if (latent.size() != 4 || latent[0] != channels || std::ranges::min(latent) < 1) {
        throw ShapeError("preview: latent has shape ", latent, ", expected (", channels, ", F, h, w)");
    }
}

void PreviewDecoderNetwork::build(Graph & graph, StateStore & states, const Shape & latent, bool is_first,
                                  PreviewPictures wanted) const {
    PreviewMemory memory{};
    for (size_t i = 0; i < memory.size() && !is_first; ++i) {
        memory[i] = states.get(std::to_string(i));
    }
    ggml_tensor * frame = graph.input("latent", GGML_TYPE_F32, {latent[0], latent[3], latent[2], 1});
    const std::vector<ggml_tensor *> pictures = model().build(graph, frame, memory);
    for (int64_t i = first_picture(is_first, wanted); i < kPreviewPictures; ++i) {
        graph.output(picture_name(i), pictures[i]);
    }
    // All that reads the memory of the frame before comes before the writes to it.
    for (ggml_tensor * input : memory) {
        graph.side_effect(input);
    }
    for (size_t i = 0; i < memory.size(); ++i) {
        ggml_tensor * kept =
            states.make(std::to_string(i), GGML_TYPE_F32, {memory[i]->ne[0], memory[i]->ne[1], memory[i]->ne[2], 1});
        graph.side_effect(ggml_cpy(graph.ctx(), memory[i], kept));
    }
}

void PreviewDecoderNetwork::draft(Graph & graph) {
    StateStore states(shared_backend(), /*measuring=*/true);
    build(graph, states, {model().config.latent_channels, 1, 2, 2}, /*is_first=*/true, PreviewPictures::All);
}

NetworkMemory PreviewDecoderNetwork::measure(const Shape & latent, PreviewPictures wanted) {
    check(latent);
    const auto turn = take_turn();
    StateStore states(shared_backend(), /*measuring=*/true);
    NetworkMeter sum = meter();
    for (const bool is_first : {true, false}) {
        sum.add(runner().measure({}, [&](Graph & graph) { build(graph, states, latent, is_first, wanted); }));
    }
    sum.set_state_bytes(states.size_bytes());
    return sum.total();
}

std::unique_ptr<PreviewStream> PreviewDecoderNetwork::stream(const HostView & latent, PreviewPictures wanted,
                                                             bool composed) {
    return std::make_unique<PreviewStream>(shared_from_this(), latent, wanted, composed);
}

PreviewStream::PreviewStream(std::shared_ptr<PreviewDecoderNetwork> decoder, const HostView & latent,
                             PreviewPictures wanted, bool composed)
    : decoder_(std::move(decoder)),
      shape_(latent.shape),
      wanted_(wanted),
      options_{.probes = {}, .form = composed ? OpForm::Composed : OpForm::Fused},
      runner_(decoder_->shared_backend()),
      states_(decoder_->shared_backend()) {
    decoder_->check(shape_);
    latent_ = to_channels_last(latent);
}

std::optional<HostTensor> PreviewStream::next() {
    if (done_ == shape_[1]) {
        return std::nullopt;
    }
    const bool is_first = done_ == 0;
    decoder_->load();
    runner_.prepare(is_first ? "first" : "later", options_,
                    [&](Graph & graph) { decoder_->build(graph, states_, shape_, is_first, wanted_); });
    const auto values = std::span<const float>(latent_);
    const size_t frame = values.size() / static_cast<size_t>(shape_[1]);
    runner_.set("latent", values.subspan(static_cast<size_t>(done_) * frame, frame));
    // After a failure the blocks' memory is unusable, so the stream counts as ended until the frame is done.
    const int64_t following = done_ + 1;
    done_ = shape_[1];
    runner_.compute();
    decoder_->check_files();
    done_ = following;
    HostTensor pictures;
    for (int64_t i = first_picture(is_first, wanted_); i < kPreviewPictures; ++i) {
        append_frames(pictures, runner_.fetch(picture_name(i), 4));
    }
    return pictures;
}

}  // namespace ltx
