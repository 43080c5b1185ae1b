#include "engine/nn/module.h"

#include <functional>
#include <utility>

#include "engine/storage.h"

namespace engine {
namespace {

// Walks the tree of modules and gives each tensor its dotted name.
class Walk : public ModuleVisitor {
 public:
  using OnTensor = std::function<void(const std::string& name, Tensor& tensor, const ParameterKind* kind)>;
  using OnModule = std::function<void(Module& module)>;
  Walk(OnTensor on_tensor, OnModule on_module) : on_tensor_(std::move(on_tensor)), on_module_(std::move(on_module)) {}

  void parameter(std::string_view name, Tensor& tensor, ParameterKind kind) override {
    if (tensor.defined() && on_tensor_) on_tensor_(prefix_ + std::string(name), tensor, &kind);
  }
  void buffer(std::string_view name, Tensor& tensor) override {
    if (tensor.defined() && on_tensor_) on_tensor_(prefix_ + std::string(name), tensor, nullptr);
  }
  void module(std::string_view name, Module& child) override {
    const size_t length = prefix_.size();
    prefix_.append(name).append(".");
    if (on_module_) on_module_(child);
    child.visit(*this);
    prefix_.resize(length);
  }

 private:
  OnTensor on_tensor_;
  OnModule on_module_;
  std::string prefix_;
};

}  // namespace

std::vector<NamedParameter> Module::parameters() {
  std::vector<NamedParameter> result;
  Walk walk(
      [&](const std::string& name, Tensor& tensor, const ParameterKind* kind) {
        if (kind != nullptr) result.push_back({name, tensor, *kind});
      },
      nullptr);
  visit(walk);
  return result;
}

std::vector<NamedTensor> Module::state() {
  std::vector<NamedTensor> result;
  Walk walk(
      [&](const std::string& name, Tensor& tensor, const ParameterKind*) {
        result.push_back({name, tensor});
      },
      nullptr);
  visit(walk);
  return result;
}

void Module::train(bool on) {
  training_ = on;
  Walk walk(nullptr, [on](Module& module) { module.training_ = on; });
  visit(walk);
}

void Module::to(Device device) {
  Walk walk(
      [&](const std::string&, Tensor& tensor, const ParameterKind*) {
        if (tensor.dtype() == DType::i64) return;  // counters stay on the host
        // The body stays, so that handles which an optimiser holds go along.
        TensorBody& body = *tensor.body();
        body.storage = tensor.to(device).body()->storage;
        if (body.grad.defined()) body.grad = body.grad.to(device);
      },
      nullptr);
  visit(walk);
}

Device Module::device() {
  const std::vector<NamedParameter> all = parameters();
  return all.empty() ? Device{} : all.front().tensor.device();
}

}  // namespace engine
