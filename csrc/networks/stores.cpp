#include "networks/stores.h"

#include <utility>

namespace ltx {

WeightStores open_stores(std::vector<NamedTable> tables) {
    WeightStores stores;
    for (NamedTable & table : tables) {
        stores.push_back(std::make_unique<WeightStore>(std::move(table.owner), std::move(table.tensors)));
    }
    return stores;
}

std::vector<Scope> roots_of(const WeightStores & stores) {
    std::vector<Scope> roots;
    for (const auto & store : stores) {
        roots.push_back(store->root());
    }
    return roots;
}

}  // namespace ltx
