#include "runtime/build_facts.h"

#include <ggml.h>

namespace ltx {

BuildFacts build_facts() {
    BuildFacts facts;
    facts.commit = commit;
    facts.compiler = LTX2CPP_COMPILER;
    facts.build_type = LTX2CPP_BUILD_TYPE;
    facts.native = LTX2CPP_NATIVE;
    facts.backends = {"cpu"};
    if (LTX2CPP_CUDA) {
        facts.backends.push_back("cuda");
    }
    if (LTX2CPP_VULKAN) {
        facts.backends.push_back("vulkan");
    }
    if (LTX2CPP_METAL) {
        facts.backends.push_back("metal");
    }
    facts.ggml = ggml_version();
    return facts;
}

}  // namespace ltx
