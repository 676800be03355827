// The part that all networks share, for inference on a CPU: embedding and interactions, forwards.
//
// Features of edges, and what derivatives need beside, are kept from layer to layer if they fit into kKeptBytes, and
// made again for each layer otherwise, so that structures of any size need the memory of a few tables of features. The
// result of a node depends on its neighbours alone, not on threads, blocks, or on the other structures of the batch.

#ifndef EQUIVAR_FORWARDS_H_
#define EQUIVAR_FORWARDS_H_

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

template <typename T>
struct Core {
  int channels, species;
  const T* embedding;  // scalars of each element, [species, f]
  EdgeNetwork<T> edges;
  std::vector<Layer<T>> layers;

  static Core Read(Tape<T>& tape) {
    Core core{};
    core.channels = tape.Integer();
    core.species = tape.Integer();
    core.embedding = tape.Weights(int64_t(core.species) * core.channels);
    core.edges = EdgeNetwork<T>::Read(tape, core.species);
    const T softplus_scale = T(tape.Number());
    for (int n = tape.Integer(); n > 0; --n)
      core.layers.push_back(Layer<T>::Read(tape, core.species, core.channels, core.edges.functions(), softplus_scale,
                                           core.edges.silu_scale));
    return core;
  }

  // Rows of the features before layer k, or of those after the last one.
  int rows(size_t k) const { return k ? layers[k - 1].rows : 1; }
};

struct Graph {
  int64_t nodes, edges;
  const int32_t *species, *senders, *first, *counts;
  const double* vectors;  // [edges, 3] in Å

  // The first edge of a node, or the number of edges for the node after the last.
  int64_t edge(int64_t node) const { return node < nodes ? first[node] : edges; }
};

// What a caller in another thread sees and says while a network runs.
struct Watch {
  int64_t done;  // nodes, counted once for each layer; backwards more often
  int64_t stop;  // set by the caller: leave the rest undone
};

// Counts nodes that are about to be done; returns whether they shall be left undone.
inline bool IsStopped(Watch* watch, int64_t nodes) {
  if (!watch) return false;
  if (__atomic_load_n(&watch->stop, __ATOMIC_RELAXED)) return true;
  __atomic_fetch_add(&watch->done, nodes, __ATOMIC_RELAXED);
  return false;
}

// What is kept of a pass forwards; null where it does not fit, or is not wanted.
template <typename T>
struct Kept {
  T *edges = nullptr, *slopes = nullptr;  // see FeaturesOfEdges
  std::vector<T*> radial, messages;       // of each layer: [edges, 3, f]; [nodes, rows of messages, f]; or empty
};

// Returns the features of the edges of node i of the block that starts at node `begin`, and their slopes if asked for.
// They are made if they are not kept, or `is_first`.
template <typename T>
EdgeRows<T> EdgesOfNode(const Core<T>& core, const Graph& graph, const Kept<T>& kept, bool is_first, bool with_slopes,
                        int64_t begin, int64_t i, EdgeWorkspace<T>& work) {
  const auto& network = core.edges;
  const int stored = network.stored(), functions = network.functions(), more = network.stored_slopes();
  const int64_t e = graph.first[i], count = graph.counts[i], first = graph.first[begin];
  if (!kept.edges && i == begin) {  // a block's edges lie together, so each node has its own place in this memory
    const int64_t size = graph.edge(std::min(graph.nodes, begin + kNodesAtOnce)) - first;
    work.rows.resize(size * stored);
    if (with_slopes) work.slopes.resize(size * more);
  }
  T* rows = kept.edges ? kept.edges + e * stored : work.rows.data() + (e - first) * stored;
  T* slopes = nullptr;
  if (with_slopes) slopes = kept.slopes ? kept.slopes + e * more : work.slopes.data() + (e - first) * more;
  if (kept.edges && !is_first)
    return {rows, nullptr, rows + count * functions, slopes, slopes ? slopes + count * functions : nullptr};
  return FeaturesOfEdges(network, graph.vectors + 3 * e, graph.senders + e, graph.species, graph.species[i], count,
                         rows, slopes, work);
}

// Runs all interactions. `table(k)` returns the table of the features before layer k, [nodes, rows, f]; `read` is
// called for blocks of nodes with their last features.
template <typename T, typename TableOf, typename Read>
void RunForwards(const Core<T>& core, const Graph& graph, const Kept<T>& kept, int threads, Watch* watch,
                 const TableOf& table, const Read& read) {
  const int f = core.channels;
  T* features = table(0);
  for (int64_t i = 0; i < graph.nodes; ++i) {
    const T* row = core.embedding + int64_t(graph.species[i]) * f;
    std::copy(row, row + f, features + i * f);
  }
  const int64_t blocks = (graph.nodes + kNodesAtOnce - 1) / kNodesAtOnce;
  for (size_t k = 0; k < core.layers.size(); ++k) {
    const Layer<T>& layer = core.layers[k];
    const bool last = k + 1 == core.layers.size();
    const Neighbours<T> in{features, graph.senders, graph.first, graph.counts};
    T* updated = last ? nullptr : table(k + 1);
    OnThreads(blocks, threads, [&] {
      return [&, work = LayerWorkspace<T>(), end_features = AlignedVector<T>()](int64_t block) mutable {
        const int64_t begin = block * kNodesAtOnce, end = std::min(graph.nodes, begin + kNodesAtOnce);
        if (IsStopped(watch, end - begin)) return;
        if (last) end_features.resize(kNodesAtOnce * layer.rows * f);
        T* to = last ? end_features.data() : updated + begin * layer.rows * f;
        const auto edges_of = [&](int64_t i) {
          return EdgesOfNode(core, graph, kept, k == 0, k == 0 && kept.slopes, begin, i, work.edges);
        };
        Interact(layer, in, graph.species, core.edges.functions(), begin, end, edges_of, to,
                 kept.radial.empty() ? nullptr : kept.radial[k] + graph.first[begin] * int64_t(3) * f, work);
        if (!kept.messages.empty())
          std::copy(work.messages.begin(), work.messages.end(), kept.messages[k] + begin * layer.message_rows * f);
        if (last) read(begin, end, to, work);
      };
    });
    features = updated;
  }
}

// Does so with two tables of features: those before a layer and those after it.
template <typename T, typename Read>
void RunForwards(const Core<T>& core, const Graph& graph, int threads, Watch* watch, const Read& read) {
  const int64_t f = core.channels, size = graph.edges * core.edges.stored();
  std::unique_ptr<T[]> edges(size * int64_t(sizeof(T)) <= kKeptBytes ? new T[std::max<int64_t>(1, size)] : nullptr);
  int most = 1;
  for (const auto& layer : core.layers) most = std::max(most, layer.rows);
  const Table<T> even(graph.nodes * most * f), odd(core.layers.size() > 1 ? graph.nodes * most * f : 0);
  Kept<T> kept;
  kept.edges = edges.get();
  RunForwards(core, graph, kept, threads, watch, [&](size_t k) { return (k % 2 ? odd : even).get(); }, read);
}

// Hands on what is wanted of the last features of nodes.
template <typename T>
void ReadFeatures(const Core<T>& core, const Graph& graph, const LastFeatures<T>& wanted, int64_t begin, int64_t end,
                  const T* features, LayerWorkspace<T>& work) {
  const int f = core.channels, rows = core.rows(core.layers.size());
  work.invariants.resize(wanted.distances ? wanted.known->size : 0);
  for (int64_t i = begin; i < end; ++i, features += rows * f) {
    if (wanted.distances)
      wanted.distances[i] = wanted.known->Distance(features, f, graph.species[i], work.invariants.data());
    if (wanted.features) std::copy(features, features + rows * f, wanted.features + i * rows * f);
  }
}

}  // namespace equivar

#endif  // EQUIVAR_FORWARDS_H_
