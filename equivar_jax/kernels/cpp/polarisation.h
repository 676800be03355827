// The network of a polarisation in one call: dipoles of the nodes, and the derivatives of their sum by the positions, the
// tensors: see equivar_jax/network/polarisation.py.
//
// Forwards as every network, with the table of features before each layer held; then backwards, with the cotangents of
// the features for the three directions of the polarisation on both sides of one layer: at most L + 4 tables for L >= 3
// layers. What belongs to edges is there for kNodesBackwards nodes at a time, unless all of it fits into kKeptBytes and
// is kept. Results do not depend on threads or on other structures.

#ifndef EQUIVAR_POLARISATION_H_
#define EQUIVAR_POLARISATION_H_

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "edge_derivatives.h"
#include "forwards.h"
#include "layer_backwards.h"

namespace equivar {

constexpr int64_t kNodesBackwards = 1024;
constexpr int64_t kPassesBack = 3;  // the work of one interaction backwards, in forward ones

template <typename T>
struct PolarisedNetwork {
  Core<T> core;
  std::vector<LayerBack<T>> back;
  int row;                   // of the first component of the vectors in the last features
  const T *weights, *scale;  // [f], [species]

  static PolarisedNetwork Read(Tape<T> tape) {
    PolarisedNetwork network{Core<T>::Read(tape)};
    network.row = tape.Integer();
    network.weights = tape.Weights(network.core.channels);
    network.scale = tape.Weights(network.core.species);
    for (const auto& layer : network.core.layers) network.back.push_back(LayerBack<T>::Read(tape, layer));
    return network;
  }
};

// What the nodes of a part of a structure hand on from one half of a layer backwards to the other.
template <typename T>
struct Handed {
  std::unique_ptr<Table<T>> own, sums, radial, harmonics, derivatives;
  std::vector<const T*> harmonics_of;  // of the edges of each node
};

// A pass forwards and back.
template <typename T>
class Derivatives {
 public:
  Derivatives(const PolarisedNetwork<T>& network, const Graph& graph, int threads, Watch* watch)
      : network_(network), core_(network.core), graph_(graph), threads_(threads), watch_(watch) {
    const int64_t f = core_.channels, layers = core_.layers.size(), stored = core_.edges.stored();
    int64_t rows = 0;
    for (const auto& layer : core_.layers) rows += layer.message_rows;
    const int64_t of_edge = stored + core_.edges.stored_slopes() + layers * 3 * f;
    if ((graph.edges * of_edge + graph.nodes * rows * f) * int64_t(sizeof(T)) > kKeptBytes) return;
    kept_.edges = Keep(graph.edges * stored);
    kept_.slopes = Keep(graph.edges * core_.edges.stored_slopes());
    for (const auto& layer : core_.layers) {
      kept_.radial.push_back(Keep(graph.edges * 3 * f));
      kept_.messages.push_back(Keep(graph.nodes * layer.message_rows * f));
    }
  }

  const Kept<T>& kept() const { return kept_; }

  // Makes the table of the features before a layer.
  T* table(size_t k) {
    tables_.emplace_back(new Table<T>(graph_.nodes * core_.rows(k) * core_.channels));
    return tables_.back()->get();
  }

  // Adds the derivatives to `tensors`, [nodes, directions, 3], after the pass forwards.
  void Run(double* tensors) {
    for (size_t k = core_.layers.size(); k-- > 0;) {
      const Layer<T>& layer = core_.layers[k];
      // Before the first layer the features depend on the elements alone.
      std::unique_ptr<Table<T>> earlier;
      if (k > 0) earlier.reset(new Table<T>(graph_.nodes * kDirections * layer.shape.components * core_.channels));
      for (int64_t begin = 0; begin < graph_.nodes; begin += kNodesBackwards) {
        const int64_t end = std::min(graph_.nodes, begin + kNodesBackwards);
        Prepare(layer, begin, end, k > 0);
        OnThreads((end - begin + kNodesAtOnce - 1) / kNodesAtOnce, threads_, [&] {
          return [&, work = BackWorkspace<T>()](int64_t block) mutable {
            const int64_t from = begin + block * kNodesAtOnce, to = std::min(end, from + kNodesAtOnce);
            if (!IsStopped(watch_, kPassesBack * (to - from))) Block(k, begin, from, to, work);
          };
        });
        if (watch_ && __atomic_load_n(&watch_->stop, __ATOMIC_RELAXED)) return;
        // The first task needs but few operations; each of the others has a table of its own.
        const int channels = blocks_of_channels(), together = threads_ > channels ? 1 : kDirections;
        OnThreads(k > 0 ? 1 + kDirections / together * channels : 1, threads_, [&] {
          return [&, u_bars = AlignedVector<T>()](int64_t task) mutable {
            if (task == 0)
              AddDerivatives(begin, end, tensors);
            else if (together == 1)
              AddCotangents<1>(k, begin, end, int(task - 1) / channels, int(task - 1) % channels, earlier->get(), u_bars);
            else
              AddCotangents<kDirections>(k, begin, end, 0, int(task - 1), earlier->get(), u_bars);
          };
        });
      }
      bars_ = std::move(earlier);
      tables_.pop_back();
    }
  }

 private:
  static constexpr int W = Simd<T>::W;
  T* Keep(int64_t size) {
    held_.emplace_back(new Table<T>(size));
    return held_.back()->get();
  }

  int blocks_of_channels() const { return core_.channels / W; }

  void Prepare(const Layer<T>& layer, int64_t begin, int64_t end, bool has_earlier) {
    const int64_t nodes = end - begin, edges = graph_.edge(end) - graph_.first[begin], f = core_.channels;
    if (has_earlier) handed_.own.reset(new Table<T>(nodes * kDirections * layer.shape.components * f));
    handed_.sums.reset(new Table<T>(nodes * kDirections * layer.shape.products * f));
    handed_.derivatives.reset(new Table<T>(edges * kDirections * 3));
    handed_.harmonics_of.resize(nodes);
    if (kept_.edges) return;
    handed_.radial.reset(new Table<T>(edges * 3 * f));
    handed_.harmonics.reset(new Table<T>(edges * kHarmonics));
  }

  // rho of an edge of the part that begins with a node.
  T* radial_of(size_t k, int64_t part, int64_t edge) const {
    const int64_t width = 3 * core_.channels;
    if (kept_.edges) return kept_.radial[k] + edge * width;
    return handed_.radial->get() + (edge - graph_.first[part]) * width;
  }

  // Cotangents of the sums of a node of a part for a block of channels, [directions, products, W].
  T* sums_of(const Layer<T>& layer, int64_t part, int64_t node, int block) const {
    const int64_t nodes = std::min(graph_.nodes - part, kNodesBackwards);
    return handed_.sums->get() + (block * nodes + node - part) * kDirections * layer.shape.products * W;
  }

  // Collects the cotangents of the features after layer k into work.bars, [nodes, directions, rows, f].
  void Collect(size_t k, int64_t begin, int64_t end, BackWorkspace<T>& work) const {
    const int f = core_.channels, rows = core_.layers[k].rows;
    work.bars.assign((end - begin) * kDirections * rows * f, T(0));
    T* to = work.bars.data();
    for (int64_t i = begin; i < end; ++i)
      for (int a = 0; a < kDirections; ++a, to += rows * f) {
        if (k + 1 == core_.layers.size()) {
          const T scale = network_.scale[graph_.species[i]];
          for (int c = 0; c < f; ++c) to[(network_.row + a) * f + c] = scale * network_.weights[c];
          continue;
        }
        for (int c = 0; c < f; c += W) {
          const T* from = bars_->get() + ((a * blocks_of_channels() + c / W) * graph_.nodes + i) * rows * W;
          for (int m = 0; m < rows; ++m) Simd<T>::Store(to + m * f + c, Simd<T>::Load(from + m * W));
        }
      }
  }

  // Goes backwards through layer k for nodes of the part that begins with node `part`, up to what is handed on.
  void Block(size_t k, int64_t part, int64_t begin, int64_t end, BackWorkspace<T>& work) {
    const Layer<T>& layer = core_.layers[k];
    const int f = core_.channels, functions = core_.edges.functions();
    const int64_t nodes = end - begin, own_size = int64_t(layer.shape.components) * f;
    const T* features = tables_[k]->get();
    std::vector<EdgeRows<T>> rows;
    const auto edges_of = [&](int64_t i) {
      rows.push_back(EdgesOfNode(core_, graph_, kept_, false, true, begin, i, work.edges));
      return rows.back();
    };
    work.messages.resize(nodes * layer.message_rows * f);
    if (kept_.edges) {
      const T* from = kept_.messages[k] + begin * layer.message_rows * f;
      std::copy(from, from + work.messages.size(), work.messages.begin());
      for (int64_t i = begin; i < end; ++i) edges_of(i);
    } else {
      const Neighbours<T> in{features, graph_.senders, graph_.first, graph_.counts};
      MessagesOfNodes(layer.message, in, layer.shape, layer.terms, layer.outputs, functions, begin, end, edges_of,
                      work.messages.data(), radial_of(k, part, graph_.first[begin]), work);
    }
    Collect(k, begin, end, work);
    T* own_bars = k ? handed_.own->get() + (begin - part) * kDirections * own_size : nullptr;
    InteractBackwards(layer, network_.back[k], features + begin * own_size, graph_.species + begin, nodes,
                      work.bars.data(), own_bars, work);
    const int rows_of_sums = kDirections * layer.shape.products;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t e = graph_.first[i], count = graph_.counts[i], place = e - graph_.first[part];
      NodeEdges<T> edges{graph_.vectors + 3 * e, graph_.senders + e, count, rows[i - begin], radial_of(k, part, e)};
      RadialSlopes(layer.message, f, functions, edges.rows.slopes, edges.radial, count, work);
      edges.slopes = work.slopes.data();
      const auto sums_bars = [&](int c) {
        T* to = sums_of(layer, part, i, c / W);
        const T* from = work.sums_bars.data() + (i - begin) * rows_of_sums * f + c;
        for (int m = 0; m < rows_of_sums; ++m) Simd<T>::Store(to + m * W, Simd<T>::Load(from + m * f));
        return to;
      };
      DerivativesOfEdges(layer, network_.back[k], edges, features, sums_bars,
                         handed_.derivatives->get() + place * kDirections * 3, work);
      handed_.harmonics_of[i - part] = edges.rows.harmonics;
      if (kept_.edges) continue;
      T* to = handed_.harmonics->get() + place * kHarmonics;
      std::copy(edges.rows.harmonics, edges.rows.harmonics + count * kHarmonics, to);
      handed_.harmonics_of[i - part] = to;
    }
  }

  // Adds the derivatives of the edges of a part to the tensors of the atoms at both ends.
  void AddDerivatives(int64_t begin, int64_t end, double* tensors) const {
    const T* from = handed_.derivatives->get();
    for (int64_t i = begin; i < end; ++i)
      for (int64_t e = graph_.first[i]; e < graph_.first[i] + graph_.counts[i]; ++e, from += 9)
        for (int ab = 0; ab < 9; ++ab) {
          tensors[graph_.senders[e] * int64_t(9) + ab] += from[ab];
          tensors[i * 9 + ab] -= from[ab];
        }
  }

  // Adds to the tables of cotangents of the features before layer k, [directions, blocks, nodes, components, W], what
  // comes from the nodes of a part, for D directions and a block of channels.
  template <int D>
  void AddCotangents(size_t k, int64_t begin, int64_t end, int direction, int block, T* earlier,
                     AlignedVector<T>& u_bars) const {
    const Layer<T>& layer = core_.layers[k];
    const int f = core_.channels, components = layer.shape.components;
    const int64_t size = graph_.nodes * components * W;
    T* bars[D];
    for (int a = 0; a < D; ++a) {
      bars[a] = earlier + ((direction + a) * blocks_of_channels() + block) * size;
      if (begin == 0) std::fill(bars[a], bars[a] + size, T(0));
    }
    u_bars.resize(kHarmonics * components * D * W);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = (i - begin) * kDirections + direction, e = graph_.first[i];
      for (int a = 0; a < D; ++a) {
        const T* own = handed_.own->get() + (row + a) * components * f + block * W;
        T* to = bars[a] + i * components * W;
        for (int m = 0; m < components; ++m)
          Simd<T>::Store(to + m * W, Simd<T>::Load(to + m * W) + Simd<T>::Load(own + m * f));
      }
      SendersOfNode<T, D>(layer, network_.back[k], radial_of(k, begin, e) + block * W, handed_.harmonics_of[i - begin],
                          graph_.senders + e, graph_.counts[i],
                          sums_of(layer, begin, i, block) + direction * layer.shape.products * W, u_bars.data(), bars);
    }
  }

  const PolarisedNetwork<T>& network_;
  const Core<T>& core_;
  const Graph& graph_;
  const int threads_;
  Watch* const watch_;
  std::unique_ptr<Table<T>> bars_;  // cotangents of the features after a layer, table after table
  std::vector<std::unique_ptr<Table<T>>> held_;
  Kept<T> kept_;
  std::vector<std::unique_ptr<Table<T>>> tables_;  // of the features before each layer
  Handed<T> handed_;
};

// Computes the dipoles of all nodes in e Å, [nodes, 3], and the derivatives of their sum by the positions, [nodes,
// directions, 3], unless `tensors` is null. `watch` may be null.
template <typename T>
void Run(const PolarisedNetwork<T>& network, const Graph& graph, double* tensors, double* dipoles,
         const LastFeatures<T>& wanted, int threads, Watch* watch) {
  using V = Simd<T>;
  const Core<T>& core = network.core;
  const int f = core.channels;
  const auto read = [&](int64_t begin, int64_t end, const T* features, LayerWorkspace<T>& work) {
    ReadFeatures(core, graph, wanted, begin, end, features, work);
    for (int64_t i = begin; i < end; ++i, features += core.rows(core.layers.size()) * f)
      for (int a = 0; a < kDirections; ++a) {
        typename V::Vector sum = {};
        for (int c = 0; c < f; c += V::W)
          sum += V::Load(features + (network.row + a) * f + c) * V::Load(network.weights + c);
        dipoles[i * kDirections + a] = V::Sum(sum) * network.scale[graph.species[i]];
      }
  };
  if (tensors == nullptr) {
    RunForwards(core, graph, threads, watch, read);
    return;
  }
  std::fill(tensors, tensors + graph.nodes * 9, 0.0);
  Derivatives<T> derivatives(network, graph, threads, watch);
  RunForwards(core, graph, derivatives.kept(), threads, watch, [&](size_t k) { return derivatives.table(k); }, read);
  derivatives.Run(tensors);
}

}  // namespace equivar

#endif  // EQUIVAR_POLARISATION_H_
