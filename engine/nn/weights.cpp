#include "engine/nn/weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>
#include <sstream>
#include <utility>

#include "engine/error.h"
#include "engine/text.h"

namespace engine {
namespace {

// The shape in the file of an engine tensor.
Shape file_shape(const Shape& shape) {
  if (shape.rank() != 4) return shape;
  return {shape[0], shape[3], shape[1], shape[2]};
}

// The shape in the engine of a file's tensor.
Shape engine_shape(const Shape& shape) {
  if (shape.rank() != 4) return shape;
  return {shape[0], shape[2], shape[3], shape[1]};
}

bool is_float_type(SafetensorsDType dtype) {
  return dtype == SafetensorsDType::f32 || dtype == SafetensorsDType::bf16 || dtype == SafetensorsDType::f16;
}

// [outer,rows,columns] -> [outer,columns,rows], element by element as bytes; source and target may be unaligned.
void transpose(const std::byte* source, std::byte* target, const Shape& shape, size_t element) {
  const auto outer = static_cast<size_t>(shape[0]), rows = static_cast<size_t>(shape[1]),
             columns = static_cast<size_t>(shape[2]);
  for (size_t o = 0; o < outer; ++o) {
    const std::byte* from = source + o * rows * columns * element;
    std::byte* to = target + o * rows * columns * element;
    for (size_t c = 0; c < columns; ++c) {
      for (size_t r = 0; r < rows; ++r) {
        std::memcpy(to + (c * rows + r) * element, from + (r * columns + c) * element, element);
      }
    }
  }
}

// The elements of a file's tensor in the engine's order of axes.
std::vector<std::byte> in_engine_order(const TensorView& view) {
  std::vector<std::byte> bytes(view.data.begin(), view.data.end());
  if (view.shape.size() == 4) {
    const auto& s = view.shape;
    transpose(view.data.data(), bytes.data(), {s[0], s[1], s[2] * s[3]}, size_of(view.dtype));
  }
  return bytes;
}

template <class T>
Tensor widened(const std::vector<std::byte>& bytes, const Shape& shape) {
  std::vector<float> values(bytes.size() / sizeof(T));
  for (size_t i = 0; i < values.size(); ++i) {
    T value;
    std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
    values[i] = kernels::to_float(value);
  }
  return Tensor::from(values, shape);
}

Tensor host_tensor(const SafetensorsFile& file, const TensorView& view) {
  const std::vector<std::byte> bytes = in_engine_order(view);
  const Shape shape = engine_shape(Shape(view.shape));
  switch (view.dtype) {
    case SafetensorsDType::f32:
      return Tensor::from_bytes(bytes, shape, {.dtype = DType::f32});
    case SafetensorsDType::bf16:
      return widened<bf16>(bytes, shape);
    case SafetensorsDType::f16:
      return widened<f16>(bytes, shape);
    case SafetensorsDType::i64:
      return Tensor::from_bytes(bytes, shape, {.dtype = DType::i64});
    default:
      fail(ErrorKind::checkpoint, file.origin(), ": ", printable(view.name), " holds ", name_of(view.dtype),
           ", expected F32, BF16, F16 or I64");
  }
}

// Rounds f32 elements to T in place, from the first on: an element is read before anything is written over it.
template <class T>
void narrow_in_place(std::byte* bytes, size_t count, const TensorView& view) {
  for (size_t i = 0; i < count; ++i) {
    float wide;
    std::memcpy(&wide, bytes + i * sizeof wide, sizeof wide);
    const T value = kernels::from_float<T>(wide);
    if (std::isfinite(wide) && !std::isfinite(kernels::to_float(value))) {
      fail(ErrorKind::checkpoint, "save_safetensors: ", view.name, " holds ", wide, ", too large for ",
           name_of(dtype_of<T>), "; save it as f32 or bf16");
    }
    std::memcpy(bytes + i * sizeof value, &value, sizeof value);
  }
}

std::string joined(const std::vector<std::string>& parts) {
  constexpr size_t kListed = 5;
  std::ostringstream out;
  for (size_t i = 0; i < std::min(parts.size(), kListed); ++i) out << (i == 0 ? "" : ", ") << parts[i];
  if (parts.size() > kListed) out << " and " << parts.size() - kListed << " more";
  return out.str();
}

}  // namespace

std::string describe(const LoadReport& report) {
  std::vector<std::string> clauses;
  const auto add = [&](const char* what, const std::vector<std::string>& names) {
    if (!names.empty()) clauses.push_back(std::to_string(names.size()) + " " + what + ": " + joined(names));
  };
  add("missing", report.missing);
  add("unexpected", report.unexpected);
  add("misshapen", report.misshapen);
  std::string text;
  for (const std::string& clause : clauses) text += (text.empty() ? "" : "; ") + clause;
  return text;
}

LoadReport load_weights(const SafetensorsFile& file, Module& module, LoadOptions options) {
  std::vector<NamedTensor> state = module.state();
  LoadReport report;
  std::vector<std::pair<Tensor, const TensorView*>> matches;
  std::set<std::string_view> known;
  for (const NamedTensor& own : state) {
    known.insert(own.name);
    const TensorView* found = file.find(own.name);
    if (found == nullptr) {
      report.missing.push_back(own.name);
      continue;
    }
    const Shape expected = file_shape(own.tensor.shape());
    if (found->shape.size() > 6 || Shape(found->shape) != expected) {
      std::ostringstream text;
      text << own.name << " [";
      for (size_t i = 0; i < found->shape.size(); ++i) text << (i == 0 ? "" : ",") << found->shape[i];
      text << "], expected " << expected;
      report.misshapen.push_back(text.str());
      continue;
    }
    const bool counter = own.tensor.dtype() == DType::i64;
    if (counter ? found->dtype != SafetensorsDType::i64 : !is_float_type(found->dtype)) {
      fail(ErrorKind::checkpoint, file.origin(), ": ", own.name, " holds ", name_of(found->dtype), ", expected ",
           counter ? "I64" : "F32, BF16 or F16");
    }
    matches.emplace_back(own.tensor, found);
  }
  for (const TensorView& view : file.entries()) {
    if (!known.contains(view.name)) report.unexpected.push_back(printable(view.name));
  }

  const bool agrees = report.missing.empty() && report.unexpected.empty() && report.misshapen.empty();
  if (!agrees && !options.partial) {
    fail(ErrorKind::checkpoint, file.origin(), ": the tensors are not those of the model: ", describe(report),
         "; choose the model and number of classes that the file was made for, or load partially");
  }
  if (matches.empty()) {
    fail(ErrorKind::checkpoint, file.origin(), ": not one tensor is the model's: ", describe(report));
  }
  for (auto& [own, view] : matches) own.copy_from(host_tensor(file, *view));
  report.loaded = matches.size();
  return report;
}

LoadReport load_safetensors(const std::filesystem::path& path, Module& module, LoadOptions options) {
  return load_weights(SafetensorsFile::open(path), module, options);
}

FileDigest save_safetensors(const std::filesystem::path& path, Module& module, const SaveOptions& options) {
  HostState state(module.state());
  if (options.dtype != DType::f32) state.narrow(options.dtype);
  return write_safetensors(path, state.views(), options.metadata);
}

HostState::HostState(const std::vector<NamedTensor>& state) {
  size_t total = 0;
  for (const NamedTensor& entry : state) total += entry.tensor.bytes();
  bytes_ = std::make_unique<std::byte[]>(total);

  std::byte* target = bytes_.get();
  for (const auto& [name, tensor] : state) {
    const Tensor host = tensor.to(Device{});
    TensorView view = {.name = name, .data = {target, tensor.bytes()}};
    const Shape shape = file_shape(tensor.shape());
    view.shape.assign(shape.extents().begin(), shape.extents().end());
    const std::byte* source = nullptr;
    if (tensor.dtype() == DType::f32) {
      source = reinterpret_cast<const std::byte*>(host.values<float>().data());
      view.dtype = SafetensorsDType::f32;
    } else if (tensor.dtype() == DType::i64) {
      source = reinterpret_cast<const std::byte*>(host.values<int64_t>().data());
      view.dtype = SafetensorsDType::i64;
    } else {
      fail(ErrorKind::internal, "HostState: ", name, " holds ", tensor.dtype(), ", expected f32 or i64");
    }
    const Shape& own = tensor.shape();
    if (own.rank() == 4) {
      transpose(source, target, {own[0], own[1] * own[2], own[3]}, size_of(tensor.dtype()));
    } else if (!view.data.empty()) {
      std::memcpy(target, source, view.data.size());
    }
    target += view.data.size();
    views_.push_back(std::move(view));
  }
}

void HostState::narrow(DType dtype) {
  check(dtype == DType::bf16 || dtype == DType::f16, "save_safetensors: the type is ", dtype,
        ", expected f32, bf16 or f16");
  std::byte* bytes = bytes_.get();
  for (TensorView& view : views_) {
    const size_t size = view.data.size(), count = size / sizeof(float);
    if (view.dtype == SafetensorsDType::f32) {
      if (dtype == DType::bf16) {
        narrow_in_place<bf16>(bytes, count, view);
        view.dtype = SafetensorsDType::bf16;
      } else {
        narrow_in_place<f16>(bytes, count, view);
        view.dtype = SafetensorsDType::f16;
      }
      view.data = view.data.first(2 * count);
    }
    bytes += size;
  }
}

std::vector<NamedTensor> read_state(const SafetensorsFile& file) {
  std::vector<NamedTensor> result;
  for (const TensorView& view : file.entries()) result.push_back({view.name, host_tensor(file, view)});
  return result;
}

}  // namespace engine
