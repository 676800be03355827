// The neighbour sum on a CPU, and its derivative: see equivar_jax/kernels/native.py.
//
// For node i, degree l and every block of W channels, the edge products
//     U_l[s, m, c] = sum_e Y[e, l s] rho_l[e, c] x[sender_e, m, c]
// stay in registers over the whole sum, and the Clebsch-Gordan coefficients that are not zero, a list of
// (out, u, coefficient), act once per node. Nothing of the size edges x components is ever stored.
//
// Shapes: features [N, C, f]; radial [E, 3, f]; harmonics [E, 9]; senders [E]; node i has the edges first[i] to
// first[i] + counts[i] - 1, first and counts being [M]; sums [M, P, f].

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#else
constexpr int kVectorBytes = 32;
#endif
constexpr int kHarmonics = 9;

template <typename T>
struct Simd {
  static constexpr int W = kVectorBytes / sizeof(T);
  typedef T Vector __attribute__((vector_size(kVectorBytes)));
  static Vector Load(const T* from) {
    Vector v;
    std::memcpy(&v, from, sizeof(v));
    return v;
  }
  static void Store(T* to, Vector v) { std::memcpy(to, &v, sizeof(v)); }
  static T Sum(Vector v) {
    T sum = 0;
    for (int c = 0; c < W; ++c) sum += v[c];
    return sum;
  }
};

// One Clebsch-Gordan coefficient: row `out` of the sums, row `u` of U.
struct Terms {
  ffi::Span<const int32_t> out, u;
  ffi::Span<const double> coefficient;
};

struct Shape {
  int64_t table, nodes, edges;          // N, M, E
  int components, channels, products;  // C, f, P
};

template <typename T>
struct Inputs {
  const T *features, *radial, *harmonics;
  const int32_t *senders, *first, *counts;
};

// ---- Work on threads -------------------------------------------------------------------------------------

// Runs task(0) ... task(n - 1), the caller among the workers. It waits for tasks, not for threads: where the
// pool is busy the caller does them all, so two operations that wait for one another cannot lock up.
void Parallel(ffi::ThreadPool& pool, int64_t n, std::function<void(int64_t)> task) {
  struct State {
    std::atomic<int64_t> next{0};
    int64_t done = 0;
    std::mutex mutex;
    std::condition_variable all_done;
  };
  auto state = std::make_shared<State>();
  auto work = [state, n, task] {
    for (int64_t i; (i = state->next.fetch_add(1)) < n;) {
      task(i);
      std::lock_guard<std::mutex> lock(state->mutex);
      if (++state->done == n) state->all_done.notify_all();
    }
  };
  const int64_t helpers = std::min<int64_t>(pool.num_threads(), n) - 1;
  for (int64_t t = 0; t < helpers; ++t) pool.Schedule(std::function<void()>(work));
  work();
  std::unique_lock<std::mutex> lock(state->mutex);
  state->all_done.wait(lock, [&] { return state->done == n; });
}

// ---- Forward ---------------------------------------------------------------------------------------------

// U of S harmonics and B components, one channel block of one node.
template <typename T, int S, int B>
inline void OuterProducts(const T* features, const T* radial, const T* harmonics, const int32_t* senders,
                          int count, const Shape& shape, T* u) {
  using V = Simd<T>;
  typename V::Vector sum[S][B];
  for (int s = 0; s < S; ++s)
    for (int m = 0; m < B; ++m) sum[s][m] = typename V::Vector{};
  const int64_t row = int64_t(shape.components) * shape.channels;
  for (int k = 0; k < count; ++k) {
    const T* x = features + senders[k] * row;
    const auto rho = V::Load(radial + int64_t(k) * 3 * shape.channels);
    typename V::Vector scaled[B];
    for (int m = 0; m < B; ++m) scaled[m] = V::Load(x + m * shape.channels) * rho;
    for (int s = 0; s < S; ++s)
      for (int m = 0; m < B; ++m) sum[s][m] += harmonics[k * kHarmonics + s] * scaled[m];
  }
  for (int s = 0; s < S; ++s)
    for (int m = 0; m < B; ++m) V::Store(u + (s * shape.components + m) * V::W, sum[s][m]);
}

// The same for all components.
template <typename T, int S>
void OuterProductsOfDegree(const T* features, const T* radial, const T* harmonics, const int32_t* senders,
                           int count, const Shape& shape, T* u) {
  int m = 0;
  const int f = shape.channels;
  for (; m + 4 <= shape.components; m += 4)
    OuterProducts<T, S, 4>(features + m * f, radial, harmonics, senders, count, shape, u + m * Simd<T>::W);
  for (; m < shape.components; ++m)
    OuterProducts<T, S, 1>(features + m * f, radial, harmonics, senders, count, shape, u + m * Simd<T>::W);
}

template <typename T>
void SumOfNode(const Inputs<T>& in, const Shape& shape, const Terms& terms, int64_t node, T* u, T* sums) {
  using V = Simd<T>;
  const int f = shape.channels, count = in.counts[node];
  const int64_t first = in.first[node];
  const int32_t* senders = in.senders + first;
  const T* y = in.harmonics + first * kHarmonics;
  const int degree_rows = shape.components * V::W;
  for (int c = 0; c < f; c += V::W) {
    const T* x = in.features + c;
    const T* rho = in.radial + first * 3 * f + c;
    OuterProductsOfDegree<T, 1>(x, rho, y, senders, count, shape, u);
    OuterProductsOfDegree<T, 3>(x, rho + f, y + 1, senders, count, shape, u + degree_rows);
    OuterProductsOfDegree<T, 5>(x, rho + 2 * f, y + 4, senders, count, shape, u + 4 * degree_rows);
    T* out = sums + node * shape.products * f + c;
    for (size_t t = 0; t < terms.out.size();) {  // sorted by out, each out at least once
      const int32_t row = terms.out[t];
      typename V::Vector sum = {};
      for (; t < terms.out.size() && terms.out[t] == row; ++t)
        sum += T(terms.coefficient[t]) * V::Load(u + terms.u[t] * V::W);
      V::Store(out + row * f, sum);
    }
  }
}

// ---- Backward --------------------------------------------------------------------------------------------

// What B edges and four (or one) components get from U's cotangent, one degree and channel block.
template <typename T, int S, int E, int B>
inline void EdgeCotangents(const T* u_bar, const T* x_of[], const T* radial, const T* harmonics,
                           const Shape& shape, T* x_bar_of[], T* radial_bar) {
  using V = Simd<T>;
  typename V::Vector scaled_bar[E][B];
  for (int e = 0; e < E; ++e)
    for (int m = 0; m < B; ++m) scaled_bar[e][m] = typename V::Vector{};
  for (int s = 0; s < S; ++s) {
    typename V::Vector bar[B];
    for (int m = 0; m < B; ++m) bar[m] = V::Load(u_bar + (s * shape.components + m) * V::W);
    for (int e = 0; e < E; ++e) {
      const T y = harmonics[e * kHarmonics + s];
      for (int m = 0; m < B; ++m) scaled_bar[e][m] += y * bar[m];
    }
  }
  const int f = shape.channels;
  for (int e = 0; e < E; ++e) {
    const auto rho = V::Load(radial + e * 3 * f);
    auto rho_bar = V::Load(radial_bar + e * 3 * f);
    for (int m = 0; m < B; ++m) {
      rho_bar += scaled_bar[e][m] * V::Load(x_of[e] + m * f);
      T* x_bar = x_bar_of[e] + m * f;
      V::Store(x_bar, V::Load(x_bar) + scaled_bar[e][m] * rho);
    }
    V::Store(radial_bar + e * 3 * f, rho_bar);
  }
}

// Cotangents of the harmonics of one edge: sum over channels, so kept apart from the rest.
template <typename T, int S>
inline void HarmonicsCotangent(const T* u_bar, const T* x, const T* radial, const Shape& shape, T* y_bar) {
  using V = Simd<T>;
  typename V::Vector sum[S];
  for (int s = 0; s < S; ++s) sum[s] = typename V::Vector{};
  for (int m = 0; m < shape.components; ++m) {
    const auto value = V::Load(x + m * shape.channels);
    for (int s = 0; s < S; ++s) sum[s] += value * V::Load(u_bar + (s * shape.components + m) * V::W);
  }
  const auto rho = V::Load(radial);
  for (int s = 0; s < S; ++s) y_bar[s] += V::Sum(sum[s] * rho);
}

template <typename T>
struct Cotangents {
  const T* sums;
  T *radial, *harmonics;  // harmonics is null where nobody wants it
};

template <typename T, int S, int E>
void CotangentsOfEdges(const T* u_bar, const T* x_of[], const T* radial, const T* harmonics, const Shape& shape,
                       T* x_bar_of[], T* radial_bar) {
  const int f = shape.channels;
  const T* x[E];
  T* x_bar[E];
  int m = 0;
  auto shift = [&] {
    for (int e = 0; e < E; ++e) x[e] = x_of[e] + m * f, x_bar[e] = x_bar_of[e] + m * f;
  };
  for (; m + 4 <= shape.components; m += 4) {
    shift();
    EdgeCotangents<T, S, E, 4>(u_bar + m * Simd<T>::W, x, radial, harmonics, shape, x_bar, radial_bar);
  }
  for (; m < shape.components; ++m) {
    shift();
    EdgeCotangents<T, S, E, 1>(u_bar + m * Simd<T>::W, x, radial, harmonics, shape, x_bar, radial_bar);
  }
}

// E edges of a node, all degrees of one channel block.
template <typename T, int E>
void CotangentsFromEdge(const Inputs<T>& in, const Shape& shape, const Cotangents<T>& bar, int64_t edge, int c,
                        const T* u_bar, T* x_bar, int64_t first_row) {
  const int f = shape.channels;
  const int64_t row = int64_t(shape.components) * f;
  const T* x_of[E];
  T* x_bar_of[E];
  for (int e = 0; e < E; ++e) {
    const int64_t sender = in.senders[edge + e];
    x_of[e] = in.features + sender * row + c;
    x_bar_of[e] = x_bar + (sender - first_row) * row + c;
  }
  const T* rho = in.radial + edge * 3 * f + c;
  T* rho_bar = bar.radial + edge * 3 * f + c;
  const T* y = in.harmonics + edge * kHarmonics;
  const int rows = shape.components * Simd<T>::W;
  CotangentsOfEdges<T, 1, E>(u_bar, x_of, rho, y, shape, x_bar_of, rho_bar);
  CotangentsOfEdges<T, 3, E>(u_bar + rows, x_of, rho + f, y + 1, shape, x_bar_of, rho_bar + f);
  CotangentsOfEdges<T, 5, E>(u_bar + 4 * rows, x_of, rho + 2 * f, y + 4, shape, x_bar_of, rho_bar + 2 * f);
  if (bar.harmonics == nullptr) return;
  for (int e = 0; e < E; ++e) {
    T* y_bar = bar.harmonics + (edge + e) * kHarmonics;
    const T* r = rho + e * 3 * f;
    HarmonicsCotangent<T, 1>(u_bar, x_of[e], r, shape, y_bar);
    HarmonicsCotangent<T, 3>(u_bar + rows, x_of[e], r + f, shape, y_bar + 1);
    HarmonicsCotangent<T, 5>(u_bar + 4 * rows, x_of[e], r + 2 * f, shape, y_bar + 4);
  }
}

template <typename T>
void CotangentsOfNode(const Inputs<T>& in, const Shape& shape, const Terms& terms, const Cotangents<T>& bar,
                      int64_t node, T* u_bar, T* x_bar, int64_t first_row) {
  using V = Simd<T>;
  const int f = shape.channels;
  for (int c = 0; c < f; c += V::W) {
    std::fill(u_bar, u_bar + kHarmonics * shape.components * V::W, T(0));
    const T* out = bar.sums + node * shape.products * f + c;
    for (size_t t = 0; t < terms.out.size(); ++t) {
      T* to = u_bar + terms.u[t] * V::W;
      V::Store(to, V::Load(to) + T(terms.coefficient[t]) * V::Load(out + terms.out[t] * f));
    }
    int64_t edge = in.first[node];
    const int64_t end = edge + in.counts[node];
    for (; edge + 4 <= end; edge += 4) CotangentsFromEdge<T, 4>(in, shape, bar, edge, c, u_bar, x_bar, first_row);
    for (; edge < end; ++edge) CotangentsFromEdge<T, 1>(in, shape, bar, edge, c, u_bar, x_bar, first_row);
  }
}

// A run of nodes with a buffer for the rows of x that it sends cotangents to. The runs and the order of their
// sum are fixed by shapes and thread count, so results do not depend on which thread is quicker.
template <typename T>
struct Part {
  int64_t begin, end, first_row = 0, end_row = 0;
  std::vector<T> x_bar;
};

template <typename T>
std::vector<Part<T>> Divide(const Inputs<T>& in, const Shape& shape, int64_t threads) {
  int64_t edges = 0;
  for (int64_t i = 0; i < shape.nodes; ++i) edges += in.counts[i];
  std::vector<Part<T>> parts;
  int64_t node = 0, seen = 0;
  for (int64_t t = 1; t <= threads; ++t) {
    Part<T> part{node, node};
    while (node < shape.nodes && (t == threads || seen < edges * t / threads)) seen += in.counts[node++];
    part.end = node;
    if (part.end > part.begin) parts.push_back(std::move(part));
  }
  return parts;
}

template <typename T>
void RunPart(const Inputs<T>& in, const Shape& shape, const Terms& terms, const Cotangents<T>& bar, Part<T>& part) {
  const int64_t row = int64_t(shape.components) * shape.channels;
  int64_t low = shape.table, high = 0;
  for (int64_t i = part.begin; i < part.end; ++i)
    for (int64_t e = in.first[i]; e < in.first[i] + in.counts[i]; ++e) {
      low = std::min<int64_t>(low, in.senders[e]);
      high = std::max<int64_t>(high, in.senders[e] + 1);
    }
  part.first_row = std::min(low, high);
  part.end_row = high;
  part.x_bar.assign((part.end_row - part.first_row) * row, T(0));
  std::vector<T> u_bar(kHarmonics * shape.components * Simd<T>::W);
  for (int64_t i = part.begin; i < part.end; ++i)
    CotangentsOfNode(in, shape, terms, bar, i, u_bar.data(), part.x_bar.data(), part.first_row);
}

// ---- XLA's side ------------------------------------------------------------------------------------------

template <ffi::DataType D>
Shape ShapeOf(ffi::Buffer<D> features, ffi::Buffer<ffi::S32> senders, int64_t nodes, int64_t products) {
  const auto x = features.dimensions(), j = senders.dimensions();
  return {x[0], nodes, j[0], int(x[1]), int(x[2]), int(products)};
}

template <ffi::DataType D, typename T>
ffi::Error Forward(ffi::ThreadPool pool, ffi::Buffer<D> features, ffi::Buffer<D> radial, ffi::Buffer<D> harmonics,
                   ffi::Buffer<ffi::S32> senders, ffi::Buffer<ffi::S32> first, ffi::Buffer<ffi::S32> counts, ffi::Span<const int32_t> out,
                   ffi::Span<const int32_t> u, ffi::Span<const double> coefficient, ffi::Result<ffi::Buffer<D>> sums) {
  const Shape shape = ShapeOf(features, senders, counts.dimensions()[0], sums->dimensions()[1]);
  if (shape.channels % Simd<T>::W) return ffi::Error::InvalidArgument("channels are no multiple of the vector");
  const Inputs<T> in{features.typed_data(), radial.typed_data(), harmonics.typed_data(), senders.typed_data(),
                     first.typed_data(), counts.typed_data()};
  const Terms terms{out, u, coefficient};
  T* result = sums->typed_data();
  constexpr int64_t kBlock = 32;
  Parallel(pool, (shape.nodes + kBlock - 1) / kBlock, [&, result](int64_t block) {
    std::vector<T> u_rows(kHarmonics * shape.components * Simd<T>::W);
    const int64_t end = std::min(shape.nodes, (block + 1) * kBlock);
    for (int64_t i = block * kBlock; i < end; ++i) SumOfNode(in, shape, terms, i, u_rows.data(), result);
  });
  return ffi::Error::Success();
}

template <ffi::DataType D, typename T>
ffi::Error Backward(ffi::ThreadPool pool, ffi::Buffer<D> features, ffi::Buffer<D> radial, ffi::Buffer<D> harmonics,
                    ffi::Buffer<ffi::S32> senders, ffi::Buffer<ffi::S32> first, ffi::Buffer<ffi::S32> counts, ffi::Buffer<D> sums_bar,
                    ffi::Span<const int32_t> out, ffi::Span<const int32_t> u, ffi::Span<const double> coefficient,
                    ffi::Result<ffi::Buffer<D>> features_bar, ffi::Result<ffi::Buffer<D>> radial_bar,
                    ffi::Result<ffi::Buffer<D>> harmonics_bar) {
  const Shape shape = ShapeOf(features, senders, counts.dimensions()[0], sums_bar.dimensions()[1]);
  if (shape.channels % Simd<T>::W) return ffi::Error::InvalidArgument("channels are no multiple of the vector");
  const Inputs<T> in{features.typed_data(), radial.typed_data(), harmonics.typed_data(), senders.typed_data(),
                     first.typed_data(), counts.typed_data()};
  const Terms terms{out, u, coefficient};
  const Cotangents<T> bar{sums_bar.typed_data(), radial_bar->typed_data(),
                          harmonics_bar->element_count() ? harmonics_bar->typed_data() : nullptr};
  // Edges of no node, padding, are written by nobody else.
  std::fill(bar.radial, bar.radial + shape.edges * 3 * shape.channels, T(0));
  if (bar.harmonics) std::fill(bar.harmonics, bar.harmonics + shape.edges * kHarmonics, T(0));
  auto parts = Divide<T>(in, shape, std::max<int64_t>(1, pool.num_threads()));
  Parallel(pool, parts.size(), [&](int64_t p) { RunPart(in, shape, terms, bar, parts[p]); });

  T* result = features_bar->typed_data();
  const int64_t row = int64_t(shape.components) * shape.channels;
  constexpr int64_t kBlock = 256;
  Parallel(pool, (shape.table + kBlock - 1) / kBlock, [&](int64_t block) {
    const int64_t begin = block * kBlock, end = std::min(shape.table, begin + kBlock);
    std::fill(result + begin * row, result + end * row, T(0));
    for (const auto& part : parts) {
      const int64_t low = std::max(begin, part.first_row), high = std::min(end, part.end_row);
      const T* from = part.x_bar.data() - part.first_row * row;
      for (int64_t e = low * row; e < high * row; ++e) result[e] += from[e];
    }
  });
  return ffi::Error::Success();
}

}  // namespace

#define EQUIVAR_FORWARD(NAME, DTYPE, TYPE)                                                                   \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(NAME, (Forward<ffi::DTYPE, TYPE>),                                           \
                                ffi::Ffi::Bind()                                                             \
                                    .Ctx<ffi::ThreadPool>()                                                  \
                                    .Arg<ffi::Buffer<ffi::DTYPE>>()                                          \
                                    .Arg<ffi::Buffer<ffi::DTYPE>>()                                          \
                                    .Arg<ffi::Buffer<ffi::DTYPE>>()                                          \
                                    .Arg<ffi::Buffer<ffi::S32>>()                                            \
                                    .Arg<ffi::Buffer<ffi::S32>>()                                            \
                                    .Arg<ffi::Buffer<ffi::S32>>()                                            \
                                    .Attr<ffi::Span<const int32_t>>("out")                                   \
                                    .Attr<ffi::Span<const int32_t>>("u")                                     \
                                    .Attr<ffi::Span<const double>>("coefficient")                            \
                                    .Ret<ffi::Buffer<ffi::DTYPE>>())
#define EQUIVAR_BACKWARD(NAME, DTYPE, TYPE)                                                                  \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(NAME, (Backward<ffi::DTYPE, TYPE>),                                          \
                                ffi::Ffi::Bind()                                                             \
                                    .Ctx<ffi::ThreadPool>()                                                  \
                                    .Arg<ffi::Buffer<ffi::DTYPE>>()                                          \
                                    .Arg<ffi::Buffer<ffi::DTYPE>>()                                          \
                                    .Arg<ffi::Buffer<ffi::DTYPE>>()                                          \
                                    .Arg<ffi::Buffer<ffi::S32>>()                                            \
                                    .Arg<ffi::Buffer<ffi::S32>>()                                            \
                                    .Arg<ffi::Buffer<ffi::S32>>()                                            \
                                    .Arg<ffi::Buffer<ffi::DTYPE>>()                                          \
                                    .Attr<ffi::Span<const int32_t>>("out")                                   \
                                    .Attr<ffi::Span<const int32_t>>("u")                                     \
                                    .Attr<ffi::Span<const double>>("coefficient")                            \
                                    .Ret<ffi::Buffer<ffi::DTYPE>>()                                          \
                                    .Ret<ffi::Buffer<ffi::DTYPE>>()                                          \
                                    .Ret<ffi::Buffer<ffi::DTYPE>>())

EQUIVAR_FORWARD(equivar_forward_f32, F32, float);
EQUIVAR_FORWARD(equivar_forward_f64, F64, double);
EQUIVAR_BACKWARD(equivar_backward_f32, F32, float);
EQUIVAR_BACKWARD(equivar_backward_f64, F64, double);
