#include "engine/train/layer_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "engine/autograd.h"
#include "engine/storage.h"

namespace engine {
namespace {

// "layer1.0.conv1+bn1" of layer1.0.conv1 and layer1.0.bn1.
std::string joined_name(const std::vector<std::string>& layers) {
  const std::string& first = layers.front();
  const size_t dot = first.rfind('.');
  const std::string parent = dot == std::string::npos ? "" : first.substr(0, dot + 1);
  std::string name = first;
  for (size_t i = 1; i < layers.size(); ++i)
    name += "+" + (layers[i].starts_with(parent) ? layers[i].substr(parent.size()) : layers[i]);
  return name;
}

class Inspector final : public TapeObserver {
 public:
  explicit Inspector(const std::vector<NamedParameter>& parameters) {
    for (const NamedParameter& parameter : parameters)
      layers_[&parameter.tensor.storage()] = parameter.name.substr(0, parameter.name.rfind('.'));
  }

  void computed(uint64_t node, const Tensor& y, const Tensors& inputs) override {
    LayerRow row;
    std::vector<std::string> layers;
    for (const Tensor& input : inputs) {
      if (!input.defined()) continue;
      const std::string* layer = layer_of(input);
      if (layer == nullptr) continue;
      if (std::find(layers.begin(), layers.end(), *layer) == layers.end()) layers.push_back(*layer);
      row.parameters.add(input);
    }
    if (!layers.empty())
      row.name = last_layer_ = joined_name(layers);
    else if (y.shape().rank() == 0)
      row.name = "loss";
    else
      row.name = last_layer_.empty() ? "input" : "after " + last_layer_;
    row.output.add(y);
    note(row.parameters, "a parameter of " + row.name);
    note(row.output, row.name == "loss" ? "the loss" : "the output of " + described(row.name));
    rows_of_[node] = report.rows.size();
    report.rows.push_back(row);
  }

  void differentiated(uint64_t node, const Tensors& inputs, const Tensors& gradients) override {
    const auto found = rows_of_.find(node);
    if (found == rows_of_.end()) return;
    LayerRow& row = report.rows[found->second];
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (!inputs[i].defined() || !gradients[i].defined()) continue;
      (layer_of(inputs[i]) != nullptr ? row.parameter_gradients : row.gradient).add(gradients[i]);
    }
    note(row.gradient, "the gradient that " + described(row.name) + " passes back");
    note(row.parameter_gradients, "the gradient of the parameters of " + row.name);
  }

  void note(const TensorRange& range, const std::string& what) {
    if (range.not_finite > 0 && report.first_not_finite.empty()) report.first_not_finite = what;
  }

  LayerReport report;

 private:
  const std::string* layer_of(const Tensor& tensor) const {
    const auto found = layers_.find(&tensor.storage());
    return found == layers_.end() ? nullptr : &found->second;
  }
  static std::string described(const std::string& row) {
    return row.starts_with("after ") ? "what comes " + row : row == "loss" ? "the loss" : row;
  }

  std::map<const Storage*, std::string> layers_;
  std::map<uint64_t, size_t> rows_of_;
  std::string last_layer_;
};

std::string cell(const TensorRange& range) {
  if (range.count == 0) return "";
  if (range.not_finite == 0) return fmt::format("{:.3g}", range.largest);
  return fmt::format("{} not finite", range.not_finite);
}

}  // namespace

void TensorRange::add(const Tensor& x) {
  const std::vector<float> values = in_layout(x.detach(), Layout::nhwc).to(Device{}).to(DType::f32).to_vector<float>();
  for (const float value : values) {
    if (std::isfinite(value))
      largest = std::max(largest, std::abs(double{value}));
    else
      ++not_finite;
  }
  count += static_cast<int64_t>(values.size());
}

std::string LayerReport::text() const {
  size_t width = 5;
  for (const LayerRow& row : rows) width = std::max(width, row.name.size());
  const auto line = [&](const std::string& name, const std::string& output, const std::string& parameters,
                        const std::string& gradient, const std::string& of_parameters) {
    return fmt::format("{:<{}}  {:>16}  {:>16}  {:>16}  {:>16}\n", name, width, output, parameters, gradient,
                       of_parameters);
  };
  std::string text = line("layer", "output", "parameters", "gradient back", "param. gradient");
  for (const LayerRow& row : rows)
    text += line(row.name, cell(row.output), cell(row.parameters), cell(row.gradient), cell(row.parameter_gradients));
  return text + (first_not_finite.empty() ? "everything is finite" : "first not finite: " + first_not_finite) + "\n";
}

LayerReport inspect_layers(const TrainableModel& model, const LossOptions& loss, const Tensor& images,
                           const Tensor& target, double loss_scale) {
  std::vector<NamedParameter> parameters = model.module->parameters();
  for (NamedParameter& parameter : parameters) parameter.tensor.clear_grad();
  Inspector inspector(parameters);
  TensorRange input;
  input.add(images);
  inspector.note(input, "the batch of pictures");
  const Tensor value = compute_loss(loss, model.forward(images), target);
  inspector.report.loss = value.item();
  value.backward(Tensor::scalar(loss_scale, {DType::f32, images.device()}));
  for (NamedParameter& parameter : parameters) parameter.tensor.clear_grad();
  return inspector.report;
}

}  // namespace engine
