// Features of edges from their vectors: Gaussians of the length, spherical harmonics, envelope, and the radial
// functions that know the species at both ends; and how they change with the length.

#ifndef EQUIVAR_EDGES_H_
#define EQUIVAR_EDGES_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "functions.h"
#include "matrix_product.h"
#include "message.h"
#include "tape.h"

namespace equivar {

// Real spherical harmonics l = 0, 1, 2 of a unit vector, each with mean square 1 on the sphere.
template <typename T>
inline void Harmonics(T x, T y, T z, T* result) {
  const T root3 = T(1.7320508075688772), root5 = T(2.2360679774997897), root15 = T(3.8729833462074170);
  result[0] = 1;
  result[1] = root3 * x;
  result[2] = root3 * y;
  result[3] = root3 * z;
  result[4] = root15 * x * z;
  result[5] = root15 * x * y;
  result[6] = root5 * (y * y - (x * x + z * z) / 2);
  result[7] = root15 * y * z;
  result[8] = root15 / 2 * (z * z - x * x);
}

// The settings and weights that all layers share. Matrices have their constants multiplied in.
template <typename T>
struct EdgeNetwork {
  int gaussians, hidden;  // hidden: radial functions that know the species, or 0 for the Gaussians alone
  bool has_envelope;
  T cutoff, silu_scale;
  const T *radial, *receiver, *sender, *mix, *mix_bias;  // [G, H], [species, H] twice, [H, H], [H]

  int functions() const { return hidden ? hidden : gaussians; }
  // Numbers that are kept for an edge, and for its slopes.
  int stored() const { return functions() + kHarmonics; }
  int stored_slopes() const { return functions() + 1; }

  static EdgeNetwork Read(Tape<T>& tape, int species) {
    EdgeNetwork network{};
    network.gaussians = tape.Integer();
    network.hidden = tape.Integer();
    network.has_envelope = tape.Integer();
    network.cutoff = T(tape.Number());
    network.silu_scale = T(tape.Number());
    if (const int64_t h = network.hidden) {
      network.radial = tape.Weights(network.gaussians * h);
      network.receiver = tape.Weights(species * h);
      network.sender = tape.Weights(species * h);
      network.mix = tape.Weights(h * h);
      network.mix_bias = tape.Weights(h);
    }
    return network;
  }
};

// Memory of one task.
template <typename T>
struct EdgeWorkspace {
  AlignedVector<T> gaussians, hidden, gaussian_slopes, hidden_slopes, rows, slopes;
  std::vector<const T*> left;
  std::vector<T*> result;
};

// Computes exp(-((r - mu_g) / width)^2 / 2) for centres mu_g evenly spaced from 0 to the cutoff; and the derivatives by
// r, unless there is no place for them.
template <typename T>
inline void Gaussians(T distance, T cutoff, int count, T* result, T* slopes) {
  using V = Simd<T>;
  const T width = cutoff / T(count - 1);
  for (int g = 0; g < count; g += V::W) {
    typename V::Vector scaled;
    for (int k = 0; k < V::W; ++k) scaled[k] = distance / width - T(g + k);
    const auto value = Exponential(scaled * scaled * T(-0.5));
    const int n = std::min(V::W, count - g);
    std::memcpy(result + g, &value, n * sizeof(T));
    if (slopes == nullptr) continue;
    const typename V::Vector slope = scaled * value * (-1 / width);
    std::memcpy(slopes + g, &slope, n * sizeof(T));
  }
}

// Computes `silu(x) * scale` of a row in place, and multiplies `slopes` by its derivative, unless that is null.
template <typename T>
inline void Silu(T* row, int64_t n, T scale, T* slopes = nullptr) {
  using V = Simd<T>;
  for (int64_t c = 0; c < n; c += V::W) {
    const auto x = V::Load(row + c), share = Sigmoid(x);
    V::Store(row + c, x * share * scale);
    if (slopes) V::Store(slopes + c, V::Load(slopes + c) * (share + x * share * (T(1) - share)) * scale);
  }
}

// Computes to[:count] = from[:count] @ matrix for rows of so many numbers, one after the other.
template <typename T>
void RowsTimesMatrix(const T* from, int64_t depth, const T* matrix, int64_t width, int64_t count, T* to,
                     EdgeWorkspace<T>& work) {
  work.left.resize(count);
  work.result.resize(count);
  for (int64_t e = 0; e < count; ++e) {
    work.left[e] = from + e * depth;
    work.result[e] = to + e * width;
  }
  MatrixProduct<T, false>(work.left, matrix, depth, width, width, work.result);
}

// Computes the features of the `count` edges of one node into `rows`. The harmonics have the envelope multiplied in.
// Unless `slopes` is null, it gets the derivatives of the radial functions by the length of the edge, [count,
// functions], and then those of the envelope, [count].
template <typename T>
EdgeRows<T> FeaturesOfEdges(const EdgeNetwork<T>& network, const double* vectors, const int32_t* senders,
                            const int32_t* species, int32_t receiver, int64_t count, T* rows, T* slopes,
                            EdgeWorkspace<T>& work) {
  const int functions = network.functions(), g = network.gaussians;
  const int64_t h = network.hidden;
  T *basis = rows, *harmonics = rows + count * functions;
  if (h) work.gaussians.resize(count * g);
  if (h && slopes) work.gaussian_slopes.resize(count * g);
  T *of_length = h ? work.gaussians.data() : basis, *of_slope = h && slopes ? work.gaussian_slopes.data() : slopes;
  for (int64_t e = 0; e < count; ++e) {
    const T x = T(vectors[3 * e]), y = T(vectors[3 * e + 1]), z = T(vectors[3 * e + 2]);
    const T distance = std::sqrt(x * x + y * y + z * z), inverse = distance > 0 ? 1 / distance : T(0);
    Gaussians(distance, network.cutoff, g, of_length + e * g, slopes ? of_slope + e * g : nullptr);
    T* own = harmonics + e * kHarmonics;
    Harmonics(x * inverse, y * inverse, z * inverse, own);
    if (slopes) slopes[count * functions + e] = 0;
    if (!network.has_envelope) continue;
    const T angle = T(3.14159265358979323846) * std::min(distance / network.cutoff, T(1));
    const T envelope = (1 + std::cos(angle)) / 2;
    for (int s = 0; s < kHarmonics; ++s) own[s] *= envelope;
    if (slopes) slopes[count * functions + e] = std::sin(angle) * T(-1.57079632679489661923) / network.cutoff;
  }
  if (h) {
    work.hidden.resize(count * h);
    work.left.resize(count);
    work.result.resize(count);
    const T* own = network.receiver + receiver * h;
    for (int64_t e = 0; e < count; ++e) {
      const T* other = network.sender + species[senders[e]] * h;
      T* row = work.hidden.data() + e * h;
      for (int64_t k = 0; k < h; ++k) row[k] = own[k] + other[k];
      work.left[e] = of_length + e * g;
      work.result[e] = row;
    }
    MatrixProduct<T, true>(work.left, network.radial, g, h, h, work.result);
    if (slopes) {
      work.hidden_slopes.resize(count * h);
      RowsTimesMatrix(of_slope, g, network.radial, h, count, work.hidden_slopes.data(), work);
    }
    Silu(work.hidden.data(), count * h, network.silu_scale, slopes ? work.hidden_slopes.data() : nullptr);
    for (int64_t e = 0; e < count; ++e) {
      work.left[e] = work.hidden.data() + e * h;
      work.result[e] = basis + e * h;
      std::copy(network.mix_bias, network.mix_bias + h, work.result[e]);
    }
    MatrixProduct<T, true>(work.left, network.mix, h, h, h, work.result);
    if (slopes) RowsTimesMatrix(work.hidden_slopes.data(), h, network.mix, h, count, slopes, work);
    Silu(basis, count * h, network.silu_scale, slopes);
  }
  return {basis, nullptr, harmonics, slopes, slopes ? slopes + count * functions : nullptr};
}

}  // namespace equivar

#endif  // EQUIVAR_EDGES_H_
