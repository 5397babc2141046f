// Memory pages: those that nobody needs for now, and large ones.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ltx {

// Set in ggml_tensor::flags, whose low bits ggml uses, of weights that are read where their file is mapped. A kernel
// that goes through such a weight slice by slice may release each slice once it has been read.
inline constexpr int32_t kMappedWeightFlag = 1 << 16;

// Takes the pages that lie wholly inside [begin, begin + size) out of this process; the next use takes them from the
// system's cache or the file again. Only for mapped files: other memory would lose its contents.
void release_pages(const void * begin, size_t size);

inline constexpr size_t kHugePage = size_t{1} << 21;

// Asks for large pages behind memory, as far as whole ones fit. What begins at a multiple of kHugePage and is meant to
// stay in a cache lies evenly in it then, because small pages come from anywhere.
void prefer_huge_pages(void * begin, size_t size);

// Gives back what the allocator keeps of freed memory, where it can be asked to.
void trim_heap();

}  // namespace ltx
