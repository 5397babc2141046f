// The keys and values of a text that grows token by token, in a buffer of its own.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "nn/kept_tokens.h"
#include "runtime/backend.h"

namespace ltx {

class TokenCache {
public:
    // `widths`: of a token's keys, and of its values, for each layer. `measuring`: nothing is allocated; graphs over
    // the cache can be measured and not run. Throws DeviceMemoryError.
    TokenCache(std::shared_ptr<Backend> backend, const std::vector<int64_t> & widths, ggml_type type, int64_t capacity,
               bool measuring = false);

    // Whether it was made for layers like these.
    bool fits(const std::vector<int64_t> & widths, ggml_type type) const;

    int64_t capacity() const { return capacity_; }

    // How many tokens it holds.
    int64_t tokens() const { return tokens_; }

    size_t size_bytes() const;

    const std::vector<LayerCache> & layers() const { return layers_; }

    // Rows that a graph reads when this many are written: more than that, so that it serves the next tokens too.
    int64_t rows_for(int64_t tokens) const;

    // Differs for all caches of the process, so that no graph of one is taken for that of another.
    const std::string & name() const { return name_; }

    void append(int64_t tokens) { tokens_ += tokens; }

private:
    std::shared_ptr<Backend> backend_;
    Context ctx_;
    std::vector<LayerCache> layers_;
    ggml_backend_buffer_ptr buffer_;
    int64_t capacity_;
    int64_t tokens_ = 0;
    std::string name_;
};

}  // namespace ltx
