// What a device reaches at best, measured: the rate of products and the rate of copies.
#pragma once

#include <memory>

#include "runtime/backend.h"

namespace ltx {

struct MachinePeak {
    double flop_per_s;        // product of 16-bit matrices with F32 sums; a multiply-add counts as two
    double copy_bytes_per_s;  // read and written, far beyond the caches
};

// Products of 8-bit integers by this CPU's best kernel, operations a second, all of it in the caches.
double measure_int8_peak(int threads);

// Takes a second or two. Throws DeviceMemoryError where 512 MiB are not free.
MachinePeak measure_peak(const std::shared_ptr<Backend> & backend);

}  // namespace ltx
