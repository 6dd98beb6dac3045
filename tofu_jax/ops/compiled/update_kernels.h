// The inner loops of update.cc. Included by instruction_sets.h once per instruction set; hence no include guard.
//
// Rows are worked on in groups of kRows, packed so that rows without a result cost nothing.

template <class A, int D>
struct Vectors {
  static constexpr int kLanes = std::min<int>(TOFU_VECTOR_BYTES / sizeof(A), D);
  static constexpr int kCount = D / kLanes;
  typedef A V __attribute__((vector_size(kLanes * sizeof(A))));

  static inline __attribute__((always_inline)) V Read(const A* from) {
    V value;
    std::memcpy(&value, from, sizeof(V));
    return value;
  }
  static inline __attribute__((always_inline)) void Write(A* to, V value) { std::memcpy(to, &value, sizeof(V)); }
};

// to[r] += from[r] · matrix for a group of rows; matrix [D, D], row-major.
template <class A, int D>
inline __attribute__((always_inline)) void AddProduct(A (*to)[D], const A (*from)[D], const A* matrix) {
  using X = Vectors<A, D>;
  using V = typename X::V;
  // So many vectors at a time that their sums stay in registers.
  constexpr int kWide = std::min(X::kCount, 2);
  for (int first = 0; first < X::kCount; first += kWide) {
    V sum[kRows][kWide];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
      for (int v = 0; v < kWide; ++v) sum[r][v] = X::Read(to[r] + (first + v) * X::kLanes);
    }
    for (int k = 0; k < D; ++k) {
      V row[kWide];
#pragma GCC unroll 2
      for (int v = 0; v < kWide; ++v) row[v] = X::Read(matrix + k * D + (first + v) * X::kLanes);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
        for (int v = 0; v < kWide; ++v) sum[r][v] += from[r][k] * row[v];
      }
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
      for (int v = 0; v < kWide; ++v) X::Write(to[r] + (first + v) * X::kLanes, sum[r][v]);
    }
  }
}

// matrix[k, j] += Σ over the group from[r][k] · gradient[r][j].
template <class A, int D>
inline __attribute__((always_inline)) void AddOuter(A* matrix, const A (*from)[D], const A (*gradient)[D]) {
  using X = Vectors<A, D>;
  using V = typename X::V;
  for (int v = 0; v < X::kCount; ++v) {
    V g[kRows];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) g[r] = X::Read(gradient[r] + v * X::kLanes);
    for (int k = 0; k < D; ++k) {
      V sum = X::Read(matrix + k * D + v * X::kLanes);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) sum += from[r][k] * g[r];
      X::Write(matrix + k * D + v * X::kLanes, sum);
    }
  }
}

template <class A, int D>
inline __attribute__((always_inline)) A Mean(const A* values) {
  using X = Vectors<A, D>;
  typename X::V total = X::Read(values);
  for (int v = 1; v < X::kCount; ++v) total += X::Read(values + v * X::kLanes);
  A sum = 0;
  for (int lane = 0; lane < X::kLanes; ++lane) sum += total[lane];
  return sum / D;
}

// total[r] = x W + m U + bias + offset, then (total − mean) / deviation into `normed`; 1 / deviation into `inverse`.
template <class S, int D>
inline __attribute__((always_inline)) void NormedGroup(const Update<S>& a, const Matrices<S>& w, const int64_t* rows, int count,
                                                       typename Storage<S>::Acc (*x)[D], typename Storage<S>::Acc (*m)[D],
                                                       typename Storage<S>::Acc (*normed)[D],
                                                       typename Storage<S>::Acc* inverse) {
  using A = typename Storage<S>::Acc;
  for (int r = 0; r < kRows; ++r) {
    // A group that is not full repeats its last row and throws the results away.
    const int64_t row = rows[std::min(r, count - 1)];
    for (int j = 0; j < D; ++j) x[r][j] = Load(a.states[row * D + j]);
    for (int j = 0; j < D; ++j) m[r][j] = Load(a.received[row * D + j]);
    for (int j = 0; j < D; ++j) normed[r][j] = w.bias[j];
    if (a.rows_per_offset) {
      const S* offset = a.offset + row / a.rows_per_offset * D;
      for (int j = 0; j < D; ++j) normed[r][j] += Load(offset[j]);
    }
  }
  AddProduct<A, D>(normed, x, w.state.data());
  AddProduct<A, D>(normed, m, w.received.data());
  for (int r = 0; r < kRows; ++r) {
    const A mean = Mean<A, D>(normed[r]);
    A squared[D];
    for (int j = 0; j < D; ++j) {
      normed[r][j] -= mean;
      squared[j] = normed[r][j] * normed[r][j];
    }
    inverse[r] = 1 / std::sqrt(Mean<A, D>(squared) + A(kEpsilon));
    for (int j = 0; j < D; ++j) normed[r][j] *= inverse[r];
  }
}

template <class S, int D>
void UpdateRows(const Update<S>& a, const Matrices<S>& w, int64_t first, int64_t last) {
  using A = typename Storage<S>::Acc;
  alignas(64) A x[kRows][D], m[kRows][D], normed[kRows][D], inverse[kRows];
  int64_t rows[kRows];
  int count = 0;
  for (int64_t row = first; row <= last; ++row) {
    if (row < last) {
      if (Load(a.keep[row]) == 0) {
        std::memset(static_cast<void*>(a.out + row * D), 0, D * sizeof(S));
        continue;
      }
      rows[count++] = row;
    }
    if (count == 0 || (count < kRows && row < last)) continue;
    NormedGroup<S, D>(a, w, rows, count, x, m, normed, inverse);
    for (int r = 0; r < count; ++r) {
      for (int j = 0; j < D; ++j) {
        Store(a.out + rows[r] * D + j, x[r][j] + std::max(normed[r][j] * w.scale[j] + w.shift[j], A(0)));
      }
    }
    count = 0;
  }
}

template <class S, int D>
void GradientRows(const UpdateGradient<S>& a, const Matrices<S>& w, typename Storage<S>::Acc* partial, int64_t first,
                  int64_t last) {
  using A = typename Storage<S>::Acc;
  const Update<S>& forward = a.forward;
  alignas(64) A x[kRows][D], m[kRows][D], normed[kRows][D], inverse[kRows];
  alignas(64) A d_x[kRows][D], d_m[kRows][D], d_total[kRows][D];
  // Of the part: gradients of the matrices [2, D, D], and of bias, scale and shift [3, D].
  A *d_state = partial, *d_received = partial + D * D, *d_vectors = partial + 2 * D * D;
  std::fill_n(partial, 2 * D * D + 3 * D, A(0));
  if (forward.rows_per_offset) {
    const int64_t per = forward.rows_per_offset;
    std::fill(a.d_offset + first / per * D, a.d_offset + last / per * D, S{});
  }
  int64_t rows[kRows];
  int count = 0;
  for (int64_t row = first; row <= last; ++row) {
    if (row < last) {
      if (Load(forward.keep[row]) == 0) {
        std::memset(static_cast<void*>(a.d_states + row * D), 0, D * sizeof(S));
        std::memset(static_cast<void*>(a.d_received + row * D), 0, D * sizeof(S));
        continue;
      }
      rows[count++] = row;
    }
    if (count == 0 || (count < kRows && row < last)) continue;
    NormedGroup<S, D>(forward, w, rows, count, x, m, normed, inverse);
    for (int r = 0; r < kRows; ++r) {
      const bool real = r < count;
      A d_normed[D], product[D];
      for (int j = 0; j < D; ++j) {
        const A g = real ? Load(a.gradient[rows[real ? r : 0] * D + j]) : A(0);
        d_x[r][j] = g;
        d_m[r][j] = 0;
        const A d_shifted = normed[r][j] * w.scale[j] + w.shift[j] > 0 ? g : A(0);
        d_vectors[D + j] += d_shifted * normed[r][j];
        d_vectors[2 * D + j] += d_shifted;
        d_normed[j] = d_shifted * w.scale[j];
        product[j] = d_normed[j] * normed[r][j];
      }
      const A mean = Mean<A, D>(d_normed), projection = Mean<A, D>(product);
      for (int j = 0; j < D; ++j) {
        d_total[r][j] = inverse[r] * (d_normed[j] - mean - normed[r][j] * projection);
        d_vectors[j] += d_total[r][j];
      }
    }
    AddProduct<A, D>(d_x, d_total, w.state_transposed.data());
    AddProduct<A, D>(d_m, d_total, w.received_transposed.data());
    AddOuter<A, D>(d_state, x, d_total);
    AddOuter<A, D>(d_received, m, d_total);
    for (int r = 0; r < count; ++r) {
      for (int j = 0; j < D; ++j) Store(a.d_states + rows[r] * D + j, d_x[r][j]);
      for (int j = 0; j < D; ++j) Store(a.d_received + rows[r] * D + j, d_m[r][j]);
      if (forward.rows_per_offset) {
        S* d_offset = a.d_offset + rows[r] / forward.rows_per_offset * D;
        for (int j = 0; j < D; ++j) Store(d_offset + j, A(Load(d_offset[j])) + d_total[r][j]);
      }
    }
    count = 0;
  }
}

template <class S>
void UpdateTask(const Update<S>& a, const Matrices<S>& w, int64_t first, int64_t last) {
  switch (a.width) {
    case 8: return UpdateRows<S, 8>(a, w, first, last);
    case 16: return UpdateRows<S, 16>(a, w, first, last);
    case 32: return UpdateRows<S, 32>(a, w, first, last);
    case 64: return UpdateRows<S, 64>(a, w, first, last);
  }
}

template <class S>
void GradientTask(const UpdateGradient<S>& a, const Matrices<S>& w, typename Storage<S>::Acc* partial, int64_t first,
                  int64_t last) {
  switch (a.forward.width) {
    case 8: return GradientRows<S, 8>(a, w, partial, first, last);
    case 16: return GradientRows<S, 16>(a, w, partial, first, last);
    case 32: return GradientRows<S, 32>(a, w, partial, first, last);
    case 64: return GradientRows<S, 64>(a, w, partial, first, last);
  }
}
