#include "tests/models/parity.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>

#include "engine/backend.h"

namespace parity {
namespace {

using engine::Shape;
using engine::Tensor;
using nlohmann::json;

json read_json(const std::string& name) {
  const std::string path = std::string(ENGINE_GOLDEN_DIR) + "/" + name + ".json";
  std::ifstream file(path);
  if (!file) throw std::runtime_error("cannot read " + path);
  return json::parse(file);
}

Digest digest_of(const json& object) {
  return {.norm = object.at("norm"),
          .norm_error = object.at("norm_error"),
          .peak = object.at("peak"),
          .peak_error = object.at("peak_error"),
          .sketches = object.at("sketches"),
          .samples = object.at("samples")};
}

std::map<std::string, Digest> digests_of(const json& object) {
  std::map<std::string, Digest> result;
  for (const auto& [name, digest] : object.items()) result[name] = digest_of(digest);
  return result;
}

// values[i] of an engine tensor of this shape -> index of the element in PyTorch's order.
template <class Visit>
void for_each_in_file_order(const Shape& shape, Visit visit) {
  if (shape.rank() != 4) {
    for (int64_t i = 0; i < shape.numel(); ++i) visit(i, i);
    return;
  }
  const int64_t pixels = shape[1] * shape[2], channels = shape[3];
  int64_t index = 0;
  for (int64_t n = 0; n < shape[0]; ++n) {
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t p = 0; p < pixels; ++p) visit((n * pixels + p) * channels + c, index++);
    }
  }
}

Tensor uniform_tensor(const std::string& name, const Shape& shape, double middle, double spread) {
  const Numbers numbers(name);
  std::vector<float> values(static_cast<size_t>(shape.numel()));
  for_each_in_file_order(shape, [&](int64_t own, int64_t file) {
    values[static_cast<size_t>(own)] =
        static_cast<float>(middle + spread * numbers.uniform(static_cast<uint64_t>(file)));
  });
  return Tensor::from(values, shape);
}

}  // namespace

uint64_t fnv1a(const std::string& text) {
  uint64_t state = 0xcbf29ce484222325u;
  for (const char c : text) state = (state ^ static_cast<uint8_t>(c)) * 0x100000001b3u;
  return state;
}

Numbers::Numbers(const std::string& name) : state_(fnv1a(name)) {}

uint64_t Numbers::bits(uint64_t index) const {  // SplitMix64
  uint64_t z = state_ + (index + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

std::vector<double> values_of(const Tensor& x) {
  const std::vector<float> own = x.to(engine::DType::f32).to_vector<float>();
  std::vector<double> values(own.size());
  for_each_in_file_order(x.shape(), [&](int64_t from, int64_t to) {
    values[static_cast<size_t>(to)] = static_cast<double>(own[static_cast<size_t>(from)]);
  });
  return values;
}

Golden read_golden(const std::string& name) {
  const json object = read_json(name);
  const json& sgd = object.at("sgd");
  return {.image_size = object.at("image_size"),
          .batch = object.at("batch"),
          .lr = sgd.at("lr"),
          .momentum = sgd.at("momentum"),
          .weight_decay = sgd.at("weight_decay"),
          .label_smoothing = sgd.at("label_smoothing"),
          .nesterov = sgd.at("nesterov"),
          .losses = object.at("losses"),
          .loss_errors = object.at("loss_errors"),
          .eval_logits = digest_of(object.at("eval_logits")),
          .logits = digest_of(object.at("logits")),
          .gradients = digests_of(object.at("gradients")),
          .statistics = digests_of(object.at("statistics"))};
}

std::map<std::string, Member> read_family() {
  const json family = read_json("family");
  std::map<std::string, Member> result;
  for (const auto& [name, member] : family.items()) {
    result[name] = {
        .parameters = member.at("parameters"), .entries = member.at("entries"), .fnv1a = member.at("fnv1a")};
  }
  return result;
}

double largest_relative_error(const std::map<std::string, Digest>& group) {
  double largest_norm = 0, result = 0;
  for (const auto& [name, digest] : group) largest_norm = std::max(largest_norm, digest.norm);
  for (const auto& [name, digest] : group) {
    if (digest.norm > 1e-6 * largest_norm) result = std::max(result, digest.norm_error / digest.norm);
  }
  return result;
}

std::string difference(const std::string& name, std::span<const double> values, const Digest& exact, double rho) {
  constexpr double kEps = 0x1p-24;
  const Numbers signs(name + "#signs"), samples(name + "#samples");
  std::vector<double> sketches(exact.sketches.size());
  for (size_t i = 0; i < values.size(); ++i) {
    const uint64_t bits = signs.bits(i);
    for (size_t k = 0; k < sketches.size(); ++k) sketches[k] += (bits >> k & 1) != 0 ? -values[i] : values[i];
  }
  double square = 0;
  for (size_t k = 0; k < sketches.size(); ++k) square += std::pow(sketches[k] - exact.sketches[k], 2);
  const double norm_error = std::sqrt(square / static_cast<double>(sketches.size()));
  const double norm_bound = kMargin * (exact.norm_error + rho * exact.norm) + 2 * kEps * exact.norm;

  double peak_error = 0;
  for (size_t j = 0; j < exact.samples.size(); ++j) {
    peak_error = std::max(peak_error, std::abs(values[samples.bits(j) % values.size()] - exact.samples[j]));
  }
  const double peak_bound = kMargin * (exact.peak_error + rho * exact.peak) + 2 * kEps * exact.peak;

  std::ostringstream text;
  // Written so that NaN fails.
  if (!(norm_error <= norm_bound)) {
    text << name << ": the 2-norm " << exact.norm << " is off by " << norm_error << ", bound " << norm_bound << ". ";
  }
  if (!(peak_error <= peak_bound)) {
    text << name << ": a sample is off by " << peak_error << ", bound " << peak_bound << ", largest element "
         << exact.peak << ". ";
  }
  return text.str();
}

void set_values(engine::Module& module) {
  for (auto& [name, tensor] : module.state()) {
    const Shape& shape = tensor.shape();
    if (name.ends_with("num_batches_tracked")) {
      tensor.mutable_values<int64_t>()[0] = 0;
    } else if (shape.rank() > 1) {
      const double fan_in = static_cast<double>(shape.numel() / shape[0]);
      const double bound = static_cast<double>(static_cast<float>(std::sqrt((shape.rank() == 4 ? 6 : 3) / fan_in)));
      tensor.copy_from(uniform_tensor(name, shape, 0, bound));
    } else {
      // See value_of() in write_goldens.py.
      const bool variance = name.ends_with("running_var");
      const double scale = !variance && name.starts_with("layer") && name.find(".bn") != std::string::npos ? 0.25 : 1;
      const double middle = name.ends_with("weight") || variance ? scale : 0;
      tensor.copy_from(uniform_tensor(name, shape, middle, (variance ? 0.5 : 0.25) * scale));
    }
  }
}

Tensor images(int64_t number, int64_t batch, int64_t size) {
  return uniform_tensor("images" + std::to_string(number), {batch, size, size, 3}, 0, 2);
}

Tensor labels(int64_t number, int64_t batch) {
  const Numbers numbers("labels" + std::to_string(number));
  std::vector<int64_t> values;
  for (int64_t i = 0; i < batch; ++i)
    values.push_back(static_cast<int64_t>(numbers.bits(static_cast<uint64_t>(i)) % 10));
  return Tensor::from(values, {batch});
}

Reproducible::Reproducible() : threads_(engine::num_threads()) {
  engine::set_num_threads(1);
  engine::backend(engine::Device{}).set_deterministic(true);
}

Reproducible::~Reproducible() {
  engine::backend(engine::Device{}).set_deterministic(false);
  engine::set_num_threads(threads_);
}

}  // namespace parity
