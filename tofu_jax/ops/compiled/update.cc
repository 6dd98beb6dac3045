// The residual update of tofu_jax/ops/update.py for CPUs: linear maps, LayerNorm, ReLU and residual in one pass over the rows.
//
// The gradient keeps nothing of the forward pass but its inputs: computing a row again is cheaper than reading it.

#include <cmath>

#include "common.h"

namespace {

constexpr int kRows = 4;          // rows of a group
constexpr double kEpsilon = 1e-5; // of the LayerNorm; ops/update.py has the same
constexpr int64_t kBlocksPerThread = 8;

template <class S>
struct Update {
  int64_t rows, width, rows_per_offset;  // 0: no offset
  const S *states, *received, *offset, *keep;
  S* out;
};

template <class S>
struct UpdateGradient {
  Update<S> forward;
  const S* gradient;
  S *d_states, *d_received, *d_offset;
};

// Parameters in the type that is computed in.
template <class S>
struct Matrices {
  using Acc = typename Storage<S>::Acc;
  std::vector<Acc> state, received, state_transposed, received_transposed, bias, scale, shift;
};

#define TOFU_KERNELS "update_kernels.h"
#include "instruction_sets.h"

ffi::Error Invalid(const std::string& message) { return ffi::Error(ffi::ErrorCode::kInvalidArgument, "update: " + message); }

template <class S>
std::vector<typename Storage<S>::Acc> Read(ffi::AnyBuffer buffer, int64_t transposed_width = 0) {
  const S* from = static_cast<const S*>(buffer.untyped_data());
  std::vector<typename Storage<S>::Acc> values(buffer.element_count());
  for (int64_t i = 0; i < int64_t(values.size()); ++i) {
    values[transposed_width ? i % transposed_width * transposed_width + i / transposed_width : i] = Load(from[i]);
  }
  return values;
}

struct Parameters {
  ffi::AnyBuffer state, received, bias, scale, shift;
};

template <class S>
Matrices<S> ReadMatrices(const Parameters& p, int64_t width) {
  return {Read<S>(p.state),           Read<S>(p.received), Read<S>(p.state, width), Read<S>(p.received, width), Read<S>(p.bias),
          Read<S>(p.scale),           Read<S>(p.shift)};
}

std::string Check(ffi::AnyBuffer states, ffi::AnyBuffer received, ffi::AnyBuffer offset, ffi::AnyBuffer keep,
                  const Parameters& p) {
  auto shape = states.dimensions();
  if (shape.size() != 2 || (shape[1] != 8 && shape[1] != 16 && shape[1] != 32 && shape[1] != 64)) {
    return "states must be [rows, 8, 16, 32 or 64].";
  }
  const size_t rows = shape[0], width = shape[1], offsets = offset.element_count() / width;
  if (received.element_count() != rows * width || keep.element_count() != rows || (offsets && rows % offsets)) {
    return "received must be [rows, width], keep [rows], offset [rows / n, width] or empty.";
  }
  if (p.state.element_count() != width * width || p.received.element_count() != width * width ||
      p.bias.element_count() != width || p.scale.element_count() != width || p.shift.element_count() != width) {
    return "parameters must be [width, width] and [width].";
  }
  return "";
}

template <class S>
Update<S> Inputs(ffi::AnyBuffer states, ffi::AnyBuffer received, ffi::AnyBuffer offset, ffi::AnyBuffer keep, void* out) {
  auto data = [](ffi::AnyBuffer& buffer) { return static_cast<const S*>(buffer.untyped_data()); };
  const int64_t rows = states.dimensions()[0], width = states.dimensions()[1], offsets = offset.element_count() / width;
  return {rows,         width,        offsets ? rows / offsets : 0, data(states), data(received),
          data(offset), data(keep), static_cast<S*>(out)};
}

template <class F>
ffi::Error ByType(ffi::DataType type, const F& run) {
  switch (type) {
    case ffi::F32: return run(float());
    case ffi::F64: return run(double());
    case ffi::BF16: return run(Bf16());
    default: return Invalid("states must be float32, float64 or bfloat16.");
  }
}

// First row of a block: rows that share an offset stay together.
int64_t BlockStart(int64_t rows, int64_t per, int64_t block, int64_t blocks) {
  const int64_t step = std::max<int64_t>(per, 1);
  return rows / step * block / blocks * step;
}

ffi::Error UpdateHandler(ffi::ThreadPool pool, ffi::AnyBuffer states, ffi::AnyBuffer received, ffi::AnyBuffer offset,
                         ffi::AnyBuffer keep, ffi::AnyBuffer state, ffi::AnyBuffer received_matrix, ffi::AnyBuffer bias,
                         ffi::AnyBuffer scale, ffi::AnyBuffer shift, ffi::Result<ffi::AnyBuffer> out) {
  const Parameters parameters{state, received_matrix, bias, scale, shift};
  if (std::string error = Check(states, received, offset, keep, parameters); !error.empty()) return Invalid(error);
  return ByType(states.element_type(), [&](auto zero) {
    using S = decltype(zero);
    const Update<S> a = Inputs<S>(states, received, offset, keep, out->untyped_data());
    const Matrices<S> w = ReadMatrices<S>(parameters, a.width);
    const int64_t blocks = std::max<int64_t>(1, std::min(a.rows / 64, kBlocksPerThread * pool.num_threads()));
    const auto kernel = TOFU_BEST(UpdateTask<S>);
    ParallelFor(pool, blocks, [&](int64_t block) {
      kernel(a, w, BlockStart(a.rows, a.rows_per_offset, block, blocks), BlockStart(a.rows, a.rows_per_offset, block + 1, blocks));
    });
    return ffi::Error::Success();
  });
}

ffi::Error GradientHandler(ffi::ThreadPool pool, ffi::AnyBuffer states, ffi::AnyBuffer received, ffi::AnyBuffer offset,
                           ffi::AnyBuffer keep, ffi::AnyBuffer state, ffi::AnyBuffer received_matrix, ffi::AnyBuffer bias,
                           ffi::AnyBuffer scale, ffi::AnyBuffer shift, ffi::AnyBuffer gradient,
                           ffi::Result<ffi::AnyBuffer> d_states, ffi::Result<ffi::AnyBuffer> d_received,
                           ffi::Result<ffi::AnyBuffer> d_offset, ffi::Result<ffi::AnyBuffer> partials) {
  const Parameters parameters{state, received_matrix, bias, scale, shift};
  if (std::string error = Check(states, received, offset, keep, parameters); !error.empty()) return Invalid(error);
  return ByType(states.element_type(), [&](auto zero) {
    using S = decltype(zero);
    auto result = [](ffi::Result<ffi::AnyBuffer>& buffer) { return static_cast<S*>(buffer->untyped_data()); };
    const UpdateGradient<S> a{Inputs<S>(states, received, offset, keep, nullptr), static_cast<const S*>(gradient.untyped_data()),
                              result(d_states), result(d_received), result(d_offset)};
    const Update<S>& f = a.forward;
    const Matrices<S> w = ReadMatrices<S>(parameters, f.width);
    const int64_t parts = partials->dimensions()[0], size = partials->dimensions()[1];
    auto* partial = static_cast<typename Storage<S>::Acc*>(partials->untyped_data());
    const auto kernel = TOFU_BEST(GradientTask<S>);
    ParallelFor(pool, parts, [&](int64_t part) {
      kernel(a, w, partial + part * size, BlockStart(f.rows, f.rows_per_offset, part, parts),
             BlockStart(f.rows, f.rows_per_offset, part + 1, parts));
    });
    return ffi::Error::Success();
  });
}

}  // namespace

#define TOFU_INPUTS           \
  .Ctx<ffi::ThreadPool>()     \
      .Arg<ffi::AnyBuffer>()  \
      .Arg<ffi::AnyBuffer>()  \
      .Arg<ffi::AnyBuffer>()  \
      .Arg<ffi::AnyBuffer>()  \
      .Arg<ffi::AnyBuffer>()  \
      .Arg<ffi::AnyBuffer>()  \
      .Arg<ffi::AnyBuffer>()  \
      .Arg<ffi::AnyBuffer>()  \
      .Arg<ffi::AnyBuffer>()

XLA_FFI_DEFINE_HANDLER_SYMBOL(tofu_update, UpdateHandler, ffi::Ffi::Bind() TOFU_INPUTS.Ret<ffi::AnyBuffer>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(tofu_update_gradient, GradientHandler,
                              ffi::Ffi::Bind() TOFU_INPUTS.Arg<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>());
