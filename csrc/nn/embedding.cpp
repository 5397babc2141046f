#include "nn/embedding.h"

#include <cstddef>
#include <cstring>

namespace ltx {

ggml_tensor * embed(Graph & graph, std::string_view name, ggml_tensor * table, ggml_tensor * ids) {
    if (is_on_host(table)) {
        return graph.input(name, GGML_TYPE_F32, {table->ne[0], ids->ne[0], 1, 1});
    }
    // The look-up returns F32 for any weight type.
    return ggml_get_rows(graph.ctx(), table, ids);
}

std::vector<float> embedded_rows(const ggml_tensor * table, std::span<const int32_t> ids) {
    const auto width = static_cast<size_t>(table->ne[0]);
    const ggml_to_float_t to_float = ggml_get_type_traits(table->type)->to_float;
    std::vector<float> rows(ids.size() * width);
    for (size_t i = 0; i < ids.size(); ++i) {
        const auto * row = static_cast<const std::byte *>(table->data) + static_cast<size_t>(ids[i]) * table->nb[1];
        if (table->type == GGML_TYPE_F32) {
            std::memcpy(rows.data() + i * width, row, width * sizeof(float));
        } else {
            to_float(row, rows.data() + i * width, table->ne[0]);
        }
    }
    return rows;
}

}  // namespace ltx
