// The messages of an interaction in one pass, for inference: radial part, neighbour sum and mixing for a few
// nodes at a time, so that nothing but the result leaves the cache.
//
// A block of nodes takes three steps. First, for one node after the other, rho = basis @ edge_weight for its
// edges, with a bias and a shifted softplus on the scalars; then the sums of `neighbour_sum.h`. Then, for every
// irrep o of the result and each of its components m,
//     message[i, o m] = sum_p sums[i, p m] @ mixing_o[p].

#ifndef EQUIVAR_MESSAGE_H_
#define EQUIVAR_MESSAGE_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "functions.h"
#include "matrix_product.h"
#include "neighbour_sum.h"
#include "simd.h"

namespace equivar {

// Features of the edges of one node, one edge after the other; envelope is null if there is none, or if the harmonics
// have it multiplied in. The slopes are derivatives of basis and envelope by the length of the edge, or null.
template <typename T>
struct EdgeRows {
  const T *basis, *envelope, *harmonics, *slopes = nullptr, *envelope_slopes = nullptr;
};

template <typename T>
struct MessageWeights {
  const T *edge_weight, *edge_bias, *mixing;
  T softplus_scale;
};

// One irrep of the result.
struct Output {
  int row, dim, products;       // first component in the message; 2l + 1; number of products that lead to it
  const int32_t* product_rows;  // first component of each of these products in the sums
  int64_t mixing;               // offset of its mixing matrix [products f, f]
};

// Memory of one task, used again for each block of nodes.
template <typename T>
struct Workspace {
  AlignedVector<T> radial, sums, u, envelopes;
  std::vector<const T*> harmonics;
  std::vector<const T*> left;
  std::vector<T*> result;
};

constexpr int64_t kNodesAtOnce = 16;

// Edges whose radial part is computed together: enough for whole tiles, few enough for the cache.
constexpr int64_t kEdgesAtOnce = 48;

// Computes rho of the edges whose rows of the basis are in work.left and whose envelopes are in work.envelopes, into
// `radial`, [edges, 3, f].
template <typename T>
void RadialPart(const MessageWeights<T>& weights, int f, int functions, T* radial, Workspace<T>& work) {
  using V = Simd<T>;
  const int64_t width = 3 * f, count = work.left.size();
  work.result.resize(count);
  for (int64_t e = 0; e < count; ++e) work.result[e] = radial + e * width;
  MatrixProduct<T, false>(work.left, weights.edge_weight, functions, width, width, work.result);
  for (int64_t e = 0; e < count; ++e) {
    T* rho = work.result[e];
    for (int c = 0; c < f; c += V::W) {
      const auto value = Softplus(V::Load(rho + c) + V::Load(weights.edge_bias + c)) - T(0.693147180559945309417);
      V::Store(rho + c, value * weights.softplus_scale);
    }
    if (work.envelopes.empty()) continue;
    for (int c = 0; c < width; c += V::W) V::Store(rho + c, V::Load(rho + c) * work.envelopes[e]);
  }
}

// Computes the messages of the nodes begin to end - 1 into `messages`, [nodes, components, f], which begins with
// the first of them. `edges_of(i)` returns the EdgeRows of node i. Unless `kept` is null, it gets the radial part of
// all these edges, [edges, 3, f].
template <typename T, typename EdgesOf>
void MessagesOfNodes(const MessageWeights<T>& weights, const Neighbours<T>& in, const Shape& shape,
                     const Terms<T>& terms, const std::vector<Output>& outputs, int functions, int64_t begin,
                     int64_t end, const EdgesOf& edges_of, T* messages, T* kept, Workspace<T>& work) {
  const int f = shape.channels;
  const int64_t nodes = end - begin;
  work.u.resize(kHarmonics * shape.components * Simd<T>::W);
  work.sums.resize(nodes * shape.products * f);
  work.harmonics.resize(nodes);
  for (int64_t i = 0, next; i < nodes; i = next) {
    work.left.clear();
    work.envelopes.clear();
    for (next = i; next < nodes; ++next) {
      const int64_t count = in.counts[begin + next];
      if (next > i && int64_t(work.left.size()) + count > kEdgesAtOnce) break;
      const EdgeRows<T> edges = edges_of(begin + next);
      for (int64_t e = 0; e < count; ++e) work.left.push_back(edges.basis + e * functions);
      if (edges.envelope) work.envelopes.insert(work.envelopes.end(), edges.envelope, edges.envelope + count);
      work.harmonics[next] = edges.harmonics;
    }
    const int64_t numbers = work.left.size() * 3 * f;
    if (!kept && int64_t(work.radial.size()) < numbers) work.radial.resize(numbers);
    T* radial = kept ? kept : work.radial.data();
    if (kept) kept += numbers;
    RadialPart(weights, f, functions, radial, work);
    for (int64_t k = i; k < next; ++k) {
      const int64_t count = in.counts[begin + k];
      SumOfNode(in.features, radial, work.harmonics[k], in.senders + in.first[begin + k], count, shape, terms,
                work.u.data(), work.sums.data() + k * shape.products * f);
      radial += count * 3 * f;
    }
  }
  int components = 0;
  for (const auto& output : outputs) components += output.dim;
  for (const auto& output : outputs) {
    work.left.resize(nodes * output.dim);
    work.result.resize(nodes * output.dim);
    for (int64_t i = 0; i < nodes; ++i)
      for (int m = 0; m < output.dim; ++m)
        work.result[i * output.dim + m] = messages + (i * components + output.row + m) * f;
    for (int p = 0; p < output.products; ++p) {
      for (int64_t i = 0; i < nodes; ++i)
        for (int m = 0; m < output.dim; ++m)
          work.left[i * output.dim + m] =
              work.sums.data() + (i * shape.products + output.product_rows[p] + m) * int64_t(f);
      const T* matrix = weights.mixing + output.mixing + int64_t(p) * f * f;
      if (p == 0)
        MatrixProduct<T, false>(work.left, matrix, f, f, f, work.result);
      else
        MatrixProduct<T, true>(work.left, matrix, f, f, f, work.result);
    }
  }
}

}  // namespace equivar

#endif  // EQUIVAR_MESSAGE_H_
