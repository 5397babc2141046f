// What this CPU has, and the operating system allows, of instructions that compilers have no word for.
#pragma once

namespace ltx {

// Foundation, byte and word, vector length, double and quad.
bool has_avx512();
bool has_avx512_bf16();
bool has_avx512_vnni();
bool has_avx_vnni();
// For this process, from here on.
bool may_use_amx_bf16();
bool may_use_amx_int8();

bool has_neon_dotprod();

}  // namespace ltx
