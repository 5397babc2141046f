// Rows of a table by number, wherever the table is.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "graph/graph.h"
#include "weights/weight_store.h"

namespace ltx {

// table: a weight of kind Rows, [width, rows] of any type; ids: I32 [tokens] -> F32 [width, tokens]. Where the table
// stays in host memory, that is an input called `name`, which takes embedded_rows before each run.
ggml_tensor * embed(Graph & graph, std::string_view name, ggml_tensor * table, ggml_tensor * ids);

// The rows of a table in host memory, one after the other. `ids` are in range.
std::vector<float> embedded_rows(const ggml_tensor * table, std::span<const int32_t> ids);

}  // namespace ltx
