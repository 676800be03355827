// One interaction for a few nodes: messages, then new features from them and from the old ones.

#ifndef EQUIVAR_LAYER_H_
#define EQUIVAR_LAYER_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "edges.h"
#include "functions.h"
#include "message.h"
#include "neighbour_sum.h"
#include "tape.h"

namespace equivar {

// Products of the received message with itself, channel by channel, summed over the paths to each irrep.
template <typename T>
struct Squares {
  int columns = 0, rows;  // columns: components of all paths; rows: of the irreps that they lead to. 0: none
  const int32_t *row_of, *path_of, *end_of;  // of each column: its row, its path, the end of its terms
  const int32_t *i, *j;                      // of each term: the components that are multiplied
  const double* coefficient;
  const T *mix, *path_weights, *after;  // [message irreps, f, f], [paths, f], [irreps, f, f]
  std::vector<int> dims;                // of the irreps that the paths lead to
};

// One irrep of the new features: the sum of up to three terms, times `scale`. A row is -1 where there is none.
struct Result {
  int row, dim, own, message, square;
  double scale;
};

template <typename T>
struct Layer {
  Shape shape;  // of the neighbour sum; table, nodes and edges are not set
  Terms<T> terms;
  MessageWeights<T> message;
  std::vector<int32_t> layout;
  std::vector<Output> outputs;
  int message_rows, rows;  // components of the message and of the new features
  const T* bias;           // of the scalars of the message, [f]
  std::vector<int> inputs;  // dimensions of the irreps of the old features
  const T *self_mix, *self_factors;  // [inputs, f, f] and [species, inputs, f], or null
  Squares<T> squares;
  std::vector<Result> results;
  const T *gate_weight, *gate_bias;  // [results - 1, f, f] and [results - 1, f], or null
  T silu_scale;

  static Layer Read(Tape<T>& tape, int species, int channels, int functions, T softplus_scale, T silu_scale);
};

inline std::vector<int> ReadDimensions(const int32_t* from, int n) { return {from, from + n}; }

template <typename T>
Squares<T> ReadSquares(Tape<T>& tape, int64_t f, int message_irreps) {
  Squares<T> squares;
  if ((squares.columns = tape.Integer()) == 0) return squares;
  const int terms = tape.Integer(), paths = tape.Integer(), irreps = tape.Integer();
  squares.row_of = tape.Integers(squares.columns);
  squares.path_of = tape.Integers(squares.columns);
  squares.end_of = tape.Integers(squares.columns);
  squares.i = tape.Integers(terms);
  squares.j = tape.Integers(terms);
  squares.dims = ReadDimensions(tape.Integers(irreps), irreps);
  squares.coefficient = tape.Numbers(terms);
  squares.rows = 0;
  for (int dim : squares.dims) squares.rows += dim;
  squares.mix = tape.Weights(message_irreps * f * f);
  squares.path_weights = tape.Weights(paths * f);
  squares.after = tape.Weights(irreps * f * f);
  return squares;
}

template <typename T>
Layer<T> Layer<T>::Read(Tape<T>& tape, int species, int channels, int functions, T softplus_scale, T silu_scale) {
  Layer layer{};
  const int64_t f = channels;
  const int n_inputs = tape.Integer();
  layer.inputs = ReadDimensions(tape.Integers(n_inputs), n_inputs);
  int components = 0;
  for (int dim : layer.inputs) components += dim;
  layer.shape = {0, 0, 0, components, channels, tape.Integer()};
  const int n_terms = tape.Integer();
  const int32_t *out = tape.Integers(n_terms), *u = tape.Integers(n_terms);
  layer.terms = Terms<T>(out, u, tape.Numbers(n_terms), n_terms);
  int n_products = 0;
  for (int n = tape.Integer(); n > 0; --n) {
    const int dim = tape.Integer(), products = tape.Integer();
    layer.outputs.push_back({layer.message_rows, dim, products, tape.Integers(products), n_products * f * f});
    layer.message_rows += dim;
    n_products += products;
  }
  layer.message = {tape.Weights(functions * 3 * f), tape.Weights(f), tape.Weights(n_products * f * f), softplus_scale};
  layer.bias = tape.Weights(f);
  if (tape.Integer()) {
    layer.self_mix = tape.Weights(n_inputs * f * f);
    layer.self_factors = tape.Weights(int64_t(species) * n_inputs * f);
  }
  layer.squares = ReadSquares(tape, f, int(layer.outputs.size()));
  const int n_results = tape.Integer();
  for (int k = 0; k < n_results; ++k) {
    Result result{layer.rows, tape.Integer(), tape.Integer(), tape.Integer(), tape.Integer(), tape.Number()};
    layer.results.push_back(result);
    layer.rows += result.dim;
  }
  if (tape.Integer()) {
    layer.gate_weight = tape.Weights((n_results - 1) * f * f);
    layer.gate_bias = tape.Weights((n_results - 1) * f);
  }
  layer.silu_scale = silu_scale;
  return layer;
}

// Memory of one task, used again for each block of nodes.
template <typename T>
struct LayerWorkspace : Workspace<T> {
  EdgeWorkspace<T> edges;
  AlignedVector<T> messages, kept, mixed, factors, squares, products, gates, invariants;
};

// Computes to[i, row + m] (+)= from[i, row' + m] @ matrix for the `dim` components of one irrep of all nodes.
// `from` and `to` have so many rows a node.
template <typename T, bool Add = false>
void MixRows(const T* from, int from_rows, int row, const T* matrix, T* to, int to_rows, int to_row, int dim,
             int64_t nodes, int f, Workspace<T>& work) {
  work.left.resize(nodes * dim);
  work.result.resize(nodes * dim);
  for (int64_t i = 0; i < nodes; ++i)
    for (int m = 0; m < dim; ++m) {
      work.left[i * dim + m] = from + (i * from_rows + row + m) * f;
      work.result[i * dim + m] = to + (i * to_rows + to_row + m) * f;
    }
  MatrixProduct<T, Add>(work.left, matrix, f, f, f, work.result);
}

// Mixes the channels of the old features, and scales them by factors of the species of the node.
template <typename T>
void SelfConnection(const Layer<T>& layer, const T* own, const int32_t* species, int64_t nodes,
                    LayerWorkspace<T>& work) {
  using V = Simd<T>;
  const int f = layer.shape.channels, rows = layer.shape.components, irreps = int(layer.inputs.size());
  work.kept.resize(nodes * rows * f);
  for (int k = 0, row = 0; k < irreps; row += layer.inputs[k++]) {
    const int dim = layer.inputs[k];
    MixRows(own, rows, row, layer.self_mix + int64_t(k) * f * f, work.kept.data(), rows, row, dim, nodes, f, work);
    for (int64_t i = 0; i < nodes; ++i) {
      const T* factors = layer.self_factors + (int64_t(species[i]) * irreps + k) * f;
      for (int m = 0; m < dim; ++m) {
        T* to = work.kept.data() + (i * rows + row + m) * f;
        for (int c = 0; c < f; c += V::W) V::Store(to + c, V::Load(to + c) * V::Load(factors + c));
      }
    }
  }
}

// Computes x / (1 + mean x^2)^(1/4) of each node in place, and the factors of x.
template <typename T>
void Bound(T* x, int64_t nodes, int64_t size, AlignedVector<T>& factors) {
  using V = Simd<T>;
  factors.resize(nodes);
  for (int64_t i = 0; i < nodes; ++i, x += size) {
    typename V::Vector sum = {};
    for (int64_t c = 0; c < size; c += V::W) sum += V::Load(x + c) * V::Load(x + c);
    const T factor = factors[i] = 1 / std::sqrt(std::sqrt(1 + V::Sum(sum) / T(size)));
    for (int64_t c = 0; c < size; c += V::W) V::Store(x + c, V::Load(x + c) * factor);
  }
}

// Mixes the channels of the messages and bounds them, into work.mixed, [nodes, message_rows, f].
template <typename T>
void MixMessages(const Layer<T>& layer, int64_t nodes, LayerWorkspace<T>& work) {
  const int f = layer.shape.channels, rows = layer.message_rows;
  work.mixed.resize(nodes * rows * f);
  for (size_t k = 0; k < layer.outputs.size(); ++k) {
    const auto& out = layer.outputs[k];
    MixRows(work.messages.data(), rows, out.row, layer.squares.mix + int64_t(k) * f * f, work.mixed.data(), rows,
            out.row, out.dim, nodes, f, work);
  }
  Bound(work.mixed.data(), nodes, int64_t(rows) * f, work.factors);
}

// Computes the products of the mixed messages with themselves, into work.products, [nodes, squares.rows, f].
template <typename T>
void MultiplyWithItself(const Layer<T>& layer, int64_t nodes, LayerWorkspace<T>& work) {
  using V = Simd<T>;
  const auto& squares = layer.squares;
  const int f = layer.shape.channels, rows = layer.message_rows;
  work.squares.assign(nodes * squares.rows * f, T(0));
  for (int64_t i = 0; i < nodes; ++i)
    for (int c = 0; c < f; c += V::W) {
      const T* x = work.mixed.data() + i * rows * f + c;
      T* to = work.squares.data() + i * squares.rows * f + c;
      for (int column = 0, t = 0; column < squares.columns; ++column) {
        typename V::Vector sum = {};
        for (; t < squares.end_of[column]; ++t)
          sum += T(squares.coefficient[t]) * (V::Load(x + squares.i[t] * f) * V::Load(x + squares.j[t] * f));
        T* row = to + squares.row_of[column] * f;
        V::Store(row, V::Load(row) + sum * V::Load(squares.path_weights + squares.path_of[column] * f + c));
      }
    }
  work.products.resize(nodes * squares.rows * f);
  for (size_t k = 0, row = 0; k < squares.dims.size(); row += squares.dims[k++])
    MixRows(work.squares.data(), squares.rows, int(row), squares.after + int64_t(k) * f * f, work.products.data(),
            squares.rows, int(row), squares.dims[k], nodes, f, work);
}

// Passes scalars through silu, and multiplies other irreps by 2 sigmoid(scalars @ W + b).
template <typename T>
void ApplyGates(const Layer<T>& layer, T* features, int64_t nodes, LayerWorkspace<T>& work) {
  using V = Simd<T>;
  const int f = layer.shape.channels, gates = int(layer.results.size()) - 1;
  work.gates.resize(std::max<int64_t>(1, nodes * gates * f));
  for (int k = 0; k < gates; ++k)
    MixRows(features, layer.rows, 0, layer.gate_weight + int64_t(k) * f * f, work.gates.data(), gates, k, 1, nodes, f,
            work);
  for (int64_t i = 0; i < nodes; ++i) {
    T* node = features + i * layer.rows * f;
    Silu(node, f, layer.silu_scale);
    for (int k = 0; k < gates; ++k) {
      const auto& result = layer.results[k + 1];
      for (int c = 0; c < f; c += V::W) {
        const T* x = work.gates.data() + (i * gates + k) * f + c;
        const auto gate = Sigmoid(V::Load(x) + V::Load(layer.gate_bias + k * f + c)) * T(2);
        for (int m = 0; m < result.dim; ++m) {
          T* to = node + (result.row + m) * f + c;
          V::Store(to, V::Load(to) * gate);
        }
      }
    }
  }
}

// Computes the new features of some nodes before the gates into `updated`, [nodes, rows, f], from work.messages and
// the old features.
template <typename T>
void NewFeatures(const Layer<T>& layer, const T* own, const int32_t* species, int64_t nodes, T* updated,
                 LayerWorkspace<T>& work) {
  using V = Simd<T>;
  const int f = layer.shape.channels, rows = layer.shape.components;
  if (layer.self_mix) {
    SelfConnection(layer, own, species, nodes, work);
    own = work.kept.data();
  }
  if (layer.squares.columns) {
    MixMessages(layer, nodes, work);
    MultiplyWithItself(layer, nodes, work);
  }
  for (int64_t i = 0; i < nodes; ++i)
    for (const auto& result : layer.results)
      for (int m = 0; m < result.dim; ++m)
        for (int c = 0; c < f; c += V::W) {
          typename V::Vector sum = {};
          if (result.own >= 0) sum += V::Load(own + (i * rows + result.own + m) * f + c);
          if (result.message >= 0) {
            sum += V::Load(work.messages.data() + (i * layer.message_rows + result.message + m) * f + c);
            if (result.row == 0) sum += V::Load(layer.bias + c);  // the scalars come first
          }
          if (result.square >= 0)
            sum += V::Load(work.products.data() + (i * layer.squares.rows + result.square + m) * f + c);
          V::Store(updated + (i * layer.rows + result.row + m) * f + c, sum * T(result.scale));
        }
}

// Computes the new features of the nodes begin to end - 1 into `updated`, [nodes, rows, f]. `radial` is that of
// MessagesOfNodes.
template <typename T, typename EdgesOf>
void Interact(const Layer<T>& layer, const Neighbours<T>& in, const int32_t* species, int functions, int64_t begin,
              int64_t end, const EdgesOf& edges_of, T* updated, T* radial, LayerWorkspace<T>& work) {
  const int64_t nodes = end - begin;
  work.messages.resize(nodes * layer.message_rows * layer.shape.channels);
  MessagesOfNodes(layer.message, in, layer.shape, layer.terms, layer.outputs, functions, begin, end, edges_of,
                  work.messages.data(), radial, work);
  const T* own = in.features + begin * layer.shape.components * layer.shape.channels;
  NewFeatures(layer, own, species + begin, nodes, updated, work);
  if (layer.gate_weight) ApplyGates(layer, updated, nodes, work);
}

}  // namespace equivar

#endif  // EQUIVAR_LAYER_H_
