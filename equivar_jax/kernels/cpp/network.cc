// The functions that equivar_jax/kernels/whole_network.py calls. They need neither Python nor XLA.

#include "network.h"
#include "neighbour_list.h"
#include "polarisation.h"

#include <cstdint>
#include <exception>

namespace equivar {
namespace {

// Returns 0, or 1 if there is not enough memory. `first_result` and `second_result` are those of `Run`.
template <template <typename> class Kind, typename T>
int Call(const int32_t* integers, const double* numbers, const T* weights, int64_t nodes, int64_t edges,
         const int32_t* species, const int32_t* senders, const int32_t* first, const int32_t* counts,
         const double* vectors, double* first_result, double* second_result, const int32_t* known_integers,
         const T* known_weights, double* distances, T* features, int threads, Watch* watch) {
  try {
    const auto network = Kind<T>::Read(Tape<T>(integers, numbers, weights));
    Familiarity<T> known{};
    if (known_integers)
      known = Familiarity<T>::Read(Tape<T>(known_integers, nullptr, known_weights), network.core.channels, network.core.species);
    Run(network, Graph{nodes, edges, species, senders, first, counts, vectors}, first_result, second_result,
        LastFeatures<T>{&known, distances, features}, threads, watch);
    return 0;
  } catch (const std::exception&) {
    return 1;
  }
}

}  // namespace
}  // namespace equivar

#define EQUIVAR_NETWORK(NAME, KIND, TYPE)                                                                        \
  extern "C" int NAME(const int32_t* integers, const double* numbers, const TYPE* weights, int64_t nodes,        \
                      int64_t edges, const int32_t* species, const int32_t* senders, const int32_t* first,       \
                      const int32_t* counts, const double* vectors, double* first_result, double* second_result, \
                      const int32_t* known_integers, const TYPE* known_weights, double* distances,               \
                      TYPE* features, int threads, equivar::Watch* watch) {                                      \
    return equivar::Call<equivar::KIND, TYPE>(integers, numbers, weights, nodes, edges, species, senders, first, \
                                              counts, vectors, first_result, second_result, known_integers,      \
                                              known_weights, distances, features, threads, watch);               \
  }

// Returns the number of pairs, which are written as far as `capacity` goes, or -1 if there is not enough memory.
extern "C" int64_t equivar_neighbours(const double* positions, int64_t atoms, const double* cell,
                                      const int32_t* periodic, double cutoff, int64_t capacity, int32_t* senders,
                                      int32_t* counts, double* vectors) {
  try {
    return equivar::NeighbourSearch(positions, atoms, cell, periodic, cutoff).Find(capacity, senders, counts, vectors);
  } catch (const std::exception&) {
    return -1;
  }
}

EQUIVAR_NETWORK(equivar_network_f32, Network, float)
EQUIVAR_NETWORK(equivar_network_f64, Network, double)
EQUIVAR_NETWORK(equivar_polarisation_f32, PolarisedNetwork, float)
EQUIVAR_NETWORK(equivar_polarisation_f64, PolarisedNetwork, double)
