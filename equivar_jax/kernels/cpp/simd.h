// Vectors of the width of the machine, by an extension of C++ that GCC and Clang share.

#ifndef EQUIVAR_SIMD_H_
#define EQUIVAR_SIMD_H_

#include <cstring>

namespace equivar {

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#else
constexpr int kVectorBytes = 32;
#endif

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

}  // namespace equivar

#endif  // EQUIVAR_SIMD_H_
