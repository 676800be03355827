// The form of the neighbours and all its derivatives: see equivar_jax/kernels/neighbour_form.py. There is
//
//     F(x, rho, z, Y, a) = sum_i sum_(e of i) sum_p
//         C^p[m1, m2, m] x[s_e][m1, c] rho_l(p)[e, c] z[e] Y[e, l(p) m2] a[i][p m, c]
//
// with a scale z of each edge, which may be one. An operand belongs to one of the five slots. An output is the
// derivative of F by one slot, summed over a list of terms, each of which names the operands in the other slots. One
// pass over the edges computes all outputs: for node i, degree l and every block of W channels
//     U_l[s, m]  = sum_e Y[e, l s] sum_terms z[e] rho_l[e] x[s_e][m]  (its contraction with C is an output in slot a),
//     ubar_l[s, m]                                                    (C contracted with an operand in slot a),
//     V_l[e, m]  = sum_s Y[e, l s] ubar_l[s, m]                       (times z rho it goes to slot x, and so on),
// and the output in slot Y is sum_c sum_m z[e] rho_l[e] x[s_e][m] ubar_l[s, m]. All but the ends stays in registers
// or in the first cache.

#ifndef EQUIVAR_NEIGHBOUR_FORM_H_
#define EQUIVAR_NEIGHBOUR_FORM_H_

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "neighbour_sum.h"
#include "simd.h"

namespace equivar {

enum Slot { kFeatures, kRadial, kScale, kHarmonic, kSums, kSlots };

constexpr int kOne = -2;  // stands for a scale that is one, and for what a term has not

using Pair = std::pair<int, int>;

// Features, radial part and scale.
struct Scaled {
  int x, r, z;
};

// What shares its harmonics.
struct ScaledOfHarmonics {
  int y;
  std::vector<Scaled> scaled;
};

// Where V goes: to output `out` of a slot, with the operands of the other two of x, rho and z.
struct Use {
  int slot, out;
  Scaled with;
  bool operator<(const Use& b) const {
    return std::tie(slot, out, with.x, with.r, with.z) < std::tie(b.slot, b.out, b.with.x, b.with.r, b.with.z);
  }
};

// V of several pairs (harmonics, ubar) that go to the same places.
struct EdgeProduct {
  std::vector<Pair> y_a;
  std::vector<Use> uses;
};

// What is contracted with one ubar.
struct ScaledOfSums {
  int a;
  std::vector<Scaled> scaled;
};

// What to compute, one entry of the outer vectors for each output in slot a and Y.
struct Work {
  std::vector<std::vector<ScaledOfHarmonics>> sums;
  std::vector<EdgeProduct> products;
  std::vector<std::vector<ScaledOfSums>> harmonics;
  std::vector<int> a;  // operands in slot a that are read
};

template <typename T>
struct Arrays {
  std::vector<const T*> in[kSlots];
  std::vector<T*> out[kSlots];
};

// ---- Sums ------------------------------------------------------------------------------------------------

constexpr int kFirstHarmonic[] = {0, 1, 4};  // of each degree

// Sizes of the blocks that stay in registers.
constexpr int kMostEdges = 2, kComponentsAtOnce = 4, kHarmonicEdges = 4;

// Operands of one term, at the first edge of a node.
template <typename T>
struct ScaledRows {
  const T *x, *rho, *z;
  const T* y;  // null if the harmonics are those of the next entry, too
};

template <typename T, int S, int B>
inline void OuterProductsOfScaled(const std::vector<ScaledRows<T>>& rows, const int32_t* senders, int count,
                                  const Shape& shape, int degree, int m0, T* u) {
  using V = Simd<T>;
  typename V::Vector sum[S][B];
  for (int s = 0; s < S; ++s)
    for (int m = 0; m < B; ++m) sum[s][m] = typename V::Vector{};
  const int f = shape.channels;
  const int64_t row = int64_t(shape.components) * f;
  const int first = kFirstHarmonic[degree];
  const ScaledRows<T>*begin = rows.data(), *end = begin + rows.size();
  for (int k = 0; k < count; ++k) {
    const int64_t x_at = senders[k] * row + m0 * f, r_at = (k * 3 + degree) * int64_t(f);
    typename V::Vector scaled[B] = {};
    for (const ScaledRows<T>* at = begin; at != end; ++at) {
      const T* x = at->x + x_at;
      auto rho = V::Load(at->rho + r_at);
      if (at->z) rho *= at->z[k];
      for (int m = 0; m < B; ++m) scaled[m] += V::Load(x + m * f) * rho;
      if (!at->y) continue;
      const T* y = at->y + k * kHarmonics + first;
      for (int s = 0; s < S; ++s)
        for (int m = 0; m < B; ++m) sum[s][m] += y[s] * scaled[m];
      for (int m = 0; m < B; ++m) scaled[m] = typename V::Vector{};
    }
  }
  for (int s = 0; s < S; ++s)
    for (int m = 0; m < B; ++m) V::Store(u + ((first + s) * shape.components + m0 + m) * V::W, sum[s][m]);
}

template <typename T, int S>
void OuterProductsOfRows(const std::vector<ScaledRows<T>>& rows, const int32_t* senders, int count, const Shape& shape,
                         int degree, T* u) {
  int m = 0;
  for (; m + 4 <= shape.components; m += 4)
    OuterProductsOfScaled<T, S, 4>(rows, senders, count, shape, degree, m, u);
  for (; m < shape.components; ++m) OuterProductsOfScaled<T, S, 1>(rows, senders, count, shape, degree, m, u);
}

// Computes one output in slot a for one node and block of channels.
template <typename T>
void SumsOfNode(const std::vector<ScaledOfHarmonics>& groups, const Arrays<T>& arrays, const int32_t* senders,
                int64_t edge, int count, const Shape& shape, const Terms<T>& terms, int c, T* u, T* sums) {
  if (groups.size() == 1 && groups[0].scaled.size() == 1 && groups[0].scaled[0].z < 0) {  // the form itself
    const int f = shape.channels, rows = shape.components * Simd<T>::W;
    const T* x = arrays.in[kFeatures][groups[0].scaled[0].x] + c;
    const T* rho = arrays.in[kRadial][groups[0].scaled[0].r] + edge * 3 * f + c;
    const T* y = arrays.in[kHarmonic][groups[0].y] + edge * kHarmonics;
    OuterProductsOfDegree<T, 1>(x, rho, y, senders + edge, count, shape, u);
    OuterProductsOfDegree<T, 3>(x, rho + f, y + 1, senders + edge, count, shape, u + rows);
    OuterProductsOfDegree<T, 5>(x, rho + 2 * f, y + 4, senders + edge, count, shape, u + 4 * rows);
  } else {
    std::vector<ScaledRows<T>> rows;
    for (const auto& group : groups)
      for (const Scaled& part : group.scaled)
        rows.push_back({arrays.in[kFeatures][part.x] + c, arrays.in[kRadial][part.r] + edge * 3 * shape.channels + c,
                        part.z >= 0 ? arrays.in[kScale][part.z] + edge : nullptr,
                        &part == &group.scaled.back() ? arrays.in[kHarmonic][group.y] + edge * kHarmonics : nullptr});
    OuterProductsOfRows<T, 1>(rows, senders + edge, count, shape, 0, u);
    OuterProductsOfRows<T, 3>(rows, senders + edge, count, shape, 1, u);
    OuterProductsOfRows<T, 5>(rows, senders + edge, count, shape, 2, u);
  }
  Contract(terms, u, shape.channels, sums + c);
}

// ---- Features, radial part and scale ---------------------------------------------------------------------

// Where V goes, with pointers to the first rows of the arrays; those that there are not are null.
template <typename T>
struct Target {
  const T *x, *rho, *z;
  T* out;  // in the slot of the scale: sums over channels come later
};

// An EdgeProduct with pointers in the place of numbers.
template <typename T>
struct ProductRows {
  std::vector<std::pair<const T*, const T*>> y_ubar;
  std::vector<Target<T>> features, scales, radials;
};

template <typename T>
std::vector<ProductRows<T>> RowsOfProducts(const Work& work, const Arrays<T>& arrays, const std::vector<T*>& x_bars,
                                           const std::vector<const T*>& ubars, T* scale_sums) {
  const auto pointer = [&](int slot, int k) { return k < 0 ? nullptr : arrays.in[slot][k]; };
  std::vector<ProductRows<T>> found;
  for (const auto& product : work.products) {
    ProductRows<T> rows;
    for (const Pair& pair : product.y_a) rows.y_ubar.push_back({arrays.in[kHarmonic][pair.first], ubars[pair.second]});
    for (const Use& use : product.uses) {
      Target<T> target{pointer(kFeatures, use.with.x), pointer(kRadial, use.with.r), pointer(kScale, use.with.z), nullptr};
      if (use.slot == kFeatures) {
        target.out = x_bars[use.out];
        rows.features.push_back(target);
      } else if (use.slot == kScale) {
        target.out = scale_sums + use.out * kMostEdges * Simd<T>::W;
        rows.scales.push_back(target);
      } else {
        target.out = arrays.out[kRadial][use.out];
        rows.radials.push_back(target);
      }
    }
    found.push_back(std::move(rows));
  }
  return found;
}

// Where the rows of some edges lie.
template <int E>
struct EdgeRowsOf {
  int64_t x[E], x_bar[E];  // of the features, and of their buffer
  int64_t edge;
};

// Adds V of one degree to where it goes. What goes to the first target in slot x, and in slot z, is collected in
// x_sum and z_sum.
template <typename T, int S, int E, int B>
inline EQUIVAR_INLINE void EdgeProductsOfDegree(const ProductRows<T>& rows, const EdgeRowsOf<E>& at, const Shape& shape,
                                                int degree, int c, int m0, typename Simd<T>::Vector (&x_sum)[E * B],
                                                typename Simd<T>::Vector (&z_sum)[E]) {
  using V = Simd<T>;
  const int first_harmonic = kFirstHarmonic[degree], f = shape.channels;
  const int64_t y_at = at.edge * kHarmonics + first_harmonic, r_at = at.edge * 3 * f + degree * f + c;
  typename V::Vector v[E * B];
  Repeat<E * B>([&](auto k) EQUIVAR_INLINE { v[k] = typename V::Vector{}; });
  for (const auto& pair : rows.y_ubar) {
    const T *y = pair.first + y_at, *ubar = pair.second + (first_harmonic * shape.components + m0) * V::W;
    for (int s = 0; s < S; ++s) {
      typename V::Vector bar[B];
      Repeat<B>([&](auto m) EQUIVAR_INLINE { bar[m] = V::Load(ubar + (s * shape.components + m) * V::W); });
      Repeat<E>([&](auto e) EQUIVAR_INLINE {
        const T factor = y[e * kHarmonics + s];
        Repeat<B>([&](auto m) EQUIVAR_INLINE { v[e * B + m] += factor * bar[m]; });
      });
    }
  }
  if (!rows.features.empty()) {
    const T* rho = rows.features[0].rho + r_at;
    Repeat<E>([&](auto e) EQUIVAR_INLINE {
      const auto factor = V::Load(rho + e * 3 * f);
      Repeat<B>([&](auto m) EQUIVAR_INLINE { x_sum[e * B + m] += v[e * B + m] * factor; });
    });
  }
  const auto contract = [&](const T* x, typename V::Vector(&sum)[E]) EQUIVAR_INLINE {
    Repeat<E>([&](auto e) EQUIVAR_INLINE {
      const T* from = x + at.x[e] + m0 * f + c;
      sum[e] = v[e * B] * V::Load(from);
      Repeat<B - 1>([&](auto m) EQUIVAR_INLINE { sum[e] += v[e * B + m + 1] * V::Load(from + (m + 1) * f); });
    });
  };
  typename V::Vector sum[E];
  for (size_t k = 0; k < rows.scales.size(); ++k) {
    contract(rows.scales[k].x, sum);
    const T* rho = rows.scales[k].rho + r_at;
    if (k == 0) {
      Repeat<E>([&](auto e) EQUIVAR_INLINE { z_sum[e] += sum[e] * V::Load(rho + e * 3 * f); });
    } else {
      T* to = rows.scales[k].out;
      Repeat<E>([&](auto e) EQUIVAR_INLINE {
        V::Store(to + e * V::W, V::Load(to + e * V::W) + sum[e] * V::Load(rho + e * 3 * f));
      });
    }
  }
  for (const auto& target : rows.radials) {
    contract(target.x, sum);
    T* to = target.out + r_at;
    Repeat<E>([&](auto e) EQUIVAR_INLINE {
      if (target.z) sum[e] *= target.z[at.edge + e];
      V::Store(to + e * 3 * f, V::Load(to + e * 3 * f) + sum[e]);
    });
  }
  for (size_t k = 1; k < rows.features.size(); ++k) {
    const auto& target = rows.features[k];
    Repeat<E>([&](auto e) EQUIVAR_INLINE {
      auto factor = V::Load(target.rho + r_at + e * 3 * f);
      if (target.z) factor *= target.z[at.edge + e];
      Repeat<B>([&](auto m) EQUIVAR_INLINE {
        T* to = target.out + at.x_bar[e] + (m0 + m) * f + c;
        V::Store(to, V::Load(to) + v[e * B + m] * factor);
      });
    });
  }
}

// Does so for all degrees of B components.
template <typename T, int E, int B>
inline void EdgeProducts(const ProductRows<T>& rows, const EdgeRowsOf<E>& at, const Shape& shape, int c, int m0) {
  using V = Simd<T>;
  typename V::Vector x_sum[E * B], z_sum[E];
  Repeat<E * B>([&](auto k) EQUIVAR_INLINE { x_sum[k] = typename V::Vector{}; });
  Repeat<E>([&](auto e) EQUIVAR_INLINE { z_sum[e] = typename V::Vector{}; });
  EdgeProductsOfDegree<T, 1, E, B>(rows, at, shape, 0, c, m0, x_sum, z_sum);
  EdgeProductsOfDegree<T, 3, E, B>(rows, at, shape, 1, c, m0, x_sum, z_sum);
  EdgeProductsOfDegree<T, 5, E, B>(rows, at, shape, 2, c, m0, x_sum, z_sum);
  if (!rows.features.empty()) {
    const auto& target = rows.features[0];
    Repeat<E>([&](auto e) EQUIVAR_INLINE {
      T* to = target.out + at.x_bar[e] + m0 * shape.channels + c;
      Repeat<B>([&](auto m) EQUIVAR_INLINE {
        auto add = x_sum[e * B + m];
        if (target.z) add *= target.z[at.edge + e];
        V::Store(to + m * shape.channels, V::Load(to + m * shape.channels) + add);
      });
    });
  }
  if (!rows.scales.empty()) {
    T* to = rows.scales[0].out;
    Repeat<E>([&](auto e) EQUIVAR_INLINE { V::Store(to + e * V::W, V::Load(to + e * V::W) + z_sum[e]); });
  }
}

// ---- Harmonics -------------------------------------------------------------------------------------------

template <typename T, int S, int E>
inline void HarmonicsOfEdges(const std::vector<ScaledOfSums>& groups, const Arrays<T>& arrays,
                             const std::vector<const T*>& ubars, const EdgeRowsOf<E>& at, const Shape& shape, int degree, int c,
                             T* y_bar) {
  using V = Simd<T>;
  constexpr int kFirst = S == 1 ? 0 : S == 3 ? 1 : 4;
  const int f = shape.channels;
  const int64_t r_at = at.edge * 3 * f + degree * f + c;
  typename V::Vector sum[S][E];
  for (int s = 0; s < S; ++s)
    for (int e = 0; e < E; ++e) sum[s][e] = typename V::Vector{};
  for (const auto& group : groups)
    for (const Scaled& part : group.scaled) {
      const T* ubar = ubars[group.a] + kFirst * shape.components * V::W;
      const T* from = arrays.in[kFeatures][part.x] + c;
      typename V::Vector rho[E];
      for (int e = 0; e < E; ++e) {
        rho[e] = V::Load(arrays.in[kRadial][part.r] + r_at + e * 3 * f);
        if (part.z >= 0) rho[e] *= arrays.in[kScale][part.z][at.edge + e];
      }
      for (int m = 0; m < shape.components; ++m) {
        typename V::Vector scaled[E];
        for (int e = 0; e < E; ++e) scaled[e] = rho[e] * V::Load(from + at.x[e] + m * f);
        for (int s = 0; s < S; ++s) {
          const auto bar = V::Load(ubar + (s * shape.components + m) * V::W);
          for (int e = 0; e < E; ++e) sum[s][e] += scaled[e] * bar;
        }
      }
    }
  for (int e = 0; e < E; ++e)
    for (int s = 0; s < S; ++s) y_bar[e * kHarmonics + kFirst + s] += V::Sum(sum[s][e]);
}

// ---- One node --------------------------------------------------------------------------------------------

// Computes the outputs of E edges of a node in the slots x, rho and z, for one block of channels.
template <typename T, int E>
void ProductsOfEdges(const std::vector<ProductRows<T>>& products, const Arrays<T>& arrays, const int32_t* senders,
                     int64_t edge, int64_t first_row, const Shape& shape, int c, T* scale_sums) {
  const int64_t row = int64_t(shape.components) * shape.channels;
  const size_t scales = arrays.out[kScale].size();
  EdgeRowsOf<E> at;
  at.edge = edge;
  for (int e = 0; e < E; ++e) at.x[e] = senders[edge + e] * row, at.x_bar[e] = (senders[edge + e] - first_row) * row;
  std::fill(scale_sums, scale_sums + scales * kMostEdges * Simd<T>::W, T(0));
  for (const auto& rows : products) {
    int m = 0;
    for (; m + kComponentsAtOnce <= shape.components; m += kComponentsAtOnce)
      EdgeProducts<T, E, kComponentsAtOnce>(rows, at, shape, c, m);
    for (; m < shape.components; ++m) EdgeProducts<T, E, 1>(rows, at, shape, c, m);
  }
  for (size_t o = 0; o < scales; ++o)
    for (int e = 0; e < E; ++e)
      arrays.out[kScale][o][edge + e] += Simd<T>::Sum(Simd<T>::Load(scale_sums + (o * kMostEdges + e) * Simd<T>::W));
}

// Computes their outputs in slot Y.
template <typename T, int E>
void HarmonicsOfAll(const Work& work, const Arrays<T>& arrays, const std::vector<const T*>& ubars,
                    const int32_t* senders, int64_t edge, const Shape& shape, int c) {
  EdgeRowsOf<E> at;
  at.edge = edge;
  for (int e = 0; e < E; ++e) at.x[e] = senders[edge + e] * int64_t(shape.components) * shape.channels;
  for (size_t o = 0; o < work.harmonics.size(); ++o) {
    T* y_bar = arrays.out[kHarmonic][o] + edge * kHarmonics;
    HarmonicsOfEdges<T, 1, E>(work.harmonics[o], arrays, ubars, at, shape, 0, c, y_bar);
    HarmonicsOfEdges<T, 3, E>(work.harmonics[o], arrays, ubars, at, shape, 1, c, y_bar);
    HarmonicsOfEdges<T, 5, E>(work.harmonics[o], arrays, ubars, at, shape, 2, c, y_bar);
  }
}

// Computes ubar of one operand in slot a, for one node and block of channels.
template <typename T>
void ContractTransposed(const Terms<T>& terms, const T* a, int f, int64_t size, T* ubar) {
  using V = Simd<T>;
  std::fill(ubar, ubar + size, T(0));
  for (size_t t = 0; t < terms.coefficient.size(); ++t) {
    T* to = ubar + terms.u[t] * V::W;
    V::Store(to, V::Load(to) + terms.coefficient[t] * V::Load(a + terms.out[t] * f));
  }
}

// A run of nodes with buffers for the outputs in slot x of the rows that it reads. The runs and the order in which
// their buffers are summed depend on shapes and thread count alone, not on which thread is quicker.
template <typename T>
struct Part {
  int64_t begin, end, first_row = 0, end_row = 0;
  std::vector<AlignedVector<T>> x_bars;
};

// Divides the nodes into at most `threads` runs with about equal numbers of edges.
template <typename T>
std::vector<Part<T>> Divide(const int32_t* counts, const Shape& shape, int64_t threads) {
  int64_t edges = 0;
  for (int64_t i = 0; i < shape.nodes; ++i) edges += counts[i];
  std::vector<Part<T>> parts;
  int64_t node = 0, seen = 0;
  for (int64_t t = 1; t <= threads; ++t) {
    Part<T> part{node, node};
    while (node < shape.nodes && (t == threads || seen < edges * t / threads)) seen += counts[node++];
    part.end = node;
    if (part.end > part.begin) parts.push_back(std::move(part));
  }
  return parts;
}

// Computes all outputs of one run of nodes.
template <typename T>
void RunPart(const Work& work, const Arrays<T>& arrays, const int32_t* senders, const int32_t* first,
             const int32_t* counts, const Shape& shape, const Terms<T>& terms, Part<T>& part) {
  const int f = shape.channels;
  const int64_t row = int64_t(shape.components) * f, size = int64_t(kHarmonics) * shape.components * Simd<T>::W;
  const size_t features_out = arrays.out[kFeatures].size();
  if (features_out) {
    int64_t low = shape.table, high = 0;
    for (int64_t i = part.begin; i < part.end; ++i)
      for (int64_t e = first[i]; e < first[i] + counts[i]; ++e) {
        low = std::min<int64_t>(low, senders[e]);
        high = std::max<int64_t>(high, senders[e] + 1);
      }
    part.first_row = std::min(low, high);
    part.end_row = high;
    part.x_bars.assign(features_out, AlignedVector<T>((part.end_row - part.first_row) * row, T(0)));
  }
  std::vector<T*> x_bars;
  for (auto& buffer : part.x_bars) x_bars.push_back(buffer.data());
  AlignedVector<T> u(size), storage(size * work.a.size());
  std::vector<const T*> ubars(arrays.in[kSums].size(), nullptr);
  for (size_t k = 0; k < work.a.size(); ++k) ubars[work.a[k]] = storage.data() + k * size;
  AlignedVector<T> scale_sums(kMostEdges * Simd<T>::W * arrays.out[kScale].size());
  const auto products = RowsOfProducts(work, arrays, x_bars, ubars, scale_sums.data());
  const bool edges_out = !work.products.empty() || !work.harmonics.empty();
  for (int64_t i = part.begin; i < part.end; ++i) {
    for (int c = 0; c < f; c += Simd<T>::W) {
      for (size_t o = 0; o < work.sums.size(); ++o)
        SumsOfNode(work.sums[o], arrays, senders, first[i], counts[i], shape, terms, c, u.data(),
                   arrays.out[kSums][o] + i * shape.products * f);
      if (!edges_out) continue;
      for (size_t k = 0; k < work.a.size(); ++k)
        ContractTransposed(terms, arrays.in[kSums][work.a[k]] + i * shape.products * f + c, f, size,
                           storage.data() + k * size);
      int64_t edge = first[i];
      const int64_t end = edge + counts[i];
      for (; !products.empty() && edge + kMostEdges <= end; edge += kMostEdges)
        ProductsOfEdges<T, kMostEdges>(products, arrays, senders, edge, part.first_row, shape, c, scale_sums.data());
      for (; !products.empty() && edge < end; ++edge)
        ProductsOfEdges<T, 1>(products, arrays, senders, edge, part.first_row, shape, c, scale_sums.data());
      if (work.harmonics.empty()) continue;
      edge = first[i];
      for (; edge + kHarmonicEdges <= end; edge += kHarmonicEdges)
        HarmonicsOfAll<T, kHarmonicEdges>(work, arrays, ubars, senders, edge, shape, c);
      for (; edge < end; ++edge) HarmonicsOfAll<T, 1>(work, arrays, ubars, senders, edge, shape, c);
    }
  }
}

// ---- What to compute -------------------------------------------------------------------------------------

// An output as equivar_jax/kernels/multilinear.py describes it: terms name an operand in each slot but that of the
// output.
template <int Slots>
struct FormOutput {
  int slot;
  bool batched;
  std::vector<std::array<int, Slots>> terms;
};

// Writes the batch out: every slice of a batched operand is an operand of its own here, and every slice of a
// batched output an output. Outputs that are not batched sum over the batch.
class WorkBuilder {
 public:
  // Adds the terms of an output whose slices are the outputs from `first_out` on in their slot; places[k] are the
  // slices of operand k in its slot.
  void Add(const FormOutput<kSlots>& output, int slices, int first_out, const std::vector<std::vector<int>>& places) {
    for (const auto& term : output.terms) {
      bool varies = output.batched;
      for (int slot = 0; slot < kSlots; ++slot)
        varies |= slot != output.slot && term[slot] >= 0 && places[term[slot]].size() > 1;
      for (int b = 0; b < (varies ? slices : 1); ++b) {
        std::array<int, kSlots> at;
        at.fill(kOne);
        for (int slot = 0; slot < kSlots; ++slot) {
          if (slot == output.slot || term[slot] < 0) continue;
          const auto& place = places[term[slot]];
          at[slot] = place[place.size() > 1 ? b : 0];
        }
        AddTerm(output.slot, first_out + (output.batched ? b : 0), at);
      }
    }
  }

  template <typename T>
  Work Build(const Arrays<T>& arrays) const {
    Work work;
    work.sums.resize(arrays.out[kSums].size());
    for (const auto& [out, groups] : sums_)
      for (const auto& [y, scaled] : groups) work.sums[out].push_back({y, scaled});
    work.harmonics.resize(arrays.out[kHarmonic].size());
    for (const auto& [out, groups] : harmonics_)
      for (const auto& [a, scaled] : groups) work.harmonics[out].push_back({a, scaled});
    std::map<std::vector<Use>, std::vector<Pair>> by_uses;  // V that go to the same places are summed first
    for (auto [y_a, uses] : uses_) {
      std::sort(uses.begin(), uses.end());
      by_uses[uses].push_back(y_a);
    }
    for (const auto& [uses, y_a] : by_uses) work.products.push_back({y_a, uses});
    work.a.assign(a_.begin(), a_.end());
    return work;
  }

 private:
  void AddTerm(int slot, int out, const std::array<int, kSlots>& at) {
    const Scaled scaled{at[kFeatures], at[kRadial], at[kScale]};
    if (slot == kSums) {
      sums_[out][at[kHarmonic]].push_back(scaled);
      return;
    }
    a_.insert(at[kSums]);
    if (slot == kHarmonic)
      harmonics_[out][at[kSums]].push_back(scaled);
    else
      uses_[{at[kHarmonic], at[kSums]}].push_back({slot, out, scaled});
  }

  std::map<int, std::map<int, std::vector<Scaled>>> sums_, harmonics_;
  std::map<Pair, std::vector<Use>> uses_;
  std::set<int> a_;
};

}  // namespace equivar

#endif  // EQUIVAR_NEIGHBOUR_FORM_H_
