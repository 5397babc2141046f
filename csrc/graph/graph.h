// A compute graph under construction: named inputs, outputs and probes over one ggml context.
#pragma once

#include <array>
#include <functional>
#include <initializer_list>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <variant>
#include <vector>

#include "ggml.h"
#include "graph/context.h"

namespace ltx {

// Names of intermediate results to hand back. A name matches exactly.
using ProbeSet = std::set<std::string, std::less<>>;

// Which form own operations take: one fused node, or the composition of stock nodes that defines its result.
enum class OpForm { Fused, Composed };

// Who multiplies BF16 and quantised matrices: ggml, or kernels/gemm where the graph runs on a CPU with BF16
// instructions, or these the quantised ones alone on another CPU, or our kernels of another device, for which those
// that help ggml's CPU do not exist.
enum class Products { Stock, Own, Decoded, Device };

// How attention is built where it is none of our operations: as ggml's node, or from products and a softmax over all
// pairs, where the device has no such node.
enum class StockAttention { Node, Products };

// What a graph is built for.
struct GraphTarget {
    OpForm form = OpForm::Fused;
    // Own operations that are composed where the others are fused, by name (kernels/registry.h): the device lacks them.
    std::set<std::string, std::less<>> lacking = {};
    Products products = Products::Stock;
    StockAttention stock_attention = StockAttention::Node;
    // Operands of ggml's products begin at a multiple of so many bytes, without gaps in a row or between rows; 0 where
    // the device takes any (graph/product.h).
    size_t operand_alignment = 0;
};

// Whether nothing is computed for a node.
bool is_view(const ggml_tensor * node);

// Names live in tables here, because ggml truncates long tensor names. Batch is always one.
//
// ggml wants to know the number of nodes beforehand and aborts where there are more. Room for kMaxNodes costs nothing
// but address space until it is used, so every graph has it; probes, scopes and segments, which stand between any two
// layers, throw UnsupportedError when it runs out.
class Graph {
public:
    Graph(ProbeSet probes, GraphTarget target);

    Graph(const Graph &) = delete;
    Graph & operator=(const Graph &) = delete;

    ggml_context * ctx() const { return ctx_.get(); }
    OpForm form() const { return target_.form; }
    // Whether an own operation is one node.
    bool fuses(std::string_view op) const { return target_.form == OpForm::Fused && !target_.lacking.contains(op); }
    bool own_products() const { return target_.products == Products::Own || target_.products == Products::Device; }
    bool decodes_weights() const { return target_.products == Products::Decoded; }
    bool on_cpu() const { return target_.products != Products::Device; }
    StockAttention stock_attention() const { return target_.stock_attention; }
    size_t operand_alignment() const { return target_.operand_alignment; }

    // Declares an input that is filled before each run. `ne` innermost first.
    ggml_tensor * input(std::string_view name, ggml_type type, std::array<int64_t, 4> ne);

    // Numbers that follow from shapes alone, such as indices: I32 or F32 [width, rows]. Whoever runs the graph writes
    // what `values` returns before each run. There is one tensor per name, which has to tell all that they depend on.
    ggml_tensor * constant(const std::string & name, int64_t width, int64_t rows,
                           std::function<std::vector<int32_t>()> values);
    ggml_tensor * constant(const std::string & name, int64_t width, int64_t rows,
                           std::function<std::vector<float>()> values);

    struct Constant {
        ggml_tensor * tensor;
        std::variant<std::function<std::vector<int32_t>()>, std::function<std::vector<float>()>> values;
    };
    const std::map<std::string, Constant, std::less<>> & constants() const { return constants_; }

    // What `make` gives for `x`, built once under each name and number: consumers of one input share what it becomes
    // for them.
    ggml_tensor * derived(const ggml_tensor * x, std::string_view name, int64_t number,
                          const std::function<ggml_tensor *()> & make);

    // Memory that later nodes write (graph/parts.h); until then there is anything in it.
    ggml_tensor * unwritten(ggml_type type, std::array<int64_t, 4> ne);

    // Marks a result to be fetched by name; returns the tensor (made contiguous if it was not).
    ggml_tensor * output(std::string_view name, ggml_tensor * tensor);

    // Offers an intermediate result under the current scope's path; a result without any path is nobody's. Adds no
    // node unless the name was asked for. Returns `tensor` unchanged.
    ggml_tensor * probe(std::string_view name, ggml_tensor * tensor);

    // Offers a result that exists only if it was asked for: where this is true, no operation may be fused over it, and
    // probe() has to get it.
    bool wants(std::string_view name);

    // Paths of all results that were offered so far, in order.
    const std::vector<std::string> & offered() const { return offered_; }

    // Adds a node that is computed for its side effect (a copy into a state tensor), in the order of these calls.
    void side_effect(ggml_tensor * tensor);

    // Ends a part of the computation: everything that `results` (null allowed) need is ordered before what follows.
    // Weights may be brought in and let go between parts (runtime/residency.h).
    void end_segment(std::initializer_list<ggml_tensor *> results);

    // Prefixes probe names until the returned object is destroyed: "transformer_blocks.3" + "attn1".
    class Scope {
    public:
        Scope(Graph & graph, std::string_view name);
        ~Scope();
        Scope(const Scope &) = delete;
        Scope & operator=(const Scope &) = delete;

    private:
        Graph & graph_;
        size_t length_;
    };
    [[nodiscard]] Scope scope(std::string_view name) { return Scope(*this, name); }

    // The full probe path of `name` in the current scope; "" stands for the scope itself.
    std::string path(std::string_view name) const;

    // Orders everything that outputs, probes and side effects need. Call once, last.
    ggml_cgraph * finish();

    // Number of nodes up to the end of each part; the last part ends with the graph and is not listed.
    const std::vector<int> & segment_ends() const { return segment_ends_; }

    const std::map<std::string, ggml_tensor *, std::less<>> & inputs() const { return inputs_; }
    const std::map<std::string, ggml_tensor *, std::less<>> & outputs() const { return outputs_; }
    const std::map<std::string, ggml_tensor *, std::less<>> & probes() const { return probes_; }

private:
    void check_room() const;
    ggml_tensor * keep_constant(const std::string & name, ggml_type type, int64_t width, int64_t rows,
                                decltype(Constant::values) values);

    Context ctx_;
    ggml_cgraph * graph_ = nullptr;
    ProbeSet wanted_;
    std::vector<std::string> offered_;
    GraphTarget target_;
    std::string prefix_;
    std::vector<int> segment_ends_;
    std::map<std::string, ggml_tensor *, std::less<>> inputs_;
    std::map<std::string, Constant, std::less<>> constants_;
    std::map<std::tuple<const ggml_tensor *, std::string, int64_t>, ggml_tensor *> derived_;
    std::map<std::string, ggml_tensor *, std::less<>> outputs_;
    std::map<std::string, ggml_tensor *, std::less<>> probes_;
};

}  // namespace ltx
