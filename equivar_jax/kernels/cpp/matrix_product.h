// Matrix products of rows that lie anywhere with a small matrix.

#ifndef EQUIVAR_MATRIX_PRODUCT_H_
#define EQUIVAR_MATRIX_PRODUCT_H_

#include <cstdint>
#include <vector>

#include "simd.h"

namespace equivar {

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

constexpr int kTileRows = 6;

// Computes a tile of as many rows as there are, at most Rows.
template <typename T, int Rows, int Columns, bool Add>
inline void TileOfRest(int rows, const T* const left[], const T* right, int64_t depth, int64_t stride,
                       T* const result[]) {
  if constexpr (Rows > 0) {
    if (rows == Rows)
      Tile<T, Rows, Columns, Add>(left, right, depth, stride, result);
    else
      TileOfRest<T, Rows - 1, Columns, Add>(rows, left, right, depth, stride, result);
  }
}

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
  const int rest = int(left.size() - r);
  for (int k = 0; k < rest; ++k) to[k] = result[r + k] + column;
  TileOfRest<T, kTileRows - 1, Columns, Add>(rest, left.data() + r, right + column, depth, stride, to);
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

}  // namespace equivar

#endif  // EQUIVAR_MATRIX_PRODUCT_H_
