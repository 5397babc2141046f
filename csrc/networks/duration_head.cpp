#include "networks/duration_head.h"

#include "base/error.h"

namespace ltx {

namespace {

int64_t checked_rows(const char * stream, const HostView & context, int64_t width) {
    const Shape & shape = context.shape;
    if (shape.size() != 2 || (shape[0] > 0 && shape[1] != width)) {
        throw ShapeError("predict duration: the ", stream, " context has shape ", shape, ", expected (rows, ", width,
                         ")");
    }
    return shape[0];
}

}  // namespace

DurationHeadNetwork::DurationHeadNetwork(TensorTable table, const DurationHeadConfig & config,
                                         std::shared_ptr<Backend> backend)
    : Network("duration head", std::move(table), std::move(backend), Streaming::Never,
              [&](const Scope & scope) { return DurationHead::load(scope, config); }) {}

void DurationHeadNetwork::build(Graph & graph, int64_t video_rows, int64_t audio_rows) const {
    const DurationHeadConfig & config = model().config;
    const auto context = [&](const char * name, int64_t width, int64_t rows) {
        return rows ? graph.input(name, GGML_TYPE_F32, {width, rows, 1, 1}) : nullptr;
    };
    ggml_tensor * video = context("video", config.video_width, video_rows);
    ggml_tensor * audio = context("audio", config.audio_width, audio_rows);
    graph.output("log_seconds", model().build(graph, video, audio));
}

void DurationHeadNetwork::draft(Graph & graph) {
    build(graph, 1, 1);
}

NetworkMemory DurationHeadNetwork::measure(int64_t rows) {
    const auto turn = take_turn();
    return Network::measure({[&](Graph & graph) { build(graph, rows, rows); }});
}

float DurationHeadNetwork::log_seconds(const HostView & video, const HostView & audio) {
    const auto turn = take_turn();
    const int64_t video_rows = checked_rows("video", video, model().config.video_width);
    const int64_t audio_rows = checked_rows("audio", audio, model().config.audio_width);
    if (video_rows + audio_rows == 0) {
        throw ShapeError("predict duration: both contexts are empty, expected rows in one of them");
    }
    load_weights();
    runner().prepare(std::to_string(video_rows) + " " + std::to_string(audio_rows), {},
                     [&](Graph & graph) { build(graph, video_rows, audio_rows); });
    if (video_rows) {
        runner().set("video", video.values);
    }
    if (audio_rows) {
        runner().set("audio", audio.values);
    }
    compute_graph();
    return runner().fetch("log_seconds").values.front();
}

}  // namespace ltx
