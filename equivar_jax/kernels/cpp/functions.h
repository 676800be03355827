// Elementary functions of whole vectors.

#ifndef EQUIVAR_FUNCTIONS_H_
#define EQUIVAR_FUNCTIONS_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "simd.h"

namespace equivar {

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

inline Simd<double>::Vector Exponential(Simd<double>::Vector x) {
  for (int c = 0; c < Simd<double>::W; ++c) x[c] = std::exp(x[c]);
  return x;
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

// 1 / (1 + e^-x), written so that no exponential overflows.
template <typename V>
inline V Sigmoid(V x) {
  const V y = Exponential(x < 0 ? x : -x);
  return (x < 0 ? y : V{} + 1) / (y + 1);
}

}  // namespace equivar

#endif  // EQUIVAR_FUNCTIONS_H_
