// The functions that XLA calls. They check shapes and divide the work among threads.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "message.h"
#include "neighbour_form.h"
#include "neighbour_sum.h"
#include "node_form.h"
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

// Reads the outputs of a form: for each its slot, whether it is batched, its number of terms, and these.
template <int kSlots>
std::vector<FormOutput<kSlots>> OutputsOfForm(ffi::Span<const int32_t> packed) {
  std::vector<FormOutput<kSlots>> outputs;
  for (const int32_t* at = packed.begin(); at != packed.end();) {
    FormOutput<kSlots> output{at[0], at[1] != 0, {}};
    const int32_t terms = at[2];
    at += 3;
    for (int32_t t = 0; t < terms; ++t, at += kSlots) {
      auto& term = output.terms.emplace_back();
      std::copy(at, at + kSlots, term.begin());
    }
    outputs.push_back(std::move(output));
  }
  return outputs;
}

// Computes derivatives of the form of the neighbours (see neighbour_form.h). `operands` holds the slot of
// each operand and whether it is batched; `sizes` the rows of the table of features, components, channels,
// products and slices of a batch.
template <ffi::DataType D, typename T>
ffi::Error Form(ffi::ThreadPool pool, ffi::Buffer<ffi::S32> senders, ffi::Buffer<ffi::S32> first,
                ffi::Buffer<ffi::S32> counts, ffi::RemainingArgs inputs, ffi::RemainingRets results,
                ffi::Span<const int32_t> out, ffi::Span<const int32_t> u, ffi::Span<const double> coefficient,
                ffi::Span<const int32_t> operands, ffi::Span<const int32_t> outputs, ffi::Span<const int32_t> sizes) {
  const Shape shape{sizes[0], counts.dimensions()[0], senders.dimensions()[0], sizes[1], sizes[2], sizes[3]};
  const int slices = sizes[4];
  if (shape.channels % Simd<T>::W) return ffi::Error::InvalidArgument("channels are no multiple of the vector");
  const int64_t size[kSlots] = {shape.table * shape.components * shape.channels, shape.edges * 3 * shape.channels,
                                shape.edges, shape.edges * kHarmonics, shape.nodes * shape.products * shape.channels};
  Arrays<T> arrays;
  std::vector<std::vector<int>> places;  // of the slices of each operand in its slot
  for (size_t k = 0; k < inputs.size(); ++k) {
    auto buffer = inputs.get<ffi::Buffer<D>>(k);
    if (buffer.has_error()) return buffer.error();
    const int slot = operands[2 * k], count = operands[2 * k + 1] ? slices : 1;
    if (int64_t(buffer->element_count()) != size[slot] * count) return ffi::Error::InvalidArgument("size of an operand");
    auto& place = places.emplace_back();
    for (int b = 0; b < count; ++b) {
      place.push_back(arrays.in[slot].size());
      arrays.in[slot].push_back(buffer->typed_data() + b * size[slot]);
    }
  }
  WorkBuilder builder;
  const auto wanted = OutputsOfForm<kSlots>(outputs);
  for (size_t k = 0; k < wanted.size(); ++k) {
    auto buffer = results.get<ffi::Buffer<D>>(k);
    if (buffer.has_error()) return buffer.error();
    const int slot = wanted[k].slot, count = wanted[k].batched ? slices : 1;
    T* data = (*buffer)->typed_data();
    builder.Add(wanted[k], slices, arrays.out[slot].size(), places);
    for (int b = 0; b < count; ++b) arrays.out[slot].push_back(data + b * size[slot]);
    // Sums are overwritten and features collected below; edges of no node, which are padding, get zeros.
    if (slot != kFeatures && slot != kSums) std::fill(data, data + count * size[slot], T(0));
  }
  const Work work = builder.Build(arrays);
  const Terms<T> terms(out.begin(), u.begin(), coefficient.begin(), out.size());
  const bool collects = !arrays.out[kFeatures].empty();
  // Only outputs in slot x need few parts, since each part has a buffer for them.
  const int64_t threads = std::max<int64_t>(1, pool.num_threads()) * (collects ? 1 : 8);
  auto parts = Divide<T>(counts.typed_data(), shape, threads);
  Parallel(pool, parts.size(), [&](int64_t p) {
    RunPart(work, arrays, senders.typed_data(), first.typed_data(), counts.typed_data(), shape, terms, parts[p]);
  });
  const int64_t row = int64_t(shape.components) * shape.channels;
  constexpr int64_t kBlock = 256;
  const int64_t blocks = (shape.table + kBlock - 1) / kBlock;
  Parallel(pool, blocks * arrays.out[kFeatures].size(), [&](int64_t task) {
    const int64_t o = task / blocks, begin = task % blocks * kBlock, end = std::min(shape.table, begin + kBlock);
    T* result = arrays.out[kFeatures][o];
    std::fill(result + begin * row, result + end * row, T(0));
    for (const auto& part : parts) {
      const int64_t low = std::max(begin, part.first_row), high = std::min(end, part.end_row);
      const T* from = part.x_bars[o].data() - part.first_row * row;
      for (int64_t e = low * row; e < high * row; ++e) result[e] += from[e];
    }
  });
  return ffi::Error::Success();
}

// Computes derivatives of the form of the nodes (see node_form.h). `rows` are the rows of each slot, and `terms` the
// row of each coefficient in each slot, one slot after the other; `operands` and `outputs` are those of `Form`.
template <ffi::DataType D, typename T>
ffi::Error Nodes(ffi::ThreadPool pool, ffi::RemainingArgs inputs, ffi::RemainingRets results,
                 ffi::Span<const int32_t> terms, ffi::Span<const double> coefficient, ffi::Span<const int32_t> operands,
                 ffi::Span<const int32_t> outputs, ffi::Span<const int32_t> rows, int64_t nodes, int64_t channels,
                 int64_t slices) {
  NodeShape shape{nodes, {}, int(channels)};
  if (channels % Simd<T>::W) return ffi::Error::InvalidArgument("channels are no multiple of the vector");
  int64_t size[kNodeSlots];
  NodeTerms<T> list{{}, {coefficient.begin(), coefficient.end()}};
  for (int slot = 0; slot < kNodeSlots; ++slot) {
    shape.rows[slot] = rows[slot];
    size[slot] = (slot == kWeights ? 1 : nodes) * rows[slot] * channels;
    list.row[slot] = terms.begin() + slot * coefficient.size();
  }
  std::vector<const T*> arrays;
  for (size_t k = 0; k < inputs.size(); ++k) {
    auto buffer = inputs.get<ffi::Buffer<D>>(k);
    if (buffer.has_error()) return buffer.error();
    if (int64_t(buffer->element_count()) != size[operands[2 * k]] * (operands[2 * k + 1] ? slices : 1))
      return ffi::Error::InvalidArgument("size of an operand");
    arrays.push_back(buffer->typed_data());
  }
  std::vector<NodeProduct<T>> products;
  const auto wanted = OutputsOfForm<kNodeSlots>(outputs);
  for (size_t o = 0; o < wanted.size(); ++o) {
    auto buffer = results.get<ffi::Buffer<D>>(o);
    if (buffer.has_error()) return buffer.error();
    T* data = (*buffer)->typed_data();
    const int slot = wanted[o].slot;
    std::fill(data, data + size[slot] * (wanted[o].batched ? slices : 1), T(0));
    for (const auto& term : wanted[o].terms) {
      bool varies = wanted[o].batched;
      for (int s = 0; s < kNodeSlots; ++s) varies |= term[s] >= 0 && operands[2 * term[s] + 1];
      for (int64_t b = 0; b < (varies ? slices : 1); ++b) {
        NodeProduct<T> product{{}, data + (wanted[o].batched ? b * size[slot] : 0), slot};
        for (int s = 0; s < kNodeSlots; ++s)
          if (term[s] >= 0) product.in[s] = arrays[term[s]] + (operands[2 * term[s] + 1] ? b * size[s] : 0);
        products.push_back(product);
      }
    }
  }
  // Outputs in the slot of the weights sum over nodes: each part has its own, summed in order in the end, so that
  // results do not depend on which thread is quicker.
  const int64_t parts = std::max<int64_t>(1, std::min<int64_t>(pool.num_threads(), nodes));
  std::vector<AlignedVector<T>> sums(parts);
  std::vector<int64_t> place(products.size(), -1);
  int64_t total = 0;
  for (size_t k = 0; k < products.size(); ++k)
    if (products[k].slot == kWeights) place[k] = total, total += size[kWeights];
  Parallel(pool, parts, [&](int64_t p) {
    sums[p].assign(total, T(0));
    for (size_t k = 0; k < products.size(); ++k) {
      NodeProduct<T> product = products[k];
      if (place[k] >= 0) product.out = sums[p].data() + place[k];
      AddProduct(product, shape, list, nodes * p / parts, nodes * (p + 1) / parts);
    }
  });
  for (size_t k = 0; k < products.size(); ++k)
    for (int64_t p = 0; place[k] >= 0 && p < parts; ++p)
      for (int64_t e = 0; e < size[kWeights]; ++e) products[k].out[e] += sums[p][place[k] + e];
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
      MessagesOfNodes<T>(weights, in, shape, terms, outputs, functions, begin, end, edges_of, result + begin * row,
                         nullptr, work);
    }
  });
  return ffi::Error::Success();
}

}  // namespace
}  // namespace equivar

#define EQUIVAR_FORM(NAME, DTYPE, TYPE)                                            \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(NAME, (equivar::Form<ffi::DTYPE, TYPE>),           \
                                ffi::Ffi::Bind()                                   \
                                    .Ctx<ffi::ThreadPool>()                        \
                                    .Arg<ffi::Buffer<ffi::S32>>()                  \
                                    .Arg<ffi::Buffer<ffi::S32>>()                  \
                                    .Arg<ffi::Buffer<ffi::S32>>()                  \
                                    .RemainingArgs()                               \
                                    .RemainingRets()                               \
                                    .Attr<ffi::Span<const int32_t>>("out")         \
                                    .Attr<ffi::Span<const int32_t>>("u")           \
                                    .Attr<ffi::Span<const double>>("coefficient")  \
                                    .Attr<ffi::Span<const int32_t>>("operands")    \
                                    .Attr<ffi::Span<const int32_t>>("outputs")     \
                                    .Attr<ffi::Span<const int32_t>>("sizes"))

EQUIVAR_FORM(equivar_form_f32, F32, float);
EQUIVAR_FORM(equivar_form_f64, F64, double);

#define EQUIVAR_NODES(NAME, DTYPE, TYPE)                                           \
  XLA_FFI_DEFINE_HANDLER_SYMBOL(NAME, (equivar::Nodes<ffi::DTYPE, TYPE>),          \
                                ffi::Ffi::Bind()                                   \
                                    .Ctx<ffi::ThreadPool>()                        \
                                    .RemainingArgs()                               \
                                    .RemainingRets()                               \
                                    .Attr<ffi::Span<const int32_t>>("terms")       \
                                    .Attr<ffi::Span<const double>>("coefficient")  \
                                    .Attr<ffi::Span<const int32_t>>("operands")    \
                                    .Attr<ffi::Span<const int32_t>>("outputs")     \
                                    .Attr<ffi::Span<const int32_t>>("rows")        \
                                    .Attr<int64_t>("nodes")                        \
                                    .Attr<int64_t>("channels")                     \
                                    .Attr<int64_t>("slices"))

EQUIVAR_NODES(equivar_nodes_f32, F32, float);
EQUIVAR_NODES(equivar_nodes_f64, F64, double);

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
