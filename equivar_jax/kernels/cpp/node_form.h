// The form of the nodes and all its derivatives: see equivar_jax/kernels/node_form.py.
//
//     G(u, v, w, a) = sum_i sum_c sum_t q_t w[p_t, c] u[i][j_t, c] v[i][k_t, c] a[i][m_t, c]
//
// with a list of terms t: coefficients q that are not zero, for path p and components j, k and m.

#ifndef EQUIVAR_NODE_FORM_H_
#define EQUIVAR_NODE_FORM_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "simd.h"

namespace equivar {

enum NodeSlot { kLeft, kRight, kWeights, kResult, kNodeSlots };

// The coefficients: term t is that of row[s][t] in slot s.
template <typename T>
struct NodeTerms {
  const int32_t* row[kNodeSlots];
  std::vector<T> coefficient;
};

// One product of operands, and the output that it is added to; in its slot there is no operand.
template <typename T>
struct NodeProduct {
  const T* in[kNodeSlots];
  T* out;
  int slot;
};

struct NodeShape {
  int64_t nodes;
  int rows[kNodeSlots], channels;
};

// Adds a product for the nodes begin to end - 1. Slots but that of the weights have a block of rows for each node.
template <typename T>
void AddProduct(const NodeProduct<T>& product, const NodeShape& shape, const NodeTerms<T>& terms, int64_t begin,
                int64_t end) {
  using V = Simd<T>;
  const int f = shape.channels;
  int others[kNodeSlots - 1], count = 0;
  for (int slot = 0; slot < kNodeSlots; ++slot)
    if (slot != product.slot) others[count++] = slot;
  const auto at = [&](int slot, int64_t node) { return slot == kWeights ? 0 : node * shape.rows[slot] * f; };
  const int32_t* rows[3] = {terms.row[others[0]], terms.row[others[1]], terms.row[others[2]]};
  const int32_t* out_rows = terms.row[product.slot];
  for (int64_t i = begin; i < end; ++i)
    for (int c = 0; c < f; c += V::W) {
      const T* in[3];
      for (int k = 0; k < 3; ++k) in[k] = product.in[others[k]] + at(others[k], i) + c;
      T* out = product.out + at(product.slot, i) + c;
      for (size_t t = 0; t < terms.coefficient.size(); ++t) {
        T* to = out + out_rows[t] * f;
        const auto value = V::Load(in[0] + rows[0][t] * f) * V::Load(in[1] + rows[1][t] * f);
        V::Store(to, V::Load(to) + terms.coefficient[t] * value * V::Load(in[2] + rows[2][t] * f));
      }
    }
}

}  // namespace equivar

#endif  // EQUIVAR_NODE_FORM_H_
