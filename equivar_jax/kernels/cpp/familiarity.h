// How far the last features of a node are from those of the training data: see equivar_jax/uncertainty/features.py.

#ifndef EQUIVAR_FAMILIARITY_H_
#define EQUIVAR_FAMILIARITY_H_

#include <cmath>
#include <cstdint>
#include <limits>

#include "simd.h"
#include "tape.h"

namespace equivar {

// The norm of L (v - mean), where v are the scalars and the norms of the channels of every other irrep, and L is
// lower triangular.
template <typename T>
struct Familiarity {
  int irreps, elements, matrices, size;  // size: number of invariants
  const int32_t *dims, *element_of;      // dims: 2l + 1 of each irrep; element_of: [species], -1 if never seen
  const T *means, *scales, *factors;     // [elements, size], [elements], [matrices, size, size]

  static Familiarity Read(Tape<T> tape, int f, int species) {
    Familiarity known{};
    known.irreps = tape.Integer();
    known.elements = tape.Integer();
    known.matrices = tape.Integer();
    known.size = known.irreps * f;
    known.dims = tape.Integers(known.irreps);
    known.element_of = tape.Integers(species);
    known.means = tape.Weights(int64_t(known.elements) * known.size);
    known.scales = tape.Weights(known.elements);
    known.factors = tape.Weights(int64_t(known.matrices) * known.size * known.size);
    return known;
  }

  // `work` has room for `size` numbers.
  double Distance(const T* features, int f, int32_t species, T* work) const {
    using V = Simd<T>;
    const int element = element_of[species];
    if (element < 0) return std::numeric_limits<double>::infinity();
    for (int k = 0; k < irreps; features += dims[k++] * f)
      for (int c = 0; c < f; ++c) {
        T squares = 0;
        for (int m = 0; m < dims[k]; ++m) squares += features[m * f + c] * features[m * f + c];
        work[k * f + c] = (k == 0 ? features[c] : std::sqrt(squares)) - means[element * size + k * f + c];
      }
    const T* row = factors + (matrices > 1 ? int64_t(element) * size * size : 0);
    double sum = 0;
    for (int r = 0; r < size; ++r, row += size) {
      typename V::Vector product = {};
      for (int c = 0; c <= r; c += V::W) product += V::Load(row + c) * V::Load(work + c);  // zero beyond the row's end
      const double value = V::Sum(product);
      sum += value * value;
    }
    return double(scales[element]) * std::sqrt(sum);
  }
};

// What is wanted of the last features of the nodes; all may be null.
template <typename T>
struct LastFeatures {
  const Familiarity<T>* known;
  double* distances;  // [nodes]
  T* features;        // [nodes, components, f]
};

}  // namespace equivar

#endif  // EQUIVAR_FAMILIARITY_H_
