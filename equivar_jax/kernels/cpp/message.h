// The messages of an interaction in one pass, for inference: radial part, neighbour sum and mixing for a few
// nodes at a time, so that nothing but the result leaves the cache.
//
// A block of nodes takes three steps. First, rho = basis @ edge_weight for its edges, with a bias and a shifted
// softplus on the scalars. Then the sums of `neighbour_sum.h`. Then, for every irrep o of the result and each of
// its components m,
//     message[i, o m] = sum_p sums[i, p m] @ mixing_o[p].

#ifndef EQUIVAR_MESSAGE_H_
#define EQUIVAR_MESSAGE_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "neighbour_sum.h"
#include "simd.h"
#include "xla/ffi/api/ffi.h"

namespace equivar {

// ---- Matrix products -------------------------------------------------------------------------------------

// Computes a tile of a product, result[r] (+)= sum_k left[r][k] right[k], whose Rows x Columns vectors stay in
// registers. (+)= adds to the result if Add is set, and overwrites it otherwise.
template <typename T, int Rows, int Columns, bool Add>
inline void Tile(const T* const left[], const T* right, int64_t depth, int64_t stride, T* const result[]) {
  using V = Simd<T>;
  typename V::Vector sum[Rows][Columns];
  for (int r = 0; r < Rows; ++r)
    for (int c = 0; c < Columns; ++c)
      sum[r][c] = Add ? V::Load(result[r] + c * V::W) : typename V::Vector{};
  for (int64_t k = 0; k < depth; ++k) {
    typename V::Vector b[Columns];
    for (int c = 0; c < Columns; ++c) b[c] = V::Load(right + k * stride + c * V::W);
    for (int r = 0; r < Rows; ++r) {
      const T a = left[r][k];
      for (int c = 0; c < Columns; ++c) sum[r][c] += a * b[c];
    }
  }
  for (int r = 0; r < Rows; ++r)
    for (int c = 0; c < Columns; ++c) V::Store(result[r] + c * V::W, sum[r][c]);
}

constexpr int kTileRows = kVectorBytes == 64 ? 6 : 4;

// Computes Columns vectors of the result, from `column` on, for all rows.
template <typename T, int Columns, bool Add>
void TileColumns(const std::vector<const T*>& left, const T* right, int64_t depth, int64_t stride,
                 const std::vector<T*>& result, int64_t column) {
  size_t r = 0;
  T* to[kTileRows];
  for (; r + kTileRows <= left.size(); r += kTileRows) {
    for (int k = 0; k < kTileRows; ++k) to[k] = result[r + k] + column;
    Tile<T, kTileRows, Columns, Add>(left.data() + r, right + column, depth, stride, to);
  }
  for (; r < left.size(); ++r) {
    to[0] = result[r] + column;
    Tile<T, 1, Columns, Add>(left.data() + r, right + column, depth, stride, to);
  }
}

// Computes result[r, :width] (+)= left[r, :depth] @ right[:depth, :width]; left and result are lists of pointers
// to their rows.
template <typename T, bool Add>
void MatrixProduct(const std::vector<const T*>& left, const T* right, int64_t depth, int64_t width, int64_t stride,
                   const std::vector<T*>& result) {
  constexpr int W = Simd<T>::W, kColumns = kVectorBytes == 64 ? 4 : 2;
  int64_t column = 0;
  for (; column + kColumns * W <= width; column += kColumns * W)
    TileColumns<T, kColumns, Add>(left, right, depth, stride, result, column);
  for (; column < width; column += W) TileColumns<T, 1, Add>(left, right, depth, stride, result, column);
}

// ---- Shifted softplus ------------------------------------------------------------------------------------

// e^x for x <= 0: 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2].
inline Simd<float>::Vector Exponential(Simd<float>::Vector x) {
  using V = Simd<float>;
  typedef int32_t Integers __attribute__((vector_size(kVectorBytes)));
  constexpr float kLog2e = 1.44269504088896341f, kLn2High = 0.693359375f, kLn2Low = -2.12194440e-4f;
  x = x < -87.0f ? V::Vector{} - 87.0f : x;
  const V::Vector shifted = x * kLog2e - 0.5f;
  const Integers n = __builtin_convertvector(shifted, Integers);  // truncates, which rounds here since x <= 0
  const V::Vector whole = __builtin_convertvector(n, V::Vector);
  const V::Vector r = (x - whole * kLn2High) - whole * kLn2Low;
  V::Vector p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const Integers bits = (n + 127) << 23;
  V::Vector power;
  std::memcpy(&power, &bits, sizeof(power));
  return p * power;
}

// log(1 + e^x) = max(x, 0) + log(1 + e^-|x|), and log(1 + y) = 2 artanh(y / (2 + y)).
inline Simd<float>::Vector Softplus(Simd<float>::Vector x) {
  using V = Simd<float>;
  const V::Vector y = Exponential(x < 0.0f ? x : -x);
  const V::Vector z = y / (y + 2.0f), square = z * z;
  V::Vector series = square * (1.0f / 15) + 1.0f / 13;
  for (int k = 11; k >= 1; k -= 2) series = series * square + 1.0f / k;
  const V::Vector positive = x > 0.0f ? x : V::Vector{};
  const V::Vector result = positive + 2.0f * z * series;
  return x == x ? result : x;  // NaN stays NaN
}

inline Simd<double>::Vector Softplus(Simd<double>::Vector x) {
  for (int c = 0; c < Simd<double>::W; ++c) x[c] = std::max(x[c], 0.0) + std::log1p(std::exp(-std::abs(x[c])));
  return x;
}

// ---- The message -----------------------------------------------------------------------------------------

template <typename T>
struct MessageInputs {
  const T *features, *basis, *envelope, *harmonics;  // envelope is null if there is none
  const int32_t *senders, *first, *counts;
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
  std::vector<T> radial, sums, u;
  std::vector<int32_t> first;
  std::vector<const T*> left;
  std::vector<T*> result;
};

constexpr int64_t kNodesAtOnce = 16;

// Computes rho of the edges begin to end - 1 into work.radial, [edges, 3, f].
template <typename T>
void RadialPart(const MessageInputs<T>& in, int64_t begin, int64_t end, int f, int functions, Workspace<T>& work) {
  using V = Simd<T>;
  const int64_t edges = end - begin, width = 3 * f;
  work.radial.resize(std::max<int64_t>(edges, 1) * width);
  work.left.resize(edges);
  work.result.resize(edges);
  for (int64_t e = 0; e < edges; ++e) {
    work.left[e] = in.basis + (begin + e) * functions;
    work.result[e] = work.radial.data() + e * width;
  }
  MatrixProduct<T, false>(work.left, in.edge_weight, functions, width, width, work.result);
  for (int64_t e = 0; e < edges; ++e) {
    T* rho = work.result[e];
    for (int c = 0; c < f; c += V::W) {
      const auto value = Softplus(V::Load(rho + c) + V::Load(in.edge_bias + c)) - T(0.693147180559945309417);
      V::Store(rho + c, value * in.softplus_scale);
    }
    if (in.envelope == nullptr) continue;
    for (int c = 0; c < width; c += V::W) V::Store(rho + c, V::Load(rho + c) * in.envelope[begin + e]);
  }
}

// Computes the messages of the nodes begin to end - 1, whose edges lie together.
template <typename T>
void MessagesOfNodes(const MessageInputs<T>& in, const Shape& shape, const Terms& terms,
                     const std::vector<Output>& outputs, int functions, int64_t begin, int64_t end, T* messages,
                     Workspace<T>& work) {
  const int f = shape.channels;
  const int64_t nodes = end - begin, first_edge = in.first[begin];
  RadialPart(in, first_edge, int64_t(in.first[end - 1]) + in.counts[end - 1], f, functions, work);

  work.u.resize(kHarmonics * shape.components * Simd<T>::W);
  work.sums.resize(nodes * shape.products * f);
  work.first.resize(nodes);
  for (int64_t i = 0; i < nodes; ++i) work.first[i] = in.first[begin + i] - int32_t(first_edge);
  const Inputs<T> block{in.features,          work.radial.data(), in.harmonics + first_edge * kHarmonics,
                        in.senders + first_edge, work.first.data(),  in.counts + begin};
  for (int64_t i = 0; i < nodes; ++i) SumOfNode(block, shape, terms, i, work.u.data(), work.sums.data());

  int components = 0;
  for (const auto& output : outputs) components += output.dim;
  for (const auto& output : outputs) {
    work.left.resize(nodes * output.dim);
    work.result.resize(nodes * output.dim);
    for (int64_t i = 0; i < nodes; ++i)
      for (int m = 0; m < output.dim; ++m)
        work.result[i * output.dim + m] = messages + ((begin + i) * components + output.row + m) * f;
    for (int p = 0; p < output.products; ++p) {
      for (int64_t i = 0; i < nodes; ++i)
        for (int m = 0; m < output.dim; ++m)
          work.left[i * output.dim + m] =
              work.sums.data() + (i * shape.products + output.product_rows[p] + m) * int64_t(f);
      const T* matrix = in.mixing + output.mixing + int64_t(p) * f * f;
      if (p == 0)
        MatrixProduct<T, false>(work.left, matrix, f, f, f, work.result);
      else
        MatrixProduct<T, true>(work.left, matrix, f, f, f, work.result);
    }
  }
}

}  // namespace equivar

#endif  // EQUIVAR_MESSAGE_H_
