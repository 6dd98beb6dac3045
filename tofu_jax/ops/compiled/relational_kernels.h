// The inner loops of relational.cc. Included once per instruction set, inside a namespace of its own and without an include
// guard for that reason.
//
// Letters as in tofu_jax/ops/relational.py: states x [N, Q, H, d], coefficients A, C, bias [R, Q, d], present p [N, Q, H].
// A task is a block of rows (receivers forward, senders backward) times a range of queries.

template <class S>
inline void Prefetch(const S* from, int64_t count) {
  for (int64_t j = 0; j < std::min(count, kPrefetch); j += 64 / sizeof(S)) __builtin_prefetch(from + j);
}

// Sums messages into the receivers [first, last) for the queries [q_first, q_last).
//
// The edges of a receiver come sorted by relation, and A, C and bias are the same within a run of one relation, so a run is
// summed first and transformed once: an edge costs one addition a channel.
template <class S, int D>
void ForwardRows(const Forward<S>& a, const LiveEdges& live, int64_t first, int64_t last, int64_t q_first, int64_t q_last) {
  using Acc = typename Storage<S>::Acc;
  const int64_t d = D ? D : a.size.width, half = d / 2, heads = a.size.heads, columns = a.size.queries * heads;
  std::vector<Acc> row((q_last - q_first) * heads * d), arrived((q_last - q_first) * heads), scratch(d);
  for (int64_t i = first; i < last; ++i) {
    std::fill(row.begin(), row.end(), Acc(0));
    std::fill(arrived.begin(), arrived.end(), Acc(0));
    const int64_t end = live.start[i + 1];
    for (int64_t run = live.start[i]; run < end;) {
      const int64_t r = live.relation[run];
      int64_t stop = run + 1;
      while (stop < end && stop - run < kRun && live.relation[stop] == r) ++stop;
      for (int64_t e = stop; e < std::min<int64_t>(stop + kAhead, live.start[last]); ++e) {
        Prefetch(a.states + (live.other[e] * columns + q_first * heads) * d, (q_last - q_first) * heads * d);
      }
      for (int64_t q = q_first; q < q_last; ++q) {
        const S *scale = a.scale + (r * a.size.queries + q) * d, *swap = a.swap_scale + (r * a.size.queries + q) * d,
                *bias = a.bias + (r * a.size.queries + q) * d;
        for (int64_t h = 0; h < heads; ++h) {
          const int64_t column = q * heads + h, local = (q - q_first) * heads + h;
          Acc fixed[D ? D : 1];
          Acc* sum = D ? fixed : scratch.data();
          for (int64_t j = 0; j < d; ++j) sum[j] = Acc(0);
          Acc present = 0;
          for (int64_t e = run; e < stop; ++e) {
            const int64_t from = live.other[e] * columns + column;
            const Acc p = Load(a.present[from]);
            if (p == Acc(0)) continue;
            const S* x = a.states + from * d;
            present += p;
            for (int64_t j = 0; j < d; ++j) sum[j] += p * Load(x[j]);
          }
          if (present == Acc(0)) continue;
          arrived[local] += present;
          Acc* out = row.data() + local * d;
          for (int64_t j = 0; j < half; ++j) {
            out[j] += Load(scale[j]) * sum[j] + Load(swap[j]) * sum[j + half] + Load(bias[j]) * present;
          }
          for (int64_t j = half; j < d; ++j) {
            out[j] += Load(scale[j]) * sum[j] + Load(swap[j]) * sum[j - half] + Load(bias[j]) * present;
          }
        }
      }
      run = stop;
    }
    const int64_t to = i * columns + q_first * heads;
    for (size_t j = 0; j < row.size(); ++j) Store(a.out + to * d + j, row[j]);
    for (size_t j = 0; j < arrived.size(); ++j) Store(a.arrived + to + j, arrived[j]);
  }
}

// Gradients of the states of the senders [first, last) for the queries [q_first, q_last): with G the sum of the gradients over
// a run of edges of one sender and relation, dx += p (A G + swap(C G)).
template <class S, int D>
void BackwardRows(const Backward<S>& a, const LiveEdges& live, int64_t first, int64_t last, int64_t q_first, int64_t q_last) {
  using Acc = typename Storage<S>::Acc;
  const int64_t d = D ? D : a.size.width, half = d / 2, heads = a.size.heads, columns = a.size.queries * heads;
  std::vector<Acc> row((q_last - q_first) * heads * d), scratch(d);
  for (int64_t s = first; s < last; ++s) {
    std::fill(row.begin(), row.end(), Acc(0));
    const int64_t end = live.start[s + 1], from = s * columns;
    for (int64_t run = live.start[s]; run < end;) {
      const int64_t r = live.relation[run];
      int64_t stop = run + 1;
      while (stop < end && stop - run < kRun && live.relation[stop] == r) ++stop;
      for (int64_t e = stop; e < std::min<int64_t>(stop + kAhead, live.start[last]); ++e) {
        Prefetch(a.gradient + (live.other[e] * columns + q_first * heads) * d, (q_last - q_first) * heads * d);
      }
      for (int64_t q = q_first; q < q_last; ++q) {
        const S *scale = a.scale + (r * a.size.queries + q) * d, *swap = a.swap_scale + (r * a.size.queries + q) * d;
        for (int64_t h = 0; h < heads; ++h) {
          const int64_t column = q * heads + h;
          const Acc p = Load(a.present[from + column]);
          if (p == Acc(0)) continue;
          Acc fixed[D ? D : 1];
          Acc* g = D ? fixed : scratch.data();
          for (int64_t j = 0; j < d; ++j) g[j] = Acc(0);
          for (int64_t e = run; e < stop; ++e) {
            const S* gradient = a.gradient + (live.other[e] * columns + column) * d;
            for (int64_t j = 0; j < d; ++j) g[j] += Load(gradient[j]);
          }
          Acc* out = row.data() + ((q - q_first) * heads + h) * d;
          for (int64_t j = 0; j < half; ++j) out[j] += p * (Load(scale[j]) * g[j] + Load(swap[j + half]) * g[j + half]);
          for (int64_t j = half; j < d; ++j) out[j] += p * (Load(scale[j]) * g[j] + Load(swap[j - half]) * g[j - half]);
        }
      }
      run = stop;
    }
    for (size_t j = 0; j < row.size(); ++j) Store(a.d_states + (from + q_first * heads) * d + j, row[j]);
  }
}

// Adds to sums [3, q_last - q_first, d] the gradients dA += p x G, dC += p swap(x) G and dbias += p G of edges of one relation,
// G being the gradient at the receiver. `ends` holds (sender, receiver) of each edge.
template <class S, int D>
void AddCoefficients(const Backward<S>& a, const Ends* ends, int64_t count, int64_t q_first, int64_t q_last,
                     typename Storage<S>::Acc* sums) {
  using Acc = typename Storage<S>::Acc;
  const int64_t d = D ? D : a.size.width, half = d / 2, heads = a.size.heads, columns = a.size.queries * heads;
  const int64_t plane = (q_last - q_first) * d;
  for (int64_t q = q_first; q < q_last; ++q) {
    Acc fixed[D ? 3 * D : 1];
    Acc* to = sums + (q - q_first) * d;
    Acc *d_scale = D ? fixed : to, *d_swap = D ? fixed + D : to + plane, *d_bias = D ? fixed + 2 * D : to + 2 * plane;
    if (D) {
      for (int64_t j = 0; j < d; ++j) d_scale[j] = to[j], d_swap[j] = to[plane + j], d_bias[j] = to[2 * plane + j];
    }
    for (int64_t e = 0; e < count; ++e) {
      for (int64_t h = 0; h < heads; ++h) {
        const int64_t sender = ends[e].sender * columns + q * heads + h;
        const Acc p = Load(a.present[sender]);
        if (p == Acc(0)) continue;
        const S *x = a.states + sender * d, *g = a.gradient + (ends[e].receiver * columns + q * heads + h) * d;
        for (int64_t j = 0; j < d; ++j) {
          const Acc received = p * Load(g[j]);
          d_bias[j] += received;
          d_scale[j] += Load(x[j]) * received;
        }
        for (int64_t j = 0; j < half; ++j) {
          d_swap[j] += Load(x[j + half]) * (p * Load(g[j]));
          d_swap[j + half] += Load(x[j]) * (p * Load(g[j + half]));
        }
      }
    }
    if (D) {
      for (int64_t j = 0; j < d; ++j) to[j] = d_scale[j], to[plane + j] = d_swap[j], to[2 * plane + j] = d_bias[j];
    }
  }
}

template <class S>
void ForwardTask(const Forward<S>& a, const LiveEdges& live, int64_t first, int64_t last, int64_t q_first, int64_t q_last) {
  switch (a.size.width) {
    case 16: return ForwardRows<S, 16>(a, live, first, last, q_first, q_last);
    case 32: return ForwardRows<S, 32>(a, live, first, last, q_first, q_last);
    case 64: return ForwardRows<S, 64>(a, live, first, last, q_first, q_last);
    default: return ForwardRows<S, 0>(a, live, first, last, q_first, q_last);
  }
}

template <class S>
void BackwardTask(const Backward<S>& a, const LiveEdges& live, int64_t first, int64_t last, int64_t q_first, int64_t q_last) {
  switch (a.size.width) {
    case 16: return BackwardRows<S, 16>(a, live, first, last, q_first, q_last);
    case 32: return BackwardRows<S, 32>(a, live, first, last, q_first, q_last);
    case 64: return BackwardRows<S, 64>(a, live, first, last, q_first, q_last);
    default: return BackwardRows<S, 0>(a, live, first, last, q_first, q_last);
  }
}

template <class S>
void CoefficientsTask(const Backward<S>& a, const Ends* ends, int64_t count, int64_t q_first, int64_t q_last,
                      typename Storage<S>::Acc* sums) {
  switch (a.size.width) {
    case 16: return AddCoefficients<S, 16>(a, ends, count, q_first, q_last, sums);
    case 32: return AddCoefficients<S, 32>(a, ends, count, q_first, q_last, sums);
    case 64: return AddCoefficients<S, 64>(a, ends, count, q_first, q_last, sums);
    default: return AddCoefficients<S, 0>(a, ends, count, q_first, q_last, sums);
  }
}
