// The check of probe names that callers ask for.
#pragma once

#include <string>
#include <vector>

#include "graph/graph.h"

namespace ltx {

// Throws ArgumentError for a name that is not among `known`, listing those that begin like it.
void check_probe_names(const char * function, const ProbeSet & wanted, const std::vector<std::string> & known);

}  // namespace ltx
