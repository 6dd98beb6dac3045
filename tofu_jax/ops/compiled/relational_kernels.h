// The inner loops of relational.cc. Included once per instruction set, inside a namespace of its own and without an include
// guard for that reason.
//
// Letters as in tofu_jax/ops/relational.py: states x [N, Q, H, d], coefficients A, C, bias [R, Q, d], present p [N, Q, H].
// A task is a block of rows (receivers forward, senders backward) times a range of queries.

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
        const S* next = a.states + (live.other[e] * columns + q_first * heads) * d;
        for (int64_t j = 0; j < std::min<int64_t>((q_last - q_first) * heads * d, kPrefetch); j += 64 / sizeof(S)) {
          __builtin_prefetch(next + j);
        }
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

// Gradients for the senders [first, last) and the queries [q_first, q_last). With G the sum of the gradients over a run of
// edges of one sender and relation: dx += p (A G + swap(C G)), dA += p x G, dC += p swap(x) G, dbias += p G.
template <class S, int D>
void BackwardRows(const Backward<S>& a, const LiveEdges& live, typename Storage<S>::Acc* partial, int64_t first, int64_t last,
                  int64_t q_first, int64_t q_last) {
  using Acc = typename Storage<S>::Acc;
  const int64_t d = D ? D : a.size.width, half = d / 2, heads = a.size.heads, columns = a.size.queries * heads;
  const int64_t plane = a.size.queries * d;  // one of dA, dC, dbias of one relation
  for (int64_t r = 0; r < 3 * a.size.relations; ++r) {
    std::fill_n(partial + r * plane + q_first * d, (q_last - q_first) * d, Acc(0));
  }
  std::vector<Acc> row((q_last - q_first) * heads * d), scratch(d);
  for (int64_t s = first; s < last; ++s) {
    std::fill(row.begin(), row.end(), Acc(0));
    const int64_t end = live.start[s + 1], from = s * columns;
    for (int64_t run = live.start[s]; run < end;) {
      const int64_t r = live.relation[run];
      int64_t stop = run + 1;
      while (stop < end && stop - run < kRun && live.relation[stop] == r) ++stop;
      for (int64_t e = stop; e < std::min<int64_t>(stop + kAhead, live.start[last]); ++e) {
        const S* next = a.gradient + (live.other[e] * columns + q_first * heads) * d;
        for (int64_t j = 0; j < std::min<int64_t>((q_last - q_first) * heads * d, kPrefetch); j += 64 / sizeof(S)) {
          __builtin_prefetch(next + j);
        }
      }
      for (int64_t q = q_first; q < q_last; ++q) {
        const S *scale = a.scale + (r * a.size.queries + q) * d, *swap = a.swap_scale + (r * a.size.queries + q) * d;
        Acc *d_scale = partial + (3 * r) * plane + q * d, *d_swap = d_scale + plane, *d_bias = d_swap + plane;
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
          for (int64_t j = 0; j < d; ++j) g[j] *= p;
          const S* x = a.states + (from + column) * d;
          Acc* out = row.data() + ((q - q_first) * heads + h) * d;
          for (int64_t j = 0; j < half; ++j) {
            out[j] += Load(scale[j]) * g[j] + Load(swap[j + half]) * g[j + half];
            d_swap[j] += Load(x[j + half]) * g[j];
          }
          for (int64_t j = half; j < d; ++j) {
            out[j] += Load(scale[j]) * g[j] + Load(swap[j - half]) * g[j - half];
            d_swap[j] += Load(x[j - half]) * g[j];
          }
          for (int64_t j = 0; j < d; ++j) {
            d_scale[j] += Load(x[j]) * g[j];
            d_bias[j] += g[j];
          }
        }
      }
      run = stop;
    }
    for (size_t j = 0; j < row.size(); ++j) Store(a.d_states + (from + q_first * heads) * d + j, row[j]);
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
void BackwardTask(const Backward<S>& a, const LiveEdges& live, typename Storage<S>::Acc* partial, int64_t first, int64_t last,
                  int64_t q_first, int64_t q_last) {
  switch (a.size.width) {
    case 16: return BackwardRows<S, 16>(a, live, partial, first, last, q_first, q_last);
    case 32: return BackwardRows<S, 32>(a, live, partial, first, last, q_first, q_last);
    case 64: return BackwardRows<S, 64>(a, live, partial, first, last, q_first, q_last);
    default: return BackwardRows<S, 0>(a, live, partial, first, last, q_first, q_last);
  }
}
