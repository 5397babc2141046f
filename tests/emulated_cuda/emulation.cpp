#include "emulation.h"

#include <algorithm>
#include <bit>
#include <map>
#include <set>
#include <stdexcept>
#include <string>

#include "machine.h"

namespace emulated {

namespace {

constexpr unsigned kWarp = 32;
constexpr size_t kSharedBytes = 48 * 1024;
constexpr size_t kMostSharedBytes = 99 * 1024;
constexpr size_t kMostSharedBytesOf90 = 227 * 1024;

std::map<const void *, size_t> & allowed_shared() {
    static thread_local std::map<const void *, size_t> instance;
    return instance;
}

std::set<const void *> & kernels_for_90() {
    static thread_local std::set<const void *> instance;
    return instance;
}

void wait_as(State state) {
    Fiber & self = fiber();
    self.state = state;
    if (_setjmp(self.place) == 0) {
        _longjmp(machine().scheduler, 1);
    }
}

void fiber_main() {
    (*machine().kernel)();
    if (fiber().products.size() > 1 || !fiber().products.back().empty()) {
        end_with("a thread ends before its matrix products");
    }
    fiber().state = State::Done;
    _longjmp(machine().scheduler, 1);
}

// Not inlined: the compiler keeps no variable of a caller across its jumps.
[[gnu::noinline]] void resume(size_t index) {
    Machine & m = machine();
    Fiber & f = *m.fibers[index];
    m.current = index;
    if (_setjmp(m.scheduler) == 0) {
        if (f.started) {
            _longjmp(f.place, 1);
        }
        f.started = true;
        setcontext(&f.start);
    }
}

// Makes the fibers [first, last) ready if all that are not done wait in `state`; says whether any was.
bool release(size_t first, size_t last, State state) {
    auto & fibers = machine().fibers;
    bool any = false;
    for (size_t i = first; i < last; ++i) {
        if (fibers[i]->state != state && fibers[i]->state != State::Done) {
            return false;
        }
        any = any || fibers[i]->state == state;
    }
    for (size_t i = first; i < last; ++i) {
        if (fibers[i]->state == state) {
            fibers[i]->state = State::Ready;
        }
    }
    return any;
}

// Not inlined: the compiler keeps no variable of a caller across what may return twice.
[[gnu::noinline]] void prepare(size_t index) {
    Machine & m = machine();
    Fiber & f = *m.fibers[index];
    const auto n = static_cast<unsigned>(index);
    f.index = {n % m.block.x, n / m.block.x % m.block.y, n / (m.block.x * m.block.y)};
    f.state = State::Ready;
    f.copies.assign(1, {});
    f.products.assign(1, {});
    f.registers_ordered = false;
    f.landed.clear();
    f.started = false;
    getcontext(&f.start);
    f.start.uc_stack.ss_sp = f.stack.get();
    f.start.uc_stack.ss_size = kStackBytes;
    f.start.uc_link = nullptr;
    makecontext(&f.start, fiber_main, 0);
}

void run_block(size_t threads) {
    Machine & m = machine();
    for (size_t i = 0; i < threads; ++i) {
        prepare(i);
    }
    for (bool progress = true; progress;) {
        progress = false;
        for (size_t warp = 0; warp < threads; warp += kWarp) {
            const size_t end = std::min<size_t>(warp + kWarp, threads);
            do {
                for (size_t i = warp; i < end; ++i) {
                    Fiber & f = *m.fibers[i];
                    if (f.state == State::Ready || (f.state == State::AtCondition && (*f.condition)())) {
                        f.state = State::Ready;
                        resume(i);
                        progress = true;
                    }
                }
            } while (release(warp, end, State::AtWarp));
        }
        progress = release(0, threads, State::AtBlock) || progress;
    }
    for (size_t i = 0; i < threads; ++i) {
        if (m.fibers[i]->state != State::Done && !m.fault) {
            m.fault = "threads wait for others that have ended or wait elsewhere";
        }
    }
    if (m.fault) {
        throw std::logic_error(std::string("emulated kernel: ") + std::exchange(m.fault, nullptr));
    }
}

}  // namespace

Machine & machine() {
    static thread_local Machine instance;
    return instance;
}

Fiber & fiber() {
    return *machine().fibers[machine().current];
}

void end_with(const char * fault) {
    machine().fault = fault;
    fiber().state = State::Done;
    _longjmp(machine().scheduler, 1);
}

const Index & thread_index() {
    return fiber().index;
}
const Index & block_index() {
    return machine().block_at;
}
const Index & block_size() {
    return machine().block;
}
const Index & grid_size() {
    return machine().grid;
}
int lane() {
    return static_cast<int>(machine().current % kWarp);
}
unsigned char * dynamic_shared() {
    return machine().shared.data()->bytes;
}

bool can_launch(const void * kernel, Index grid, Index block, size_t shared_bytes) {
    const auto found = allowed_shared().find(kernel);
    const size_t allowed = found == allowed_shared().end() ? kSharedBytes : found->second;
    const size_t threads = size_t{block.x} * block.y * block.z;
    return grid.x < 1u << 31 && grid.y <= 65535 && grid.z <= 65535 && threads >= 1 && threads <= 1024 &&
           block.z <= 64 && shared_bytes <= allowed;
}

bool allow_shared(const void * kernel, size_t bytes) {
    if (bytes > (kernels_for_90().contains(kernel) ? kMostSharedBytesOf90 : kMostSharedBytes)) {
        return false;
    }
    allowed_shared()[kernel] = std::max(bytes, kSharedBytes);
    return true;
}

bool take_for_90(const void * kernel) {
    if (cards().at(static_cast<size_t>(card())) != 90) {
        return false;
    }
    kernels_for_90().insert(kernel);
    return true;
}

ScratchBytes & scratch() {
    static ScratchBytes instance;
    return instance;
}

Lt & lt() {
    static Lt instance;
    return instance;
}

std::vector<int> & cards() {
    static std::vector<int> instance{90};
    return instance;
}

int & card() {
    static thread_local int instance = 0;
    return instance;
}

void run(Index grid, Index block, size_t shared_bytes, const std::function<void()> & kernel) {
    Machine & m = machine();
    const size_t threads = size_t{block.x} * block.y * block.z;
    while (m.fibers.size() < threads) {
        m.fibers.push_back(std::make_unique<Fiber>());
    }
    m.grid = grid;
    m.block = block;
    m.kernel = &kernel;
    for (unsigned z = 0; z < grid.z; ++z) {
        for (unsigned y = 0; y < grid.y; ++y) {
            for (unsigned x = 0; x < grid.x; ++x) {
                m.block_at = {x, y, z};
                // Not a number, should a kernel read what it did not write.
                m.shared.resize((shared_bytes + sizeof(Line) - 1) / sizeof(Line) + 1);
                std::memset(m.shared.data(), 0xff, m.shared.size() * sizeof(Line));
                m.shown = m.shared;
                for (auto & barrier : m.named_barriers) {
                    barrier = {};
                }
                run_block(threads);
            }
        }
    }
}

void sync_block() {
    wait_as(State::AtBlock);
}

void sync_warp() {
    wait_as(State::AtWarp);
}

void wait_until(const std::function<bool()> & holds) {
    fiber().condition = &holds;
    wait_as(State::AtCondition);
}

void publish(const void * data, size_t bytes) {
    if (bytes > kSlotBytes) {
        end_with("a lane publishes too much");
    }
    std::memcpy(fiber().slot.data(), data, bytes);
    sync_warp();
}

const void * published(int lane) {
    Machine & m = machine();
    return m.fibers[m.current / kWarp * kWarp + static_cast<size_t>(lane)]->slot.data();
}

void load_matrices(unsigned (&r)[4], const void * row, bool transposed) {
    publish(row, 16);
    const int self = lane();
    for (int matrix = 0; matrix < 4; ++matrix) {
        uint16_t pair[2];
        for (int i = 0; i < 2; ++i) {
            const int inner = self % 4 * 2 + i;
            const int outer = self / 4;
            const auto * elements = static_cast<const uint16_t *>(published(matrix * 8 + (transposed ? inner : outer)));
            pair[i] = elements[transposed ? outer : inner];
        }
        r[matrix] = pair[0] | static_cast<unsigned>(pair[1]) << 16;
    }
    sync_warp();
}

namespace {

// What a lane gives to a product of its warp.
struct Operands {
    unsigned a[4], b[2];
};

// c += A B, whose depth is 32 bytes of elements; element(register, i) is the one number i of a register.
template <typename Sum, typename Element>
void multiply_tiles(Sum (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2], int elements, Element element) {
    Operands own;
    std::ranges::copy(a, own.a);
    std::ranges::copy(b, own.b);
    publish(&own, sizeof(own));
    const auto operands = [](int source) { return static_cast<const Operands *>(published(source)); };
    const int self = lane();
    for (int i = 0; i < 4; ++i) {
        const int row = self / 4;  // and 8 below for the last two
        const int column = self % 4 * 2 + i % 2;
        for (int part = 0; part < 8; ++part) {
            const unsigned left = operands(row * 4 + part % 4)->a[part / 4 * 2 + i / 2];
            const unsigned right = operands(column * 4 + part % 4)->b[part / 4];
            for (int k = 0; k < elements; ++k) {
                c[i] += element(left, k) * element(right, k);
            }
        }
    }
    sync_warp();
}

}  // namespace

void multiply(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    multiply_tiles(c, a, b, 2,
                   [](unsigned pair, int i) { return std::bit_cast<float>(i ? pair & 0xffff0000u : pair << 16); });
}

void multiply(int (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    multiply_tiles(c, a, b, 4, [](unsigned quad, int i) { return int{static_cast<int8_t>(quad >> 8 * i)}; });
}

void copy_later(void * to, const void * from, size_t bytes, size_t valid_bytes) {
    if (reinterpret_cast<uintptr_t>(to) % bytes != 0 || reinterpret_cast<uintptr_t>(from) % bytes != 0) {
        end_with("an asynchronous copy is not aligned to its size");
    }
    fiber().copies.back().push_back({to, from, bytes, valid_bytes});
}

void close_copies() {
    fiber().copies.emplace_back();
}

void wait_copies(int open_groups) {
    auto & groups = fiber().copies;
    while (groups.size() > static_cast<size_t>(open_groups) + 1) {
        for (const Copy & copy : groups.front()) {
            std::memset(copy.to, 0, copy.bytes);
            std::memcpy(copy.to, copy.from, copy.valid_bytes);
            fiber().landed.emplace_back(static_cast<unsigned char *>(copy.to), copy.bytes);
        }
        groups.erase(groups.begin());
    }
}

}  // namespace emulated
