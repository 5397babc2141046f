// Matrix instructions of warpgroups and their barriers, after the PTX ISA ("wgmma", "mbarrier", "bar").
#include <algorithm>
#include <bit>
#include <cstring>

#include "machine.h"

namespace emulated {

namespace {

constexpr unsigned kSharedAddress = 1024 + 128;  // the device keeps the first 1024 bytes, the rest is bad luck
constexpr int kDepth = 16;                       // of one product
constexpr int kWarps = 4;

// Fields of a descriptor, in bytes.
struct Operand {
    unsigned address, panel, eight_rows;

    explicit Operand(uint64_t bits)
        : address((bits & 0x3fff) * 16), panel((bits >> 16 & 0x3fff) * 16), eight_rows((bits >> 32 & 0x3fff) * 16) {
        if (bits >> 62 != 1 || (bits >> 49 & 7) != 0) {
            end_with("an operand is not one of 128 swapped bytes, the only kind that is emulated");
        }
        if ((address >> 7 & 7) != 0) {
            end_with("an operand begins within the eight rows that are swapped together");
        }
    }
};

uint16_t element_at(unsigned address) {
    // Swapping changes the place of 16 bytes within 128 by the lowest bits of the number of the 128.
    address ^= (address >> 7 & 7) << 4;
    const auto & shown = machine().shown;
    const size_t at = address - kSharedAddress;
    if (address < kSharedAddress || at + sizeof(uint16_t) > shown.size() * sizeof(Line)) {
        end_with("an operand lies outside of shared memory");
    }
    uint16_t element;
    std::memcpy(&element, shown.data()->bytes + at, sizeof(element));
    return element;
}

// Element `depth` of row `row`, whose elements lie one after the other.
uint16_t by_rows(const Operand & operand, int row, int depth) {
    return element_at(operand.address + row / 8 * operand.eight_rows + row % 8 * 128 + depth * 2);
}

// Element `depth` of column `column`, where those of 64 columns lie one after the other.
uint16_t by_columns(const Operand & operand, int column, int depth) {
    return element_at(operand.address + column / 64 * operand.panel + column % 64 * 2 + depth / 8 * operand.eight_rows +
                      depth % 8 * 128);
}

// What this thread reads of both operands: kDepth elements of its two rows, where they lie in shared memory, then of
// each of its columns.
std::vector<uint16_t> elements_of(const Product & product) {
    std::vector<uint16_t> elements;
    elements.reserve(static_cast<size_t>((2 + product.columns / 4) * kDepth));
    if (product.registers) {
        for (int i = 0; i < 4; ++i) {
            elements.push_back(static_cast<uint16_t>(product.registers[i]));
            elements.push_back(static_cast<uint16_t>(product.registers[i] >> 16));
        }
    } else {
        const int first_row = static_cast<int>(machine().current / 32 % kWarps) * 16 + lane() / 4;
        const Operand left(product.left);
        for (const int row : {first_row, first_row + 8}) {
            for (int depth = 0; depth < kDepth; ++depth) {
                elements.push_back(by_rows(left, row, depth));
            }
        }
    }
    const Operand right(product.right);
    for (int tile = 0; tile < product.columns; tile += 8) {
        for (int i = 0; i < 2; ++i) {
            const int column = tile + lane() % 4 * 2 + i;
            for (int depth = 0; depth < kDepth; ++depth) {
                // Only products with a left operand in registers have a right one by columns here.
                elements.push_back(product.registers ? by_columns(right, column, depth)
                                                     : by_rows(right, column, depth));
            }
        }
    }
    return elements;
}

float value_of(uint16_t element) {
    return std::bit_cast<float>(static_cast<uint32_t>(element) << 16);
}

// The thread's two rows of a left operand whose parts four lanes hold.
void gather_rows(const Product & product, float (&rows)[2][kDepth]) {
    publish(product.registers, 4 * sizeof(unsigned));
    for (int half = 0; half < 2; ++half) {
        for (int depth = 0; depth < kDepth; ++depth) {
            const auto * registers = static_cast<const unsigned *>(published(lane() / 4 * 4 + depth % 8 / 2));
            const unsigned pair = registers[depth / 8 * 2 + half];
            rows[half][depth] = value_of(static_cast<uint16_t>(depth % 2 ? pair >> 16 : pair));
        }
    }
    sync_warp();
}

void finish(const Product & product) {
    if (elements_of(product) != product.seen) {
        end_with("an operand of a matrix product changes while it is under way");
    }
    float rows[2][kDepth];
    const uint16_t * next = product.seen.data();
    if (product.registers) {
        gather_rows(product, rows);
        next += 8;
    } else {
        for (auto & row : rows) {
            for (float & value : row) {
                value = value_of(*next++);
            }
        }
    }
    for (int tile = 0; tile < product.columns / 8; ++tile) {
        for (int i = 0; i < 2; ++i, next += kDepth) {
            for (int half = 0; half < 2; ++half) {
                float & sum = product.sums[tile * 4 + half * 2 + i];
                float result = product.add ? sum : 0.0f;
                for (int depth = 0; depth < kDepth; ++depth) {
                    result += rows[half][depth] * value_of(next[depth]);
                }
                sum = result;
            }
        }
    }
}

void start(Product product) {
    if (!fiber().registers_ordered) {
        end_with("a matrix product starts with registers that are not ordered before it");
    }
    ++warpgroup_products();
    product.seen = elements_of(product);
    fiber().products.back().push_back(std::move(product));
}

struct Count {
    uint16_t expected, missing;
    uint32_t phase;
};
static_assert(sizeof(Count) == sizeof(uint64_t));

Count & count_of(uint64_t * barrier) {
    auto & count = *reinterpret_cast<Count *>(barrier);
    if (count.expected == 0xffff) {
        end_with("a barrier is used before it is set up");
    }
    return count;
}

}  // namespace

unsigned shared_address(const void * pointer) {
    return kSharedAddress + static_cast<unsigned>(static_cast<const unsigned char *>(pointer) - dynamic_shared());
}

size_t & warpgroup_products() {
    static size_t instance = 0;
    return instance;
}

void start_product(float * c, int columns, uint64_t a, uint64_t b, bool add) {
    start({.sums = c, .columns = columns, .add = add, .registers = nullptr, .left = a, .right = b, .seen = {}});
}

void start_product(float * c, int columns, const unsigned (&a)[4], uint64_t b) {
    start({.sums = c, .columns = columns, .add = true, .registers = a, .left = 0, .right = b, .seen = {}});
}

void order_registers() {
    fiber().registers_ordered = true;
}

void close_products() {
    fiber().products.emplace_back();
}

void wait_products(int open_groups) {
    auto & groups = fiber().products;
    while (groups.size() > static_cast<size_t>(open_groups) + 1) {
        for (const Product & product : groups.front()) {
            finish(product);
        }
        groups.erase(groups.begin());
    }
    fiber().registers_ordered = false;
}

void show_to_products() {
    Machine & m = machine();
    for (const auto & [place, bytes] : fiber().landed) {
        const auto at = static_cast<size_t>(place - m.shared.data()->bytes);
        std::memcpy(m.shown.data()->bytes + at, place, bytes);
    }
    fiber().landed.clear();
}

void set_up(uint64_t * barrier, unsigned arrivals) {
    const auto count = static_cast<uint16_t>(arrivals);
    *reinterpret_cast<Count *>(barrier) = {count, count, 0};
}

void arrive(uint64_t * barrier) {
    Count & count = count_of(barrier);
    if (--count.missing == 0) {
        count.missing = count.expected;
        ++count.phase;
    }
    // Others run before this thread goes on: what it has not done by now is missing.
    wait_until([] { return true; });
}

void wait_for(uint64_t * barrier, int parity) {
    const Count & count = count_of(barrier);
    if (static_cast<int>(count.phase % 2) == parity) {
        wait_until([&] { return static_cast<int>(count.phase % 2) != parity; });
    }
}

void meet(int number, int threads, bool waits) {
    auto & barrier = machine().named_barriers[number];
    const int phase = barrier.phase;
    if (++barrier.arrived == threads) {
        barrier.arrived = 0;
        ++barrier.phase;
    } else if (waits) {
        wait_until([&] { return barrier.phase != phase; });
    }
}

}  // namespace emulated
