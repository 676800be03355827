// The network that gives tensors directly, in one call: see equivar_jax/network/compiled.py.
//
// Features of nodes are the only tables that are held: those before a layer and those after it.

#ifndef EQUIVAR_NETWORK_H_
#define EQUIVAR_NETWORK_H_

#include <algorithm>
#include <cstdint>

#include "forwards.h"

namespace equivar {

// Reads irreps of the last features: sum over the channels with weights, then the tensor sum_k t_k Q[k].
template <typename T>
struct Readout {
  int irreps, components;
  const int32_t *rows, *dims;  // of each irrep: first component in the features, or -1; 2l + 1
  const T* weights;            // [irreps, f]
  T bias;                      // of the first irrep
  const double* basis;         // Q, [components, 9]

  static Readout Read(Tape<T>& tape, int f) {
    Readout readout{};
    readout.irreps = tape.Integer();
    readout.rows = tape.Integers(readout.irreps);
    readout.dims = tape.Integers(readout.irreps);
    for (int k = 0; k < readout.irreps; ++k) readout.components += readout.dims[k];
    readout.weights = tape.Weights(int64_t(readout.irreps) * f);
    readout.bias = T(tape.Number());
    readout.basis = tape.Numbers(int64_t(readout.components) * 9);
    return readout;
  }

  // Computes the tensor of a node, [3, 3], from its features.
  void Tensor(const T* features, int f, T* tensor) const {
    using V = Simd<T>;
    std::fill(tensor, tensor + 9, T(0));
    for (int k = 0, component = 0; k < irreps; ++k)
      for (int m = 0; m < dims[k]; ++m, ++component) {
        typename V::Vector sum = {};
        if (rows[k] >= 0)
          for (int c = 0; c < f; c += V::W)
            sum += V::Load(features + (rows[k] + m) * f + c) * V::Load(weights + k * f + c);
        const T value = V::Sum(sum) + (component == 0 ? bias : T(0));
        for (int ab = 0; ab < 9; ++ab) tensor[ab] += value * T(basis[component * 9 + ab]);
      }
  }
};

template <typename T>
struct Network {
  Core<T> core;
  Readout<T> born, dielectric;
  const T *element_scale, *element_shift;  // [species], or null

  static Network Read(Tape<T> tape) {
    Network network{Core<T>::Read(tape)};
    network.born = Readout<T>::Read(tape, network.core.channels);
    if (tape.Integer()) {
      network.element_scale = tape.Weights(network.core.species);
      network.element_shift = tape.Weights(network.core.species);
    }
    if (tape.Integer()) network.dielectric = Readout<T>::Read(tape, network.core.channels);
    return network;
  }
};

// Writes the tensors of a node to the results.
template <typename T>
void ReadOut(const Network<T>& network, const T* features, int64_t node, int32_t species, double* born,
             double* dielectric) {
  T tensor[9];
  network.born.Tensor(features, network.core.channels, tensor);
  for (int ab = 0; ab < 9; ++ab) {
    T value = tensor[ab];
    if (network.element_scale)
      value = network.element_scale[species] * value + (ab % 4 == 0 ? network.element_shift[species] : T(0));
    born[node * 9 + ab] = value;
  }
  if (dielectric == nullptr) return;
  network.dielectric.Tensor(features, network.core.channels, tensor);
  std::copy(tensor, tensor + 9, dielectric + node * 9);
}

// Computes the tensors of all nodes before the sum rule, and those of the dielectric readout unless `dielectric`
// is null; [nodes, 3, 3] both. `watch` may be null.
template <typename T>
void Run(const Network<T>& network, const Graph& graph, double* born, double* dielectric,
         const LastFeatures<T>& wanted, int threads, Watch* watch) {
  const Core<T>& core = network.core;
  const int64_t row = int64_t(core.rows(core.layers.size())) * core.channels;
  RunForwards(core, graph, threads, watch,
              [&](int64_t begin, int64_t end, const T* features, LayerWorkspace<T>& work) {
                for (int64_t i = begin; i < end; ++i)
                  ReadOut(network, features + (i - begin) * row, i, graph.species[i], born, dielectric);
                ReadFeatures(core, graph, wanted, begin, end, features, work);
              });
}

}  // namespace equivar

#endif  // EQUIVAR_NETWORK_H_
