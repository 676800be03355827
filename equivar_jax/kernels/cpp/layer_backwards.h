// One interaction backwards for a few nodes: from the cotangents of their new features, one for each direction of a
// polarisation, to those of their old features and of the sums over neighbours. A name that ends in _bar or _bars is
// the cotangent of what the name without it stands for.

#ifndef EQUIVAR_LAYER_BACKWARDS_H_
#define EQUIVAR_LAYER_BACKWARDS_H_

#include <algorithm>
#include <cstdint>

#include "functions.h"
#include "layer.h"
#include "tape.h"

namespace equivar {

constexpr int kDirections = 3;

// What a layer needs beside, to go backwards: its matrices transposed, and its coefficients in other orders.
template <typename T>
struct LayerBack {
  int u_rows;                     // rows of U that some coefficient belongs to
  const int32_t *u, *u_end, *out;  // of each such row: its number, the end of its terms; of each term: row of the sums
  const T* coefficient;
  const T *mixing, *self_mix;
  const int32_t *end_of, *column, *factor;  // squares: end of the terms of each component; of each term: its column,
  const T* square_coefficient;              // the component that it multiplies, its coefficient
  const T *mix, *after, *gate_weight;

  static LayerBack Read(Tape<T>& tape, const Layer<T>& layer);
};

template <typename T>
LayerBack<T> LayerBack<T>::Read(Tape<T>& tape, const Layer<T>& layer) {
  LayerBack back{};
  const int64_t square = int64_t(layer.shape.channels) * layer.shape.channels, inputs = layer.inputs.size();
  const int terms = tape.Integer();
  back.u_rows = tape.Integer();
  back.u = tape.Integers(back.u_rows);
  back.u_end = tape.Integers(back.u_rows);
  back.out = tape.Integers(terms);
  back.coefficient = tape.Weights(terms);
  int64_t products = 0;
  for (const auto& output : layer.outputs) products += output.products;
  back.mixing = tape.Weights(products * square);
  if (layer.self_mix) back.self_mix = tape.Weights(inputs * square);
  if (layer.squares.columns) {
    const int slopes = tape.Integer();
    back.end_of = tape.Integers(layer.message_rows);
    back.column = tape.Integers(slopes);
    back.factor = tape.Integers(slopes);
    back.square_coefficient = tape.Weights(slopes);
    back.mix = tape.Weights(int64_t(layer.outputs.size()) * square);
    back.after = tape.Weights(int64_t(layer.squares.dims.size()) * square);
  }
  if (layer.gate_weight) back.gate_weight = tape.Weights((int64_t(layer.results.size()) - 1) * square);
  return back;
}

// Memory of one task. Cotangents are [nodes, directions, rows, f].
template <typename T>
struct BackWorkspace : LayerWorkspace<T> {
  AlignedVector<T> before, bars, gate_bars, message_bars, product_bars, square_bars, column_bars, mixed_bars, kept_bars;
  AlignedVector<T> sums_bars, slopes, u_bars, sums_of_edges;  // for edge_derivatives.h
};

// Replaces the cotangents of the gated features by those of the features before, work.before.
template <typename T>
void GatesBackwards(const Layer<T>& layer, const LayerBack<T>& back, int64_t nodes, T* bars, BackWorkspace<T>& work) {
  using V = Simd<T>;
  const int f = layer.shape.channels, gates = int(layer.results.size()) - 1;
  const int64_t row = int64_t(layer.rows) * f;
  work.gates.resize(std::max<int64_t>(1, nodes * gates * f));
  work.gate_bars.resize(std::max<int64_t>(1, nodes * kDirections * gates * f));
  for (int k = 0; k < gates; ++k)
    MixRows(work.before.data(), layer.rows, 0, layer.gate_weight + int64_t(k) * f * f, work.gates.data(), gates, k, 1,
            nodes, f, work);
  for (int64_t i = 0; i < nodes; ++i) {
    const T* x = work.before.data() + i * row;
    T* bar = bars + i * kDirections * row;
    for (int c = 0; c < f; c += V::W) {
      for (int k = 0; k < gates; ++k) {
        const auto& result = layer.results[k + 1];
        const auto share =
            Sigmoid(V::Load(work.gates.data() + (i * gates + k) * f + c) + V::Load(layer.gate_bias + k * f + c));
        const auto gate = share * T(2), slope = gate * (T(1) - share);
        for (int a = 0; a < kDirections; ++a) {
          typename V::Vector sum = {};
          for (int m = result.row; m < result.row + result.dim; ++m) {
            T* at = bar + a * row + m * f + c;
            sum += V::Load(at) * V::Load(x + m * f + c);
            V::Store(at, V::Load(at) * gate);
          }
          V::Store(work.gate_bars.data() + ((i * kDirections + a) * gates + k) * f + c, sum * slope);
        }
      }
      const auto scalar = V::Load(x + c), share = Sigmoid(scalar);
      const auto slope = (share + scalar * share * (T(1) - share)) * layer.silu_scale;
      for (int a = 0; a < kDirections; ++a) V::Store(bar + a * row + c, V::Load(bar + a * row + c) * slope);
    }
  }
  for (int k = 0; k < gates; ++k)
    MixRows<T, true>(work.gate_bars.data(), gates, k, back.gate_weight + int64_t(k) * f * f, bars, layer.rows, 0, 1,
                     nodes * kDirections, f, work);
}

// Divides the cotangents of the new features among the terms that these are the sums of.
template <typename T>
void ResultsBackwards(const Layer<T>& layer, int64_t nodes, const T* bars, BackWorkspace<T>& work) {
  using V = Simd<T>;
  const int f = layer.shape.channels, own = layer.shape.components, messages = layer.message_rows;
  const int products = layer.squares.columns ? layer.squares.rows : 0;
  const int64_t count = nodes * kDirections;
  work.kept_bars.assign(count * own * f, T(0));
  work.message_bars.assign(count * messages * f, T(0));
  work.product_bars.assign(count * products * f, T(0));
  for (int64_t i = 0; i < count; ++i)
    for (const auto& result : layer.results)
      for (int m = 0; m < result.dim; ++m)
        for (int c = 0; c < f; c += V::W) {
          const auto bar = V::Load(bars + (i * layer.rows + result.row + m) * f + c) * T(result.scale);
          if (result.own >= 0) V::Store(work.kept_bars.data() + (i * own + result.own + m) * f + c, bar);
          if (result.message >= 0) V::Store(work.message_bars.data() + (i * messages + result.message + m) * f + c, bar);
          if (result.square >= 0) V::Store(work.product_bars.data() + (i * products + result.square + m) * f + c, bar);
        }
}

// Computes work.mixed_bars of one node and block of channels from the cotangents of its squares.
template <typename T>
void ProductsBackwards(const Layer<T>& layer, const LayerBack<T>& back, const T* mixed, const T* square_bars,
                       T* mixed_bars, int c, T* column_bars) {
  using V = Simd<T>;
  const auto& squares = layer.squares;
  const int f = layer.shape.channels;
  for (int column = 0; column < squares.columns; ++column) {
    const auto weight = V::Load(squares.path_weights + squares.path_of[column] * f + c);
    for (int a = 0; a < kDirections; ++a)
      V::Store(column_bars + (column * kDirections + a) * V::W,
               V::Load(square_bars + (a * squares.rows + squares.row_of[column]) * f + c) * weight);
  }
  for (int row = 0, t = 0; row < layer.message_rows; ++row) {
    typename V::Vector sum[kDirections] = {};
    for (; t < back.end_of[row]; ++t) {
      const auto factor = V::Load(mixed + back.factor[t] * f + c) * back.square_coefficient[t];
      const T* bar = column_bars + back.column[t] * kDirections * V::W;
      for (int a = 0; a < kDirections; ++a) sum[a] += V::Load(bar + a * V::W) * factor;
    }
    for (int a = 0; a < kDirections; ++a) V::Store(mixed_bars + (a * layer.message_rows + row) * f + c, sum[a]);
  }
}

// Adds to work.message_bars what comes through the products of the messages with themselves.
template <typename T>
void SquaresBackwards(const Layer<T>& layer, const LayerBack<T>& back, int64_t nodes, BackWorkspace<T>& work) {
  using V = Simd<T>;
  const auto& squares = layer.squares;
  const int f = layer.shape.channels, rows = layer.message_rows;
  const int64_t count = nodes * kDirections, size = int64_t(rows) * f;
  work.square_bars.resize(count * squares.rows * f);
  for (size_t k = 0, row = 0; k < squares.dims.size(); row += squares.dims[k++])
    MixRows(work.product_bars.data(), squares.rows, int(row), back.after + int64_t(k) * f * f, work.square_bars.data(),
            squares.rows, int(row), squares.dims[k], count, f, work);
  work.mixed_bars.resize(count * size);
  work.column_bars.resize(squares.columns * kDirections * V::W);
  for (int64_t i = 0; i < nodes; ++i) {
    const T* mixed = work.mixed.data() + i * size;
    T* bars = work.mixed_bars.data() + i * kDirections * size;
    for (int c = 0; c < f; c += V::W)
      ProductsBackwards(layer, back, mixed, work.square_bars.data() + i * kDirections * squares.rows * f, bars, c,
                        work.column_bars.data());
    // y = t x with t = (1 + mean x²)^(-1/4): x_bar = t y_bar - y t³ (y . y_bar) / (2 size).
    const T factor = work.factors[i];
    for (int a = 0; a < kDirections; ++a, bars += size) {
      typename V::Vector sum = {};
      for (int64_t c = 0; c < size; c += V::W) sum += V::Load(bars + c) * V::Load(mixed + c);
      const T share = V::Sum(sum) * factor * factor * factor / T(2 * size);
      for (int64_t c = 0; c < size; c += V::W) V::Store(bars + c, V::Load(bars + c) * factor - V::Load(mixed + c) * share);
    }
  }
  for (size_t k = 0; k < layer.outputs.size(); ++k) {
    const auto& out = layer.outputs[k];
    MixRows<T, true>(work.mixed_bars.data(), rows, out.row, back.mix + int64_t(k) * f * f, work.message_bars.data(), rows,
                     out.row, out.dim, count, f, work);
  }
}

// Computes own_bars, [nodes, directions, components, f], unless it is null, and work.sums_bars, [nodes, directions,
// products, f], from the cotangents of the new features, which are overwritten. work.messages are those of the nodes,
// `own` their old features.
template <typename T>
void InteractBackwards(const Layer<T>& layer, const LayerBack<T>& back, const T* own, const int32_t* species,
                       int64_t nodes, T* bars, T* own_bars, BackWorkspace<T>& work) {
  using V = Simd<T>;
  const int f = layer.shape.channels, rows = layer.shape.components, irreps = int(layer.inputs.size());
  const int64_t count = nodes * kDirections;
  if (layer.gate_weight) {
    work.before.resize(nodes * layer.rows * f);
    NewFeatures(layer, own, species, nodes, work.before.data(), work);
    GatesBackwards(layer, back, nodes, bars, work);
  } else if (layer.squares.columns) {
    MixMessages(layer, nodes, work);
  }
  ResultsBackwards(layer, nodes, bars, work);
  if (layer.squares.columns) SquaresBackwards(layer, back, nodes, work);
  work.sums_bars.resize(count * layer.shape.products * f);
  for (const auto& output : layer.outputs)
    for (int p = 0; p < output.products; ++p)
      MixRows(work.message_bars.data(), layer.message_rows, output.row,
              back.mixing + output.mixing + int64_t(p) * f * f, work.sums_bars.data(), layer.shape.products,
              output.product_rows[p], output.dim, count, f, work);
  if (own_bars == nullptr) return;
  if (!layer.self_mix) {
    std::copy(work.kept_bars.begin(), work.kept_bars.end(), own_bars);
    return;
  }
  for (int k = 0, row = 0; k < irreps; row += layer.inputs[k++]) {
    for (int64_t i = 0; i < count; ++i) {
      const T* factors = layer.self_factors + (int64_t(species[i / kDirections]) * irreps + k) * f;
      for (int m = row; m < row + layer.inputs[k]; ++m) {
        T* at = work.kept_bars.data() + (i * rows + m) * f;
        for (int c = 0; c < f; c += V::W) V::Store(at + c, V::Load(at + c) * V::Load(factors + c));
      }
    }
    MixRows(work.kept_bars.data(), rows, row, back.self_mix + int64_t(k) * f * f, own_bars, rows, row, layer.inputs[k],
            count, f, work);
  }
}

}  // namespace equivar

#endif  // EQUIVAR_LAYER_BACKWARDS_H_
