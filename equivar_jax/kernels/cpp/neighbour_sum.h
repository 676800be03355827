// The neighbour sum on a CPU; its derivatives are in neighbour_form.h.

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

// Contracts U of one node and block of channels with the Clebsch-Gordan coefficients.
template <typename T>
inline void Contract(const Terms<T>& terms, const T* u, int f, T* sums) {
  using V = Simd<T>;
  size_t t = 0;
  for (size_t row = 0; row < terms.ends.size(); ++row) {
    typename V::Vector sum = {};
    for (const size_t end = terms.ends[row]; t < end; ++t)
      sum += terms.coefficient[t] * V::Load(u + terms.u[t] * V::W);
    V::Store(sums + row * f, sum);
  }
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
    Contract(terms, u, f, sums + c);
  }
}

}  // namespace equivar

#endif  // EQUIVAR_NEIGHBOUR_SUM_H_
