// The functions that XLA calls. They check shapes and divide the work among threads.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "message.h"
#include "neighbour_sum.h"
#include "parallel.h"
#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

namespace equivar {
namespace {

// The sizes of a problem, from those of its arrays.
template <ffi::DataType D>
Shape ShapeOf(ffi::Buffer<D> features, ffi::Buffer<ffi::S32> senders, int64_t nodes, int64_t products) {
  const auto x = features.dimensions(), j = senders.dimensions();
  return {x[0], nodes, j[0], int(x[1]), int(x[2]), int(products)};
}

// Computes the neighbour sums.
template <ffi::DataType D, typename T>
ffi::Error Forward(ffi::ThreadPool pool, ffi::Buffer<D> features, ffi::Buffer<D> radial, ffi::Buffer<D> harmonics,
                   ffi::Buffer<ffi::S32> senders, ffi::Buffer<ffi::S32> first, ffi::Buffer<ffi::S32> counts, ffi::Span<const int32_t> out,
                   ffi::Span<const int32_t> u, ffi::Span<const double> coefficient, ffi::Result<ffi::Buffer<D>> sums) {
  const Shape shape = ShapeOf(features, senders, counts.dimensions()[0], sums->dimensions()[1]);
  if (shape.channels % Simd<T>::W) return ffi::Error::InvalidArgument("channels are no multiple of the vector");
  const Inputs<T> in{{features.typed_data(), senders.typed_data(), first.typed_data(), counts.typed_data()},
                     radial.typed_data(), harmonics.typed_data()};
  const Terms<T> terms(out.begin(), u.begin(), coefficient.begin(), out.size());
  T* result = sums->typed_data();
  constexpr int64_t kBlock = 32;
  Parallel(pool, (shape.nodes + kBlock - 1) / kBlock, [&, result](int64_t block) {
    std::vector<T> u_rows(kHarmonics * shape.components * Simd<T>::W);
    const int64_t end = std::min(shape.nodes, (block + 1) * kBlock);
    for (int64_t i = block * kBlock; i < end; ++i) {
      const int64_t e = in.first[i];
      SumOfNode(in.features, in.radial + e * 3 * shape.channels, in.harmonics + e * kHarmonics, in.senders + e, in.counts[i],
                shape, terms, u_rows.data(), result + i * shape.products * shape.channels);
    }
  });
  return ffi::Error::Success();
}

// Computes the cotangents (`_bar`) of features, radial part and harmonics from that of the sums. An empty
// harmonics_bar means that nobody wants that cotangent.
template <ffi::DataType D, typename T>
ffi::Error Backward(ffi::ThreadPool pool, ffi::Buffer<D> features, ffi::Buffer<D> radial, ffi::Buffer<D> harmonics,
                    ffi::Buffer<ffi::S32> senders, ffi::Buffer<ffi::S32> first, ffi::Buffer<ffi::S32> counts, ffi::Buffer<D> sums_bar,
                    ffi::Span<const int32_t> out, ffi::Span<const int32_t> u, ffi::Span<const double> coefficient,
                    ffi::Result<ffi::Buffer<D>> features_bar, ffi::Result<ffi::Buffer<D>> radial_bar,
                    ffi::Result<ffi::Buffer<D>> harmonics_bar) {
  const Shape shape = ShapeOf(features, senders, counts.dimensions()[0], sums_bar.dimensions()[1]);
  if (shape.channels % Simd<T>::W) return ffi::Error::InvalidArgument("channels are no multiple of the vector");
  const Inputs<T> in{{features.typed_data(), senders.typed_data(), first.typed_data(), counts.typed_data()},
                     radial.typed_data(), harmonics.typed_data()};
  const Terms<T> terms(out.begin(), u.begin(), coefficient.begin(), out.size());
  const Cotangents<T> bar{sums_bar.typed_data(), radial_bar->typed_data(),
                          harmonics_bar->element_count() ? harmonics_bar->typed_data() : nullptr};
  // Edges that belong to no node, which are padding, get their zeros here.
  std::fill(bar.radial, bar.radial + shape.edges * 3 * shape.channels, T(0));
  if (bar.harmonics) std::fill(bar.harmonics, bar.harmonics + shape.edges * kHarmonics, T(0));
  auto parts = Divide<T>(in, shape, std::max<int64_t>(1, pool.num_threads()));
  Parallel(pool, parts.size(), [&](int64_t p) { RunPart(in, shape, terms, bar, parts[p]); });

  T* result = features_bar->typed_data();
  const int64_t row = int64_t(shape.components) * shape.channels;
  constexpr int64_t kBlock = 256;
  Parallel(pool, (shape.table + kBlock - 1) / kBlock, [&](int64_t block) {
    const int64_t begin = block * kBlock, end = std::min(shape.table, begin + kBlock);
    std::fill(result + begin * row, result + end * row, T(0));
    for (const auto& part : parts) {
      const int64_t low = std::max(begin, part.first_row), high = std::min(end, part.end_row);
      const T* from = part.x_bar.data() - part.first_row * row;
      for (int64_t e = low * row; e < high * row; ++e) result[e] += from[e];
    }
  });
  return ffi::Error::Success();
}

// Lists the irreps of the result. `layout` holds a pair (dimension, number of products) for each irrep,
// `product_rows` the first row of every product in the sums.
std::vector<Output> OutputsOf(ffi::Span<const int32_t> layout, ffi::Span<const int32_t> product_rows, int f) {
  std::vector<Output> outputs;
  int row = 0, product = 0;
  for (size_t k = 0; k + 1 < layout.size(); k += 2) {
    outputs.push_back({row, layout[k], layout[k + 1], product_rows.begin() + product, int64_t(product) * f * f});
    row += layout[k];
    product += layout[k + 1];
  }
  return outputs;
}

// Computes the messages of an interaction in one pass (see message.h).
template <ffi::DataType D, typename T>
ffi::Error Message(ffi::ThreadPool pool, ffi::Buffer<D> features, ffi::Buffer<D> basis, ffi::Buffer<D> envelope,
                   ffi::Buffer<D> harmonics, ffi::Buffer<ffi::S32> senders, ffi::Buffer<ffi::S32> first,
                   ffi::Buffer<ffi::S32> counts, ffi::Buffer<D> edge_weight, ffi::Buffer<D> edge_bias,
                   ffi::Buffer<D> mixing, ffi::Span<const int32_t> out, ffi::Span<const int32_t> u,
                   ffi::Span<const double> coefficient, ffi::Span<const int32_t> layout,
                   ffi::Span<const int32_t> product_rows, double softplus_scale, int64_t products,
                   ffi::Result<ffi::Buffer<D>> messages) {
  const Shape shape = ShapeOf(features, senders, counts.dimensions()[0], products);
  if (shape.channels % Simd<T>::W) return ffi::Error::InvalidArgument("channels are no multiple of the vector");
  const Neighbours<T> in{features.typed_data(), senders.typed_data(), first.typed_data(), counts.typed_data()};
  const MessageWeights<T> weights{edge_weight.typed_data(), edge_bias.typed_data(), mixing.typed_data(),
                                  T(softplus_scale)};
  const T* ends = envelope.element_count() ? envelope.typed_data() : nullptr;
  const Terms<T> terms(out.begin(), u.begin(), coefficient.begin(), out.size());
  const auto outputs = OutputsOf(layout, product_rows, shape.channels);
  const int functions = basis.dimensions()[1];
  const auto edges_of = [&](int64_t i) {
    const int64_t e = in.first[i];
    return EdgeRows<T>{basis.typed_data() + e * functions, ends ? ends + e : nullptr,
                       harmonics.typed_data() + e * kHarmonics};
  };
  T* result = messages->typed_data();
  const int64_t row = messages->dimensions()[1] * shape.channels;
  const int64_t blocks = (shape.nodes + kNodesAtOnce - 1) / kNodesAtOnce;
  const int64_t tasks = std::min<int64_t>(blocks, 8 * std::max<int64_t>(1, pool.num_threads()));
  Parallel(pool, tasks, [&, result](int64_t task) {
    Workspace<T> work;
    for (int64_t block = blocks * task / tasks; block < blocks * (task + 1) / tasks; ++block) {
      const int64_t begin = block * kNodesAtOnce, end = std::min(shape.nodes, begin + kNodesAtOnce);
      MessagesOfNodes(weights, in, shape, terms, outputs, functions, begin, end, edges_of, result + begin * row, work);
    }
  });
  return ffi::Error::Success();
}

}  // namespace
}  // namespace equivar

#define EQUIVAR_FORWARD(NAME, DTYPE, TYPE)                                                                   \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(NAME, (equivar::Forward<ffi::DTYPE, TYPE>),                                           \
                                ffi::Ffi::Bind()                                                             \
                                    .Ctx<ffi::ThreadPool>()                                                  \
                                    .Arg<ffi::Buffer<ffi::DTYPE>>()                                          \
                                    .Arg<ffi::Buffer<ffi::DTYPE>>()                                          \
                                    .Arg<ffi::Buffer<ffi::DTYPE>>()                                          \
                                    .Arg<ffi::Buffer<ffi::S32>>()                                            \
                                    .Arg<ffi::Buffer<ffi::S32>>()                                            \
                                    .Arg<ffi::Buffer<ffi::S32>>()                                            \
                                    .Attr<ffi::Span<const int32_t>>("out")                                   \
                                    .Attr<ffi::Span<const int32_t>>("u")                                     \
                                    .Attr<ffi::Span<const double>>("coefficient")                            \
                                    .Ret<ffi::Buffer<ffi::DTYPE>>())
#define EQUIVAR_BACKWARD(NAME, DTYPE, TYPE)                                                                  \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(NAME, (equivar::Backward<ffi::DTYPE, TYPE>),                                          \
                                ffi::Ffi::Bind()                                                             \
                                    .Ctx<ffi::ThreadPool>()                                                  \
                                    .Arg<ffi::Buffer<ffi::DTYPE>>()                                          \
                                    .Arg<ffi::Buffer<ffi::DTYPE>>()                                          \
                                    .Arg<ffi::Buffer<ffi::DTYPE>>()                                          \
                                    .Arg<ffi::Buffer<ffi::S32>>()                                            \
                                    .Arg<ffi::Buffer<ffi::S32>>()                                            \
                                    .Arg<ffi::Buffer<ffi::S32>>()                                            \
                                    .Arg<ffi::Buffer<ffi::DTYPE>>()                                          \
                                    .Attr<ffi::Span<const int32_t>>("out")                                   \
                                    .Attr<ffi::Span<const int32_t>>("u")                                     \
                                    .Attr<ffi::Span<const double>>("coefficient")                            \
                                    .Ret<ffi::Buffer<ffi::DTYPE>>()                                          \
                                    .Ret<ffi::Buffer<ffi::DTYPE>>()                                          \
                                    .Ret<ffi::Buffer<ffi::DTYPE>>())

EQUIVAR_FORWARD(equivar_forward_f32, F32, float);
EQUIVAR_FORWARD(equivar_forward_f64, F64, double);
EQUIVAR_BACKWARD(equivar_backward_f32, F32, float);
EQUIVAR_BACKWARD(equivar_backward_f64, F64, double);

#define EQUIVAR_MESSAGE(NAME, DTYPE, TYPE)                                                                   \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(NAME, (equivar::Message<ffi::DTYPE, TYPE>),                                  \
                                ffi::Ffi::Bind()                                                             \
                                    .Ctx<ffi::ThreadPool>()                                                  \
                                    .Arg<ffi::Buffer<ffi::DTYPE>>()                                          \
                                    .Arg<ffi::Buffer<ffi::DTYPE>>()                                          \
                                    .Arg<ffi::Buffer<ffi::DTYPE>>()                                          \
                                    .Arg<ffi::Buffer<ffi::DTYPE>>()                                          \
                                    .Arg<ffi::Buffer<ffi::S32>>()                                            \
                                    .Arg<ffi::Buffer<ffi::S32>>()                                            \
                                    .Arg<ffi::Buffer<ffi::S32>>()                                            \
                                    .Arg<ffi::Buffer<ffi::DTYPE>>()                                          \
                                    .Arg<ffi::Buffer<ffi::DTYPE>>()                                          \
                                    .Arg<ffi::Buffer<ffi::DTYPE>>()                                          \
                                    .Attr<ffi::Span<const int32_t>>("out")                                   \
                                    .Attr<ffi::Span<const int32_t>>("u")                                     \
                                    .Attr<ffi::Span<const double>>("coefficient")                            \
                                    .Attr<ffi::Span<const int32_t>>("layout")                                \
                                    .Attr<ffi::Span<const int32_t>>("product_rows")                          \
                                    .Attr<double>("softplus_scale")                                          \
                                    .Attr<int64_t>("products")                                               \
                                    .Ret<ffi::Buffer<ffi::DTYPE>>())

EQUIVAR_MESSAGE(equivar_message_f32, F32, float);
EQUIVAR_MESSAGE(equivar_message_f64, F64, double);
