// The whole network in one call, for inference on a CPU: see equivar_jax/network/compiled.py.
//
// Features of nodes are the only tables that are held: those before a layer and those after it. Features of edges
// are kept from layer to layer if they fit into kKeptBytes, and made again for each layer otherwise, so that
// structures of any size need the memory of two tables. The result of a node depends on its neighbours alone,
// not on threads, blocks, or on the other structures of the batch.

#ifndef EQUIVAR_NETWORK_H_
#define EQUIVAR_NETWORK_H_

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "edges.h"
#include "familiarity.h"
#include "layer.h"
#include "message.h"
#include "tape.h"
#include "threads.h"

namespace equivar {

constexpr int64_t kKeptBytes = int64_t(1) << 28;

// A large array that is not initialised, on large pages where the system has them: neighbours are read from all over
// it.
template <typename T>
class Table {
 public:
  explicit Table(int64_t size) {
    const size_t bytes = std::max<int64_t>(size, 1) * sizeof(T), pages = (bytes + kPage - 1) / kPage * kPage;
    // A small table on a large page would cost the time to clear the page.
    const bool large = bytes >= 4 * kPage;
    data_.reset(static_cast<T*>(large ? std::aligned_alloc(kPage, pages) : std::malloc(bytes)));
    if (!data_) throw std::bad_alloc();
#if defined(__linux__)
    if (large) madvise(data_.get(), pages, MADV_HUGEPAGE);
#endif
  }
  T* get() const { return data_.get(); }

 private:
  static constexpr size_t kPage = size_t(1) << 21;
  struct Free {
    void operator()(T* data) const { std::free(data); }
  };
  std::unique_ptr<T[], Free> data_;
};

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
  int channels, species;
  const T* embedding;  // scalars of each element, [species, f]
  EdgeNetwork<T> edges;
  std::vector<Layer<T>> layers;
  Readout<T> born, dielectric;
  const T *element_scale, *element_shift;  // [species], or null

  static Network Read(Tape<T> tape) {
    Network network{};
    network.channels = tape.Integer();
    network.species = tape.Integer();
    network.embedding = tape.Weights(int64_t(network.species) * network.channels);
    network.edges = EdgeNetwork<T>::Read(tape, network.species);
    const T softplus_scale = T(tape.Number());
    for (int n = tape.Integer(); n > 0; --n)
      network.layers.push_back(Layer<T>::Read(tape, network.species, network.channels, network.edges.functions(),
                                              softplus_scale, network.edges.silu_scale));
    network.born = Readout<T>::Read(tape, network.channels);
    if (tape.Integer()) {
      network.element_scale = tape.Weights(network.species);
      network.element_shift = tape.Weights(network.species);
    }
    if (tape.Integer()) network.dielectric = Readout<T>::Read(tape, network.channels);
    return network;
  }
};

struct Graph {
  int64_t nodes, edges;
  const int32_t *species, *senders, *first, *counts;
  const double* vectors;  // [edges, 3] in Å
};

// Writes the tensors of a node to the results.
template <typename T>
void ReadOut(const Network<T>& network, const T* features, int64_t node, int32_t species, double* born,
             double* dielectric) {
  T tensor[9];
  network.born.Tensor(features, network.channels, tensor);
  for (int ab = 0; ab < 9; ++ab) {
    T value = tensor[ab];
    if (network.element_scale)
      value = network.element_scale[species] * value + (ab % 4 == 0 ? network.element_shift[species] : T(0));
    born[node * 9 + ab] = value;
  }
  if (dielectric == nullptr) return;
  network.dielectric.Tensor(features, network.channels, tensor);
  std::copy(tensor, tensor + 9, dielectric + node * 9);
}

// What a caller in another thread sees and says while a network runs.
struct Watch {
  int64_t done;  // nodes, counted once for each layer
  int64_t stop;  // set by the caller: leave the rest undone
};

// Computes the tensors of all nodes before the sum rule, and those of the dielectric readout unless `dielectric`
// is null; [nodes, 3, 3] both. `watch` may be null.
template <typename T>
void Run(const Network<T>& network, const Graph& graph, double* born, double* dielectric,
         const LastFeatures<T>& wanted, int threads, Watch* watch) {
  const int f = network.channels, stored = network.edges.stored();
  const bool keep = graph.edges * stored * int64_t(sizeof(T)) <= kKeptBytes;
  std::unique_ptr<T[]> kept(keep ? new T[std::max<int64_t>(1, graph.edges * stored)] : nullptr);
  int most = 1;
  for (const auto& layer : network.layers) most = std::max(most, layer.rows);
  Table<T> features(graph.nodes * most * f), updated(network.layers.size() > 1 ? graph.nodes * most * f : 0);
  for (int64_t i = 0; i < graph.nodes; ++i) {
    const T* row = network.embedding + int64_t(graph.species[i]) * f;
    std::copy(row, row + f, features.get() + i * f);
  }
  const int64_t blocks = (graph.nodes + kNodesAtOnce - 1) / kNodesAtOnce;
  for (size_t k = 0; k < network.layers.size(); ++k) {
    const Layer<T>& layer = network.layers[k];
    const bool last = k + 1 == network.layers.size();
    const Neighbours<T> in{features.get(), graph.senders, graph.first, graph.counts};
    OnThreads(blocks, threads, [&] {
      return [&, work = LayerWorkspace<T>(), end_features = AlignedVector<T>(),
              invariants = AlignedVector<T>()](int64_t block) mutable {
        const int64_t begin = block * kNodesAtOnce, end = std::min(graph.nodes, begin + kNodesAtOnce);
        if (watch) {
          if (__atomic_load_n(&watch->stop, __ATOMIC_RELAXED)) return;
          __atomic_fetch_add(&watch->done, end - begin, __ATOMIC_RELAXED);
        }
        const auto edges_of = [&](int64_t i) {
          const int64_t e = graph.first[i], count = graph.counts[i];
          if (keep && k > 0) {
            const T* rows = kept.get() + e * stored;
            const T* harmonics = rows + count * network.edges.functions();
            const T* envelope = network.edges.has_envelope ? harmonics + count * kHarmonics : nullptr;
            return EdgeRows<T>{rows, envelope, harmonics};
          }
          // A block's edges lie together, so each node has its own place in the memory of the task.
          const int64_t first = graph.first[begin];
          if (!keep && i == begin) work.edges.rows.resize((graph.first[end - 1] + graph.counts[end - 1] - first) * stored);
          T* rows = keep ? kept.get() + e * stored : work.edges.rows.data() + (e - first) * stored;
          return FeaturesOfEdges(network.edges, graph.vectors + 3 * e, graph.senders + e, graph.species,
                                 graph.species[i], count, rows, work.edges);
        };
        if (last) end_features.resize(kNodesAtOnce * layer.rows * f);
        T* to = last ? end_features.data() : updated.get() + begin * layer.rows * f;
        Interact(layer, in, graph.species, network.edges.functions(), begin, end, edges_of, to, work);
        if (!last) return;
        invariants.resize(wanted.distances ? wanted.known->size : 0);
        for (int64_t i = begin; i < end; ++i) {
          const T* own = to + (i - begin) * layer.rows * f;
          ReadOut(network, own, i, graph.species[i], born, dielectric);
          if (wanted.distances)
            wanted.distances[i] = wanted.known->Distance(own, f, graph.species[i], invariants.data());
          if (wanted.features) std::copy(own, own + layer.rows * f, wanted.features + i * layer.rows * f);
        }
      };
    });
    std::swap(features, updated);
  }
}

}  // namespace equivar

#endif  // EQUIVAR_NETWORK_H_
