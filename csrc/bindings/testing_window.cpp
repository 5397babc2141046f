// The loops of other CPUs' forms in plain C++.
#include "bindings/testing_window.h"

#include <cstring>
#include <map>

#include "base/error.h"
#include "ops/window_attention/window_tiles.h"

namespace ltx::bindings {

namespace {

// What csrc/ops/window_attention/window_amx.cpp does in matrix registers.
class PlainTiles {
public:
    template <int kTile>
    void zero() {
        std::memset(tiles_[kTile], 0, sizeof(tiles_[kTile]));
    }
    template <int kTile>
    void load(const void * memory, int64_t stride) {
        zero<kTile>();
        for (int row = 0; row < kRowsOfTile[kTile]; ++row) {
            std::memcpy(tiles_[kTile][row], static_cast<const char *>(memory) + row * stride, kRowBytesOfTile[kTile]);
        }
    }
    template <int kTile>
    void store(void * memory, int64_t stride) const {
        for (int row = 0; row < kRowsOfTile[kTile]; ++row) {
            std::memcpy(static_cast<char *>(memory) + row * stride, tiles_[kTile][row], kRowBytesOfTile[kTile]);
        }
    }
    template <int kSum, int kLeft, int kRight>
    void multiply() {
        static_assert(kRowBytesOfTile[kLeft] == 4 * kRowsOfTile[kRight]);
        static_assert(kRowsOfTile[kSum] == kRowsOfTile[kLeft] && kRowBytesOfTile[kSum] == kRowBytesOfTile[kRight]);
        for (int row = 0; row < kRowsOfTile[kSum]; ++row) {
            for (int column = 0; column < kRowBytesOfTile[kSum] / 4; ++column) {
                float sum = number<float>(kSum, row, column);
                for (int i = 0; i < 2 * kRowsOfTile[kRight]; ++i) {
                    sum += half(kLeft, row, i) * half(kRight, i / 2, 2 * column + i % 2);
                }
                std::memcpy(tiles_[kSum][row] + 4 * column, &sum, sizeof(sum));
            }
        }
    }

private:
    template <typename T>
    T number(int tile, int row, int index) const {
        T value;
        std::memcpy(&value, tiles_[tile][row] + index * static_cast<int>(sizeof(T)), sizeof(T));
        return value;
    }
    float half(int tile, int row, int index) const {
        return __builtin_bit_cast(float, uint32_t{number<uint16_t>(tile, row, index)} << 16);
    }

    char tiles_[8][16][64] = {};
};

const WindowKernel kPlainAvx2{1, 2, 4, &attend_plane<8, 6, 6>};
const WindowKernel kPlainAvx512{2, 2, 4, &attend_plane<16, 7, 8>};
const WindowKernel kPlainAmx = tile_kernel<PlainTiles>(nullptr, nullptr);

}  // namespace

void choose_window_form(const std::string & name) {
    static const std::map<std::string, const WindowKernel *> forms{
        {"best", nullptr}, {"avx2", &kPlainAvx2}, {"avx512", &kPlainAvx512}, {"amx", &kPlainAmx}};
    const auto form = forms.find(name);
    if (form == forms.end()) {
        throw ArgumentError("windowed attention has no form '", name, "'");
    }
    choose_window_kernel(form->second);
}

}  // namespace ltx::bindings
