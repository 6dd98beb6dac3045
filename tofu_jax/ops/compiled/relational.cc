// The hot operation of tofu_jax/ops/relational.py for CPUs, called by XLA through its foreign function interface.
//
// No locks: a task owns rows of the result. Results do not depend on the number of threads: a row is always summed in the
// same order, and gradients of coefficients in blocks whose number is fixed.

#include "common.h"

namespace {

constexpr int64_t kRun = 16;             // most edges summed before they are transformed: their rows stay in cache
constexpr int64_t kAhead = 8;            // rows fetched in advance
constexpr int64_t kPrefetch = 256;       // channels of each
// States of the queries that a task works on: a share of the last cache.
constexpr int64_t kTileBytes = 16 << 20;
constexpr int64_t kCoefficientBlocks = 32;  // of rows of one relation
constexpr int64_t kBlocksPerThread = 8;

struct Size {
  int64_t nodes, queries, heads, width, edges, relations;
};

template <class S>
struct Forward {
  Size size;
  const S *states, *present, *scale, *swap_scale, *bias;
  S *out, *arrived;
};

template <class S>
struct Backward {
  Size size;
  const S *states, *present, *scale, *swap_scale, *gradient;
  S *d_states, *d_scale, *d_swap_scale, *d_bias;
};

// The unmasked edges in the order of one of their ends.
struct LiveEdges {
  std::vector<int64_t> start;  // [N + 1]
  std::vector<int32_t> other;  // the other end
  std::vector<int32_t> relation;
};

struct Ends {
  int64_t sender, receiver;
};

// The edges once more, in rows of one relation (edges.py: Rows).
struct RelationRows {
  const int32_t *owner, *edge;
  int64_t count, width;
};

#define TOFU_KERNELS "relational_kernels.h"
#include "instruction_sets.h"

struct Edges {
  const int32_t *senders, *relations, *receivers, *by_sender;
  const bool* mask;
  int64_t mask_queries;  // 1, or Q where each query has its own mask
};

// Collects the edges that query q sees, by receiver in the given order or by sender in the order of `by_sender`.
std::string Collect(const Edges& edges, const Size& size, int64_t q, bool from_sender, LiveEdges* live) {
  const char* end = from_sender ? "sender" : "receiver";
  live->start.assign(size.nodes + 1, 0);
  live->other.clear();
  live->relation.clear();
  live->other.reserve(size.edges);
  live->relation.reserve(size.edges);
  int64_t previous = 0;
  for (int64_t k = 0; k < size.edges; ++k) {
    const int64_t e = from_sender ? edges.by_sender[k] : k;
    if (e < 0 || e >= size.edges) {
      return "by_sender[" + std::to_string(k) + "] is " + std::to_string(e) + ", but there are " + std::to_string(size.edges) +
             " edges.";
    }
    if (!edges.mask[e * edges.mask_queries + q]) continue;
    const int64_t s = edges.senders[e], r = edges.relations[e], i = edges.receivers[e];
    if (s < 0 || s >= size.nodes || i < 0 || i >= size.nodes || r < 0 || r >= size.relations) {
      return "edge " + std::to_string(e) + " is (" + std::to_string(s) + ", " + std::to_string(r) + ", " + std::to_string(i) +
             "), but there are " + std::to_string(size.nodes) + " nodes and " + std::to_string(size.relations) +
             " relations.";
    }
    const int64_t owner = from_sender ? s : i;
    if (owner < previous) {
      return std::string("edge ") + std::to_string(e) + " is out of order: " + end + " " + std::to_string(owner) +
             " comes after " + std::to_string(previous) + ". Edges have to be sorted by receiver" +
             (from_sender ? ", by_sender has to sort them by sender." : ".");
    }
    previous = owner;
    ++live->start[owner + 1];
    live->other.push_back(from_sender ? i : s);
    live->relation.push_back(r);
  }
  for (int64_t node = 0; node < size.nodes; ++node) live->start[node + 1] += live->start[node];
  return "";
}

// Row where block `block` of `blocks` begins, so that all have about the same number of rows and edges.
int64_t BlockStart(const LiveEdges& live, int64_t nodes, int64_t block, int64_t blocks) {
  if (block == 0) return 0;
  if (block >= blocks) return nodes;
  const int64_t target = (live.start[nodes] + nodes) * block / blocks;
  int64_t low = 0, high = nodes;
  while (low < high) {
    const int64_t middle = (low + high) / 2;
    if (live.start[middle] + middle < target) low = middle + 1; else high = middle;
  }
  return low;
}

ffi::Error Invalid(const std::string& message) { return ffi::Error(ffi::ErrorCode::kInvalidArgument, "relational_sum: " + message); }

// Edges for each group of queries with one mask. On return `lives` has one entry, or one for each query.
std::string CollectAll(ffi::ThreadPool& pool, const Edges& edges, const Size& size, bool from_sender,
                       std::vector<LiveEdges>* lives) {
  lives->resize(edges.mask_queries);
  std::vector<std::string> errors(lives->size());
  ParallelFor(pool, lives->size(), [&](int64_t q) { errors[q] = Collect(edges, size, q, from_sender, &(*lives)[q]); });
  for (const std::string& error : errors) {
    if (!error.empty()) return error;
  }
  return "";
}

// Queries that a task takes together.
template <class S>
int64_t Tile(const Size& size, size_t masks) {
  if (masks > 1) return 1;
  const int64_t bytes = std::max<int64_t>(size.nodes * size.heads * size.width * sizeof(S), 1);
  return std::clamp<int64_t>(kTileBytes / bytes, 1, std::max<int64_t>(size.queries, 1));
}

template <class S>
ffi::Error RunForward(ffi::ThreadPool& pool, const Forward<S>& a, const Edges& edges) {
  std::vector<LiveEdges> lives;
  if (std::string error = CollectAll(pool, edges, a.size, false, &lives); !error.empty()) return Invalid(error);
  const int64_t tile = Tile<S>(a.size, lives.size()), tiles = (a.size.queries + tile - 1) / tile;
  const int64_t blocks = std::min<int64_t>(a.size.nodes, kBlocksPerThread * std::max<int64_t>(pool.num_threads(), 1));
  const auto kernel = TOFU_BEST(ForwardTask<S>);
  ParallelFor(pool, tiles * blocks, [&](int64_t task) {
    const int64_t q = task / blocks * tile, block = task % blocks;
    const LiveEdges& live = lives[lives.size() > 1 ? q : 0];
    kernel(a, live, BlockStart(live, a.size.nodes, block, blocks), BlockStart(live, a.size.nodes, block + 1, blocks), q,
           std::min(q + tile, a.size.queries));
  });
  return ffi::Error::Success();
}

// Reads one row of one relation: the ends of those of its edges that queries from q on see.
std::string ReadRow(const Edges& edges, const Size& size, const RelationRows& rows, int64_t row, bool first, int64_t q,
                    std::vector<Ends>* ends) {
  const int64_t r = rows.owner[row];
  if (r < 0 || r >= size.relations || (!first && r < rows.owner[row - 1])) {
    return "relation_rows.owner[" + std::to_string(row) + "] is " + std::to_string(r) + ": out of order or range.";
  }
  ends->clear();
  for (int64_t k = 0; k < rows.width; ++k) {
    const int64_t e = rows.edge[row * rows.width + k];
    if (e == size.edges) continue;  // the row is not full
    const bool inside = e >= 0 && e < size.edges;
    const bool visible = inside && edges.mask[e * edges.mask_queries + (edges.mask_queries > 1 ? q : 0)];
    if (!inside || (visible && edges.relations[e] != r)) {
      return "relation_rows.edge[" + std::to_string(row) + "] holds " + std::to_string(e) + ", which is no edge of relation " +
             std::to_string(r) + ".";
    }
    if (visible) ends->push_back({edges.senders[e], edges.receivers[e]});
  }
  return "";
}

// Gradients of the coefficients [R, Q, d]. Relations differ in size, so blocks have equal numbers of rows; the first and the
// last relation of a block may go on in others, which leave their sums in `shared` [blocks, 2, 3, Q, d].
template <class S, class Acc>
std::string SumCoefficients(ffi::ThreadPool& pool, const Backward<S>& a, const Edges& edges, const RelationRows& rows,
                            int64_t tile, int64_t blocks, std::vector<Acc>* shared) {
  const Size& size = a.size;
  const int64_t plane = size.queries * size.width, tiles = (size.queries + tile - 1) / tile;
  std::vector<std::string> errors(tiles * blocks);
  const auto kernel = TOFU_BEST(CoefficientsTask<S>);
  ParallelFor(pool, tiles * blocks, [&](int64_t task) {
    const int64_t block = task % blocks, q = task / blocks * tile, q_last = std::min(q + tile, size.queries);
    const int64_t first = rows.count * block / blocks, last = rows.count * (block + 1) / blocks;
    const int64_t length = (q_last - q) * size.width;
    std::vector<Acc> sums(3 * length);
    std::vector<Ends> ends;
    for (int64_t row = first; row < last; ++row) {
      errors[task] = ReadRow(edges, size, rows, row, row == first, q, &ends);
      if (!errors[task].empty()) return;
      kernel(a, ends.data(), ends.size(), q, q_last, sums.data());
      const int64_t r = rows.owner[row];
      if (row + 1 < last && rows.owner[row + 1] == r) continue;
      const bool begins_block = r == rows.owner[first], ends_block = row + 1 == last;
      for (int64_t kind = 0; kind < 3; ++kind) {
        const Acc* from = sums.data() + kind * length;
        if (begins_block || ends_block) {
          const int64_t place = 2 * block + !begins_block;
          std::copy_n(from, length, shared->data() + (place * 3 + kind) * plane + q * size.width);
        } else {
          S* to = (kind == 0 ? a.d_scale : kind == 1 ? a.d_swap_scale : a.d_bias) + r * plane + q * size.width;
          for (int64_t j = 0; j < length; ++j) Store(to + j, from[j]);
        }
      }
      std::fill(sums.begin(), sums.end(), Acc(0));
    }
  });
  for (const std::string& error : errors) {
    if (!error.empty()) return error;
  }
  return "";
}

// Adds up what SumCoefficients left in `shared`; the sums of one relation stand there one after the other.
template <class S, class Acc>
void MergeShared(const Backward<S>& a, const RelationRows& rows, int64_t blocks, const std::vector<Acc>& shared) {
  const int64_t plane = a.size.queries * a.size.width;
  std::vector<Acc> total(3 * plane);
  int64_t owner = -1;
  const auto finish = [&] {
    for (int64_t j = 0; owner >= 0 && j < plane; ++j) {
      Store(a.d_scale + owner * plane + j, total[j]);
      Store(a.d_swap_scale + owner * plane + j, total[plane + j]);
      Store(a.d_bias + owner * plane + j, total[2 * plane + j]);
    }
    std::fill(total.begin(), total.end(), Acc(0));
  };
  for (int64_t place = 0; place < 2 * blocks; ++place) {
    const int64_t first = rows.count * (place / 2) / blocks, last = rows.count * (place / 2 + 1) / blocks;
    if (first == last || (place % 2 && rows.owner[first] == rows.owner[last - 1])) continue;
    const int64_t next = rows.owner[place % 2 ? last - 1 : first];
    if (next != owner) finish();
    owner = next;
    for (int64_t j = 0; j < 3 * plane; ++j) total[j] += shared[place * 3 * plane + j];
  }
  finish();
}

template <class S>
ffi::Error RunBackward(ffi::ThreadPool& pool, const Backward<S>& a, const Edges& edges, const RelationRows& rows) {
  std::vector<LiveEdges> lives;
  if (std::string error = CollectAll(pool, edges, a.size, true, &lives); !error.empty()) return Invalid(error);
  const int64_t tile = Tile<S>(a.size, lives.size()), tiles = (a.size.queries + tile - 1) / tile;
  const int64_t blocks = std::min<int64_t>(a.size.nodes, kBlocksPerThread * std::max<int64_t>(pool.num_threads(), 1));
  const auto kernel = TOFU_BEST(BackwardTask<S>);
  ParallelFor(pool, tiles * blocks, [&](int64_t task) {
    const int64_t q = task / blocks * tile, block = task % blocks;
    const LiveEdges& live = lives[lives.size() > 1 ? q : 0];
    kernel(a, live, BlockStart(live, a.size.nodes, block, blocks), BlockStart(live, a.size.nodes, block + 1, blocks), q,
           std::min(q + tile, a.size.queries));
  });
  const int64_t plane = a.size.queries * a.size.width, row_blocks = std::min(kCoefficientBlocks, rows.count);
  for (S* result : {a.d_scale, a.d_swap_scale, a.d_bias}) std::memset(result, 0, a.size.relations * plane * sizeof(S));
  std::vector<typename Storage<S>::Acc> shared(row_blocks * 6 * plane);
  const std::string error = SumCoefficients(pool, a, edges, rows, tile, row_blocks, &shared);
  if (!error.empty()) return Invalid(error);
  MergeShared(a, rows, row_blocks, shared);
  return ffi::Error::Success();
}

// Shapes are those that tofu_jax/ops/compiled_sum.py builds; they are checked all the same, for a wrong one would crash.
template <class Buffers>
std::string ReadSize(ffi::AnyBuffer states, ffi::AnyBuffer scale, const Buffers& edges, Size* size) {
  auto s = states.dimensions();
  auto c = scale.dimensions();
  if (s.size() != 4 || c.size() != 3) return "states need 4 axes, coefficients 3.";
  *size = {s[0], s[1], s[2], s[3], int64_t(edges.senders.element_count()), c[0]};
  if (c[1] != s[1] || c[2] != s[3] || s[3] % 2) return "coefficients must be [R, Q, d] for states [N, Q, H, d], d even.";
  return "";
}

struct EdgeBuffers {
  ffi::Buffer<ffi::S32> senders, relations, receivers;
  ffi::Buffer<ffi::PRED> mask;
  ffi::Buffer<ffi::S32> by_sender;
};

std::string ReadEdges(const EdgeBuffers& b, const Size& size, Edges* edges) {
  const int64_t mask = b.mask.element_count();
  if (int64_t(b.relations.element_count()) != size.edges || int64_t(b.receivers.element_count()) != size.edges ||
      int64_t(b.by_sender.element_count()) != size.edges || (mask != size.edges && mask != size.edges * size.queries)) {
    return "senders, relations, receivers and by_sender must be [E], the mask [E] or [E, Q].";
  }
  *edges = {b.senders.typed_data(),   b.relations.typed_data(), b.receivers.typed_data(),
            b.by_sender.typed_data(), b.mask.typed_data(),      mask == size.edges ? 1 : size.queries};
  return "";
}

ffi::Error ForwardHandler(ffi::ThreadPool pool, ffi::AnyBuffer states, ffi::AnyBuffer present, ffi::AnyBuffer scale,
                          ffi::AnyBuffer swap_scale, ffi::AnyBuffer bias, ffi::Buffer<ffi::S32> senders,
                          ffi::Buffer<ffi::S32> relations, ffi::Buffer<ffi::S32> receivers, ffi::Buffer<ffi::PRED> mask,
                          ffi::Buffer<ffi::S32> by_sender, ffi::Result<ffi::AnyBuffer> out,
                          ffi::Result<ffi::AnyBuffer> arrived) {
  Size size;
  Edges edges;
  EdgeBuffers buffers{senders, relations, receivers, mask, by_sender};
  if (std::string error = ReadSize(states, scale, buffers, &size); !error.empty()) return Invalid(error);
  if (std::string error = ReadEdges(buffers, size, &edges); !error.empty()) return Invalid(error);
  auto run = [&](auto zero) {
    using S = decltype(zero);
    auto data = [](ffi::AnyBuffer& buffer) { return static_cast<const S*>(buffer.untyped_data()); };
    return RunForward<S>(pool,
                         {size, data(states), data(present), data(scale), data(swap_scale), data(bias),
                          static_cast<S*>(out->untyped_data()), static_cast<S*>(arrived->untyped_data())},
                         edges);
  };
  switch (states.element_type()) {
    case ffi::F32: return run(float());
    case ffi::F64: return run(double());
    case ffi::BF16: return run(Bf16());
    default: return Invalid("states must be float32, float64 or bfloat16.");
  }
}

ffi::Error BackwardHandler(ffi::ThreadPool pool, ffi::AnyBuffer states, ffi::AnyBuffer present, ffi::AnyBuffer scale,
                           ffi::AnyBuffer swap_scale, ffi::AnyBuffer gradient, ffi::Buffer<ffi::S32> senders,
                           ffi::Buffer<ffi::S32> relations, ffi::Buffer<ffi::S32> receivers, ffi::Buffer<ffi::PRED> mask,
                           ffi::Buffer<ffi::S32> by_sender, ffi::Buffer<ffi::S32> row_owners, ffi::Buffer<ffi::S32> row_edges,
                           ffi::Result<ffi::AnyBuffer> d_states, ffi::Result<ffi::AnyBuffer> d_scale,
                           ffi::Result<ffi::AnyBuffer> d_swap_scale, ffi::Result<ffi::AnyBuffer> d_bias) {
  Size size;
  Edges edges;
  EdgeBuffers buffers{senders, relations, receivers, mask, by_sender};
  if (std::string error = ReadSize(states, scale, buffers, &size); !error.empty()) return Invalid(error);
  if (std::string error = ReadEdges(buffers, size, &edges); !error.empty()) return Invalid(error);
  const auto shape = row_edges.dimensions();
  if (shape.size() != 2 || int64_t(row_owners.element_count()) != shape[0]) return Invalid("relation_rows do not match.");
  const RelationRows rows{row_owners.typed_data(), row_edges.typed_data(), shape[0], shape[1]};
  auto run = [&](auto zero) {
    using S = decltype(zero);
    auto data = [](ffi::AnyBuffer& buffer) { return static_cast<const S*>(buffer.untyped_data()); };
    auto result = [](ffi::Result<ffi::AnyBuffer>& buffer) { return static_cast<S*>(buffer->untyped_data()); };
    return RunBackward<S>(pool,
                          {size, data(states), data(present), data(scale), data(swap_scale), data(gradient),
                           result(d_states), result(d_scale), result(d_swap_scale), result(d_bias)},
                          edges, rows);
  };
  switch (states.element_type()) {
    case ffi::F32: return run(float());
    case ffi::F64: return run(double());
    case ffi::BF16: return run(Bf16());
    default: return Invalid("states must be float32, float64 or bfloat16.");
  }
}

}  // namespace

#define TOFU_INPUTS                  \
  .Ctx<ffi::ThreadPool>()            \
      .Arg<ffi::AnyBuffer>()         \
      .Arg<ffi::AnyBuffer>()         \
      .Arg<ffi::AnyBuffer>()         \
      .Arg<ffi::AnyBuffer>()         \
      .Arg<ffi::AnyBuffer>()         \
      .Arg<ffi::Buffer<ffi::S32>>()  \
      .Arg<ffi::Buffer<ffi::S32>>()  \
      .Arg<ffi::Buffer<ffi::S32>>()  \
      .Arg<ffi::Buffer<ffi::PRED>>() \
      .Arg<ffi::Buffer<ffi::S32>>()

XLA_FFI_DEFINE_HANDLER_SYMBOL(tofu_relational_sum, ForwardHandler,
                              ffi::Ffi::Bind() TOFU_INPUTS.Ret<ffi::AnyBuffer>().Ret<ffi::AnyBuffer>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(tofu_relational_sum_gradient, BackwardHandler,
                              ffi::Ffi::Bind() TOFU_INPUTS.Arg<ffi::Buffer<ffi::S32>>()
                                  .Arg<ffi::Buffer<ffi::S32>>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>()
                                  .Ret<ffi::AnyBuffer>());
