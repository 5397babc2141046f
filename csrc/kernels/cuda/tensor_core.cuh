// Matrix instructions of one warp: BF16 products with F32 sums, the loads that feed them, and copies into shared memory
// that run beside them. They need code for compute capability 8.0 (CudaOp::needs_tensor_cores) and trap in any other.
#pragma once

#include "kernels/cuda/kernel.cuh"

namespace ltx::cuda {

// Bytes of one copy, and elements of BF16 in it.
inline constexpr int kChunkBytes = 16;
inline constexpr int kChunk = 8;

// Where chunk `chunk` of row `row` lies in a tile of rows of kWidth elements. Rows are skewed, so that eight rows'
// chunks of one column lie in different banks.
//
// From a place on, eight rows further is 8 kWidth more, and chunk `chunk | more` (other bits than those of `chunk`)
// lies at the place ^ (more * kChunk): a thread needs one place per operand, and constants.
template <int kWidth>
__device__ int tile_at(int row, int chunk) {
    static_assert(kWidth % (8 * kChunk) == 0 && (kWidth & (kWidth - 1)) == 0);
    return row * kWidth + ((chunk ^ (row & 7)) * kChunk);
}

#if defined(__CUDACC__)

__device__ inline unsigned char * dynamic_shared() {
    extern __shared__ __align__(128) unsigned char shared_bytes[];
    return shared_bytes;
}

__device__ inline unsigned shared_address(const void * pointer) {
    return static_cast<unsigned>(__cvta_generic_to_shared(pointer));
}

// Matrices of 8 x 8 elements of two bytes: lane l gives the address of row l % 8 of matrix l / 8 and gets elements 2 (l
// % 4), 2 (l % 4) + 1 of row l / 4 of each.
__device__ inline void load_matrices(unsigned (&r)[4], const void * row) {
#if __CUDA_ARCH__ >= 800
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
#else
    __trap();
#endif
}

// The same of the transposed matrices.
__device__ inline void load_matrices_transposed(unsigned (&r)[4], const void * row) {
#if __CUDA_ARCH__ >= 800
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
#else
    __trap();
#endif
}

// c += A B, A 16 x 16 by rows, B 16 x 8 by columns. Lane l holds c[i] at row l / 4 + i / 2 * 8, column 2 (l % 4) + i
// % 2.
__device__ inline void multiply(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
#if __CUDA_ARCH__ >= 800
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#else
    __trap();
#endif
}

// Copies kChunkBytes into shared memory, zeros where not `valid`; `from` must be readable memory either way.
__device__ inline void copy_chunk(void * to, const void * from, bool valid) {
#if __CUDA_ARCH__ >= 800
    const int bytes = valid ? kChunkBytes : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(bytes)
                 : "memory");
#else
    __trap();
#endif
}

// The same, of a chunk that is there.
__device__ inline void copy_chunk(void * to, const void * from) {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(to)), "l"(from) : "memory");
#else
    __trap();
#endif
}

// Ends a group of copies.
__device__ inline void commit_copies() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#else
    __trap();
#endif
}

// Waits until at most kOpen groups of this thread are under way; other threads' copies need a barrier too.
template <int kOpen>
__device__ void wait_for_copies() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(kOpen) : "memory");
#else
    __trap();
#endif
}

// 2^x to 22 bits; results below the smallest normal number are zero.
__device__ inline float exp2_short(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

__device__ inline unsigned pack_bf16(float low, float high) {
    const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<const unsigned *>(&pair);
}

#else

inline unsigned char * dynamic_shared() {
    return emulated::dynamic_shared();
}

inline void load_matrices(unsigned (&r)[4], const void * row) {
    emulated::load_matrices(r, row, false);
}

inline void load_matrices_transposed(unsigned (&r)[4], const void * row) {
    emulated::load_matrices(r, row, true);
}

inline void multiply(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    const unsigned b[2] = {b0, b1};
    emulated::multiply(c, a, b);
}

inline void copy_chunk(void * to, const void * from, bool valid) {
    emulated::copy_later(to, from, kChunkBytes, valid ? kChunkBytes : 0);
}

inline void copy_chunk(void * to, const void * from) {
    copy_chunk(to, from, true);
}

inline void commit_copies() {
    emulated::close_copies();
}

template <int kOpen>
void wait_for_copies() {
    emulated::wait_copies(kOpen);
}

inline float exp2_short(float x) {
    return exp2f(x);
}

inline unsigned pack_bf16(float low, float high) {
    return __float2bfloat16(low).bits | static_cast<unsigned>(__float2bfloat16(high).bits) << 16;
}

#endif

// Lets a kernel use more shared memory than the 48 KB that every device gives.
template <typename Kernel>
void allow_shared(const char * op, Kernel * kernel, size_t bytes) {
    const cudaError_t error =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
    if (error != cudaSuccess) {
        throw BackendError("CUDA: ", op, " needs ", bytes, " bytes of shared memory: ", cudaGetErrorString(error));
    }
}

// Throws where copies of chunks would fault, which the device does not recover from.
inline void expect_chunks(const char * op, std::initializer_list<const ggml_tensor *> tensors) {
    for (const ggml_tensor * tensor : tensors) {
        if (reinterpret_cast<uintptr_t>(tensor->data) % kChunkBytes != 0) {
            throw BackendError("CUDA: ", op, " got an operand that does not start at a multiple of ", kChunkBytes,
                               " bytes");
        }
    }
}

}  // namespace ltx::cuda
