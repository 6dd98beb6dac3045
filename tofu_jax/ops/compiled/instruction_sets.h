// Includes TOFU_KERNELS once per instruction set, each time in a namespace of its own, with TOFU_VECTOR_BYTES set to the size
// of a register. No include guard: every source file has kernels of its own.

#define TOFU_VECTOR_BYTES 16
namespace baseline {
#include TOFU_KERNELS
}
#undef TOFU_VECTOR_BYTES

#ifdef TOFU_X86
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
#define TOFU_VECTOR_BYTES 32
namespace avx2 {
#include TOFU_KERNELS
}
#undef TOFU_VECTOR_BYTES
#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma"))), apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,fma,prefer-vector-width=512")
#endif
#define TOFU_VECTOR_BYTES 64
namespace avx512 {
#include TOFU_KERNELS
}
#undef TOFU_VECTOR_BYTES
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
