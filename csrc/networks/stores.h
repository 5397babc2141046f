// The weights of a network, in a store for each table.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "weights/weight_store.h"

namespace ltx {

// Tensors and whose they are, for messages.
struct NamedTable {
    std::string owner;
    TensorTable tensors;
};

using WeightStores = std::vector<std::unique_ptr<WeightStore>>;

WeightStores open_stores(std::vector<NamedTable> tables);

// The roots of all names, in the order of the tables.
std::vector<Scope> roots_of(const WeightStores & stores);

}  // namespace ltx
