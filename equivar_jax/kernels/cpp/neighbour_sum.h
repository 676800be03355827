// The neighbour sum on a CPU, and its derivative: see equivar_jax/kernels/native.py.

#ifndef EQUIVAR_NEIGHBOUR_SUM_H_
#define EQUIVAR_NEIGHBOUR_SUM_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "simd.h"

namespace equivar {

// For node i, degree l and every block of W channels, the edge products
//     U_l[s, m, c] = sum_e Y[e, l s] rho_l[e, c] x[sender_e, m, c]
// stay in registers over the whole sum. The Clebsch-Gordan coefficients that are not zero, a list of (out, u,
// coefficient), then act once for each node. Nothing of the size edges x components is ever stored. A name that
// ends in _bar is the cotangent of what the name without it stands for.
//
// Shapes: features [N, C, f]; radial [E, 3, f]; harmonics [E, 9]; senders [E]; node i has the edges first[i] to
// first[i] + counts[i] - 1, first and counts being [M]; sums [M, P, f].

constexpr int kHarmonics = 9;

// The Clebsch-Gordan coefficients: row `out` of the sums is the sum of `coefficient` times row `u` of U.
template <typename T>
struct Terms {
  const int32_t *out, *u;
  std::vector<T> coefficient;
  std::vector<size_t> ends;  // of the terms of each row; they are sorted by row, and every row has some

  Terms() = default;
  Terms(const int32_t* out, const int32_t* u, const double* coefficient, size_t count)
      : out(out), u(u), coefficient(coefficient, coefficient + count) {
    for (size_t t = 1; t <= count; ++t)
      if (t == count || out[t] != out[t - 1]) ends.push_back(t);
  }
};

struct Shape {
  int64_t table, nodes, edges;          // N, M, E
  int components, channels, products;  // C, f, P
};

// Features, and the edges of every node.
template <typename T>
struct Neighbours {
  const T* features;
  const int32_t *senders, *first, *counts;
};

template <typename T>
struct Inputs : Neighbours<T> {
  const T *radial, *harmonics;
};

// ---- Forward ---------------------------------------------------------------------------------------------

// Computes U of S harmonics and B components, for one block of channels of one node.
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

// Does the same for all components.
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

// Computes the sums of one node, whose edges have the radial part, harmonics and senders given.
template <typename T>
void SumOfNode(const T* features, const T* radial, const T* harmonics, const int32_t* senders, int count,
               const Shape& shape, const Terms<T>& terms, T* u, T* sums) {
  using V = Simd<T>;
  const int f = shape.channels;
  const int degree_rows = shape.components * V::W;
  for (int c = 0; c < f; c += V::W) {
    const T *x = features + c, *rho = radial + c;
    OuterProductsOfDegree<T, 1>(x, rho, harmonics, senders, count, shape, u);
    OuterProductsOfDegree<T, 3>(x, rho + f, harmonics + 1, senders, count, shape, u + degree_rows);
    OuterProductsOfDegree<T, 5>(x, rho + 2 * f, harmonics + 4, senders, count, shape, u + 4 * degree_rows);
    size_t t = 0;
    for (size_t row = 0; row < terms.ends.size(); ++row) {
      typename V::Vector sum = {};
      for (const size_t end = terms.ends[row]; t < end; ++t)
        sum += terms.coefficient[t] * V::Load(u + terms.u[t] * V::W);
      V::Store(sums + row * f + c, sum);
    }
  }
}

// ---- Backward --------------------------------------------------------------------------------------------

// Adds the cotangents that E edges and B components get from that of U, for one degree and block of channels.
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

// Adds the cotangents of the harmonics of one edge. They are sums over channels, unlike the others.
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
  T *radial, *harmonics;  // harmonics is null if nobody wants that cotangent
};

// Does what EdgeCotangents does for all components.
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

// Adds the cotangents of E edges of a node, for all degrees of one block of channels.
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

// Adds the cotangents of all edges of one node.
template <typename T>
void CotangentsOfNode(const Inputs<T>& in, const Shape& shape, const Terms<T>& terms, const Cotangents<T>& bar,
                      int64_t node, T* u_bar, T* x_bar, int64_t first_row) {
  using V = Simd<T>;
  const int f = shape.channels;
  for (int c = 0; c < f; c += V::W) {
    std::fill(u_bar, u_bar + kHarmonics * shape.components * V::W, T(0));
    const T* out = bar.sums + node * shape.products * f + c;
    for (size_t t = 0; t < terms.coefficient.size(); ++t) {
      T* to = u_bar + terms.u[t] * V::W;
      V::Store(to, V::Load(to) + terms.coefficient[t] * V::Load(out + terms.out[t] * f));
    }
    int64_t edge = in.first[node];
    const int64_t end = edge + in.counts[node];
    for (; edge + 4 <= end; edge += 4) CotangentsFromEdge<T, 4>(in, shape, bar, edge, c, u_bar, x_bar, first_row);
    for (; edge < end; ++edge) CotangentsFromEdge<T, 1>(in, shape, bar, edge, c, u_bar, x_bar, first_row);
  }
}

// A run of nodes with a buffer for the cotangents of the rows of x that it reads. The runs and the order in which
// their buffers are summed depend on shapes and thread count alone, not on which thread is quicker.
template <typename T>
struct Part {
  int64_t begin, end, first_row = 0, end_row = 0;
  std::vector<T> x_bar;
};

// Divides the nodes into at most `threads` runs with about equal numbers of edges.
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

// Computes the cotangents of one run of nodes.
template <typename T>
void RunPart(const Inputs<T>& in, const Shape& shape, const Terms<T>& terms, const Cotangents<T>& bar, Part<T>& part) {
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

}  // namespace equivar

#endif  // EQUIVAR_NEIGHBOUR_SUM_H_
