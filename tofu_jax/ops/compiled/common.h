// What the kernels share: storage types, XLA's threads, the instruction sets of this machine.
#ifndef TOFU_COMMON_H_
#define TOFU_COMMON_H_

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace {

struct Bf16 {
  uint16_t bits;
};

template <class S>
struct Storage {
  using Acc = S;
};
template <>
struct Storage<Bf16> {
  using Acc = float;
};

inline __attribute__((always_inline)) float Load(float x) { return x; }
inline __attribute__((always_inline)) double Load(double x) { return x; }
inline __attribute__((always_inline)) float Load(Bf16 x) {
  const uint32_t bits = uint32_t(x.bits) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}
inline __attribute__((always_inline)) void Store(float* to, float x) { *to = x; }
inline __attribute__((always_inline)) void Store(double* to, double x) { *to = x; }
inline __attribute__((always_inline)) void Store(Bf16* to, float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, sizeof(bits));
  const bool nan = (bits & 0x7fffffff) > 0x7f800000;
  to->bits = nan ? 0x7fc0 : (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;  // to nearest, ties to even
}

#if defined(__x86_64__) && defined(__GNUC__)
#define TOFU_X86 1
#endif

enum class Level { kBaseline, kAvx2, kAvx512 };

Level CpuLevel() {
#ifdef TOFU_X86
  static const Level level = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                                     __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")
                                 ? Level::kAvx512
                             : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? Level::kAvx2
                                                                                                : Level::kBaseline;
  return level;
#else
  return Level::kBaseline;
#endif
}

// Runs fn(0), …, fn(count - 1) on XLA's own threads, the calling one among them: whatever limits XLA's threads limits these.
template <class F>
void ParallelFor(ffi::ThreadPool& pool, int64_t count, const F& fn) {
  struct State {
    std::atomic<int64_t> next{0}, done{0};
    std::mutex mutex;
    std::condition_variable finished;
  };
  auto state = std::make_shared<State>();
  // A task that starts late finds nothing left, so it never touches fn, which may be gone by then.
  auto work = [state, count, fn = &fn] {
    for (int64_t i; (i = state->next.fetch_add(1)) < count;) {
      (*fn)(i);
      if (state->done.fetch_add(1) + 1 == count) {
        std::lock_guard<std::mutex> lock(state->mutex);
        state->finished.notify_all();
      }
    }
  };
  const int64_t helpers = std::min<int64_t>(pool.num_threads(), count) - 1;
  for (int64_t i = 0; i < helpers; ++i) pool.Schedule(decltype(work)(work));
  work();
  std::unique_lock<std::mutex> lock(state->mutex);
  state->finished.wait(lock, [&] { return state->done.load() >= count; });
}

// The best of the three variants that instruction_sets.h made of a function.
#ifdef TOFU_X86
#define TOFU_BEST(function) \
  (CpuLevel() == Level::kAvx512 ? avx512::function : CpuLevel() == Level::kAvx2 ? avx2::function : baseline::function)
#else
#define TOFU_BEST(function) baseline::function
#endif

}  // namespace

#endif  // TOFU_COMMON_H_
