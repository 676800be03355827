// The sums over neighbours backwards: derivatives by the vectors of edges, and cotangents of the features of senders.
//
// With sums_bar of node i contracted with the Clebsch-Gordan coefficients to ubar[s, m] for every harmonic s and
// component m, the derivatives of one direction of a polarisation are, for an edge e of i,
//     G[s]     = sum_m x[s_e][m] ubar[s, m],        by harmonics:  sum_c rho_l[e, c] G[s, c],
//                                                   by the length: sum_c sum_s Y[e, s] rho'_l[e, c] G[s, c],
//     x_bar[m] = sum_s Y[e, s] rho_l[e] ubar[s, m], of the sender.
// The former need no more than the node and its neighbours, so that nodes are divided among threads. The latter are
// added up over all nodes, in the order of the edges, by a task for each block of channels, and each direction if there
// are more threads.

#ifndef EQUIVAR_EDGE_DERIVATIVES_H_
#define EQUIVAR_EDGE_DERIVATIVES_H_

#include <algorithm>
#include <cstdint>

#include "edges.h"
#include "layer.h"
#include "layer_backwards.h"
#include "neighbour_sum.h"
#include "simd.h"

namespace equivar {

constexpr int kEdgesTogether = 4;  // as many as registers hold sums of
constexpr int64_t kEdgesInCache = 16;  // as many as the first cache holds all sums of
constexpr int kDegreeOf[kHarmonics] = {0, 1, 1, 1, 2, 2, 2, 2, 2};

// ---- By the vectors of edges -----------------------------------------------------------------------------

// Computes rho' of `count` edges into work.slopes, [edges, 3, f], from the slopes of the basis and rho.
template <typename T>
void RadialSlopes(const MessageWeights<T>& weights, int f, int functions, const T* basis_slopes, const T* radial,
                  int64_t count, BackWorkspace<T>& work) {
  using V = Simd<T>;
  const int64_t width = 3 * f;
  work.slopes.resize(count * width);
  RowsTimesMatrix(basis_slopes, functions, weights.edge_weight, width, count, work.slopes.data(), work.edges);
  for (int64_t e = 0; e < count; ++e)
    for (int c = 0; c < f; c += V::W) {
      // The derivative of softplus s is 1 - exp(-s).
      const auto softplus = V::Load(radial + e * width + c) / weights.softplus_scale + T(0.693147180559945309417);
      T* slope = work.slopes.data() + e * width + c;
      V::Store(slope, V::Load(slope) * (T(1) - Exponential(-softplus)) * weights.softplus_scale);
    }
}

// Computes ubar of D directions, one block of channels, [harmonics, components, directions, W], from sums_bars, [D,
// products, W]. Rows without coefficients are left as they are.
template <typename T, int D>
void ContractBackwards(const LayerBack<T>& back, const T* sums_bars, int products, T* u_bars) {
  using V = Simd<T>;
  for (int k = 0, t = 0; k < back.u_rows; ++k) {
    typename V::Vector sum[D] = {};
    for (; t < back.u_end[k]; ++t)
      for (int a = 0; a < D; ++a)
        sum[a] += V::Load(sums_bars + (a * products + back.out[t]) * V::W) * back.coefficient[t];
    for (int a = 0; a < D; ++a) V::Store(u_bars + (back.u[k] * D + a) * V::W, sum[a]);
  }
}

// Rows of one edge.
template <typename T>
struct EdgeOperands {
  const T *x, *radial, *slope, *harmonics;
};

// Adds to the sums over channels of E edges, [edges, harmonics + 1, directions, W]: what belongs to each harmonic, and
// then to the length.
template <typename T, int E>
void SumsOfEdges(const EdgeOperands<T> (&edges)[E], const T* u_bars, int components, int f, T* sums) {
  using V = Simd<T>;
  constexpr int D = kDirections, kRow = (kHarmonics + 1) * D * V::W;
  typename V::Vector g[E][kHarmonics * D];
  for (int s = 0; s < kHarmonics; ++s) {
    typename V::Vector sum[E * D];
    Repeat<E * D>([&](auto k) EQUIVAR_INLINE { sum[k] = typename V::Vector{}; });
    const T* bar = u_bars + s * components * D * V::W;
    for (int m = 0; m < components; ++m, bar += D * V::W) {
      typename V::Vector u[D];
      Repeat<D>([&](auto a) EQUIVAR_INLINE { u[a] = V::Load(bar + a * V::W); });
      Repeat<E>([&](auto e) EQUIVAR_INLINE {
        const auto x = V::Load(edges[e].x + m * f);
        Repeat<D>([&](auto a) EQUIVAR_INLINE { sum[e * D + a] += x * u[a]; });
      });
    }
    Repeat<E * D>([&](auto k) EQUIVAR_INLINE { g[k / D][s * D + k % D] = sum[k]; });
  }
  for (int e = 0; e < E; ++e, sums += kRow) {
    typename V::Vector rho[3], slope[3], by_length[D];
    Repeat<3>([&](auto l) EQUIVAR_INLINE { rho[l] = V::Load(edges[e].radial + l * f); });
    Repeat<3>([&](auto l) EQUIVAR_INLINE { slope[l] = V::Load(edges[e].slope + l * f); });
    T* last = sums + kHarmonics * D * V::W;
    Repeat<D>([&](auto a) EQUIVAR_INLINE { by_length[a] = V::Load(last + a * V::W); });
    Repeat<kHarmonics>([&](auto s) EQUIVAR_INLINE {
      constexpr int degree = kDegreeOf[s];
      const auto along = slope[degree] * edges[e].harmonics[s];
      Repeat<D>([&](auto a) EQUIVAR_INLINE {
        T* to = sums + (s * D + a) * V::W;
        V::Store(to, V::Load(to) + rho[degree] * g[e][s * D + a]);
        by_length[a] += along * g[e][s * D + a];
      });
    });
    Repeat<D>([&](auto a) EQUIVAR_INLINE { V::Store(last + a * V::W, by_length[a]); });
  }
}

// Computes the derivatives by the vector of an edge, [directions, 3], from those by harmonics and length. The
// harmonics are Y(u) times the envelope, for the unit vector u along the edge.
template <typename T>
void ByVector(const double* vector, T envelope, T envelope_slope, const T (&bars)[kHarmonics + 1][kDirections],
              T* derivatives) {
  const T root3 = T(1.7320508075688772), root5 = T(2.2360679774997897), root15 = T(3.8729833462074170);
  T u[3] = {T(vector[0]), T(vector[1]), T(vector[2])}, y[kHarmonics];
  const T length = std::sqrt(u[0] * u[0] + u[1] * u[1] + u[2] * u[2]), inverse = length > 0 ? 1 / length : T(1);
  for (T& component : u) component *= inverse;
  Harmonics(u[0], u[1], u[2], y);
  for (int a = 0; a < kDirections; ++a) {
    T b[kHarmonics], along = 0;
    for (int s = 0; s < kHarmonics; ++s) b[s] = bars[s][a];
    for (int s = 0; s < kHarmonics; ++s) along += b[s] * y[s];
    const T by_unit[3] = {root3 * b[1] + root15 * (u[2] * b[4] + u[1] * b[5] - u[0] * b[8]) - root5 * u[0] * b[6],
                          root3 * b[2] + root15 * (u[0] * b[5] + u[2] * b[7]) + 2 * root5 * u[1] * b[6],
                          root3 * b[3] + root15 * (u[0] * b[4] + u[1] * b[7] + u[2] * b[8]) - root5 * u[2] * b[6]};
    const T radial = by_unit[0] * u[0] + by_unit[1] * u[1] + by_unit[2] * u[2], share = envelope * inverse;
    const T rest = bars[kHarmonics][a] + envelope_slope * along - share * radial;
    for (int k = 0; k < 3; ++k) derivatives[a * 3 + k] = rest * u[k] + share * by_unit[k];
  }
}

// What the edges of one node are made of.
template <typename T>
struct NodeEdges {
  const double* vectors;
  const int32_t* senders;
  int64_t count;
  EdgeRows<T> rows;
  const T *radial, *slopes;  // rho and rho'
};

// Computes the derivatives by the vectors of the edges of one node, [edges, directions, 3], from sums_bars(c), those of
// the node for the block of channels from c on, [directions, products, W]. The task serves no other layer.
template <typename T, typename SumsBars>
void DerivativesOfEdges(const Layer<T>& layer, const LayerBack<T>& back, const NodeEdges<T>& edges, const T* features,
                        const SumsBars& sums_bars, T* derivatives, BackWorkspace<T>& work) {
  using V = Simd<T>;
  const int f = layer.shape.channels, components = layer.shape.components;
  const int64_t u_size = int64_t(kHarmonics) * components * kDirections * V::W;
  work.u_bars.resize(f / V::W * u_size);  // rows that nothing is written to are zero
  for (int c = 0; c < f; c += V::W)
    ContractBackwards<T, kDirections>(back, sums_bars(c), layer.shape.products, work.u_bars.data() + c / V::W * u_size);
  const auto operands = [&](int64_t e, int c) {
    return EdgeOperands<T>{features + int64_t(edges.senders[e]) * components * f + c, edges.radial + e * 3 * f + c,
                           edges.slopes + e * 3 * f + c, edges.rows.harmonics + e * kHarmonics};
  };
  constexpr int kRow = (kHarmonics + 1) * kDirections * V::W;
  for (int64_t begin = 0; begin < edges.count; begin += kEdgesInCache) {
    const int64_t end = std::min(edges.count, begin + kEdgesInCache);
    work.sums_of_edges.assign((end - begin) * kRow, T(0));
    for (int c = 0; c < f; c += V::W) {
      const T* u_bars = work.u_bars.data() + c / V::W * u_size;
      T* sums = work.sums_of_edges.data();
      int64_t e = begin;
      for (; e + kEdgesTogether <= end; e += kEdgesTogether, sums += kEdgesTogether * kRow) {
        EdgeOperands<T> together[kEdgesTogether];
        for (int k = 0; k < kEdgesTogether; ++k) together[k] = operands(e + k, c);
        SumsOfEdges(together, u_bars, components, f, sums);
      }
      for (; e < end; ++e, sums += kRow) {
        const EdgeOperands<T> alone[1] = {operands(e, c)};
        SumsOfEdges(alone, u_bars, components, f, sums);
      }
    }
    for (int64_t e = begin; e < end; ++e) {
      T bars[kHarmonics + 1][kDirections];
      const T* sums = work.sums_of_edges.data() + (e - begin) * kRow;
      for (int k = 0; k < (kHarmonics + 1) * kDirections; ++k)
        bars[k / kDirections][k % kDirections] = V::Sum(V::Load(sums + k * V::W));
      ByVector(edges.vectors + 3 * e, edges.rows.harmonics[e * kHarmonics], edges.rows.envelope_slopes[e], bars,
               derivatives + e * kDirections * 3);
    }
  }
}

// ---- Of the features of senders --------------------------------------------------------------------------

// Computes B components of x_bar of E edges for one direction, and adds them to the rows of their senders.
template <typename T, int E, int B>
inline void AddToSenders(const typename Simd<T>::Vector (&weights)[E][kHarmonics], const T* u_bars, int stride, int m,
                         int step, T* const (&rows)[E]) {
  using V = Simd<T>;
  typename V::Vector sum[E * B];
  Repeat<E * B>([&](auto k) EQUIVAR_INLINE { sum[k] = typename V::Vector{}; });
  for (int s = 0; s < kHarmonics; ++s) {
    typename V::Vector u[B];
    Repeat<B>([&](auto k) EQUIVAR_INLINE { u[k] = V::Load(u_bars + s * stride + (m + k) * step); });
    Repeat<E>([&](auto e) EQUIVAR_INLINE {
      const auto weight = weights[e][s];
      Repeat<B>([&](auto k) EQUIVAR_INLINE { sum[e * B + k] += weight * u[k]; });
    });
  }
  Repeat<E>([&](auto e) EQUIVAR_INLINE {  // edges may share their sender
    Repeat<B>([&](auto k) EQUIVAR_INLINE {
      T* to = rows[e] + (m + k) * V::W;
      V::Store(to, V::Load(to) + sum[e * B + k]);
    });
  });
}

// Does so for all components of D directions, whose tables, [nodes, components, W], begin at bars[0] ... bars[D - 1].
template <typename T, int D, int E>
void CotangentsOfSenders(const T* radial, const T* harmonics, const int32_t* senders, const T* u_bars, int components,
                         int f, T* const (&bars)[D]) {
  using V = Simd<T>;
  typename V::Vector weights[E][kHarmonics];
  for (int e = 0; e < E; ++e)
    for (int s = 0; s < kHarmonics; ++s)
      weights[e][s] = V::Load(radial + (e * 3 + kDegreeOf[s]) * int64_t(f)) * harmonics[e * kHarmonics + s];
  const int step = D * V::W, stride = components * step;
  for (int a = 0; a < D; ++a, u_bars += V::W) {
    T* rows[E];
    for (int e = 0; e < E; ++e) rows[e] = bars[a] + int64_t(senders[e]) * components * V::W;
    int m = 0;
    for (; m + 3 <= components; m += 3) AddToSenders<T, E, 3>(weights, u_bars, stride, m, step, rows);
    for (; m < components; ++m) AddToSenders<T, E, 1>(weights, u_bars, stride, m, step, rows);
  }
}

// Adds to the tables of D directions the cotangents of the senders of one node's edges. radial is at
// the first channel of the block that sums_bars is of, [D, products, W].
template <typename T, int D>
void SendersOfNode(const Layer<T>& layer, const LayerBack<T>& back, const T* radial, const T* harmonics,
                   const int32_t* senders, int64_t count, const T* sums_bars, T* u_bars, T* const (&bars)[D]) {
  const int f = layer.shape.channels, components = layer.shape.components;
  ContractBackwards<T, D>(back, sums_bars, layer.shape.products, u_bars);
  int64_t e = 0;
  for (; e + kEdgesTogether <= count; e += kEdgesTogether)
    CotangentsOfSenders<T, D, kEdgesTogether>(radial + e * 3 * f, harmonics + e * kHarmonics, senders + e, u_bars,
                                              components, f, bars);
  for (; e < count; ++e)
    CotangentsOfSenders<T, D, 1>(radial + e * 3 * f, harmonics + e * kHarmonics, senders + e, u_bars, components, f, bars);
}

}  // namespace equivar

#endif  // EQUIVAR_EDGE_DERIVATIVES_H_
