// Vectors of the width of the machine, by an extension of C++ that GCC and Clang share.

#ifndef EQUIVAR_SIMD_H_
#define EQUIVAR_SIMD_H_

#include <cstddef>
#include <cstring>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

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
  static T Sum(Vector v) { return SumOfHalves<kVectorBytes>(v); }

 private:
  template <int Bytes>
  static T SumOfHalves(T __attribute__((vector_size(Bytes))) v) {
    if constexpr (Bytes == sizeof(T)) {
      return v[0];
    } else {
      typedef T Half __attribute__((vector_size(Bytes / 2)));
      Half halves[2];
      std::memcpy(halves, &v, Bytes);
      return SumOfHalves<Bytes / 2>(halves[0] + halves[1]);
    }
  }
};

// Memory whose vectors do not cross lines of the cache, which would halve the speed.
template <typename T>
struct AlignedAllocator {
  typedef T value_type;
  AlignedAllocator() = default;
  template <typename U>
  AlignedAllocator(const AlignedAllocator<U>&) {}
  T* allocate(size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), std::align_val_t(64))); }
  void deallocate(T* memory, size_t) { ::operator delete(memory, std::align_val_t(64)); }
  template <typename U>
  bool operator==(const AlignedAllocator<U>&) const { return true; }
  template <typename U>
  bool operator!=(const AlignedAllocator<U>&) const { return false; }
};
template <typename T>
using AlignedVector = std::vector<T, AlignedAllocator<T>>;

// Calls f(0) ... f(N - 1) with numbers that the compiler knows, so that arrays of vectors that they index stay in
// registers.
template <int... K, typename F>
inline __attribute__((always_inline)) void CallWithEach(std::integer_sequence<int, K...>, F f) {
  (f(std::integral_constant<int, K>{}), ...);
}
template <int N, typename F>
inline __attribute__((always_inline)) void Repeat(F f) {
  CallWithEach(std::make_integer_sequence<int, N>{}, f);
}

#define EQUIVAR_INLINE __attribute__((always_inline))

}  // namespace equivar

#endif  // EQUIVAR_SIMD_H_
