#pragma once
// Modules are plain structs of tensors and other modules. visit() names them, once, in torchvision's order; everything
// else (parameters, checkpoints, devices, training mode) is derived from it. No registry, no pointers: modules can be
// moved.
#include <string>
#include <string_view>
#include <vector>

#include "engine/tensor.h"

namespace engine {

// What a parameter is, for weight decay by group.
enum class ParameterKind : uint8_t {
  weight,  // filters and matrices
  bias,
  norm,  // gamma and beta of a normalisation
};

struct NamedParameter {
  std::string name;  // as in torchvision's state_dict: "layer1.0.conv1.weight"
  Tensor tensor;     // shares the module's storage and tape body
  ParameterKind kind = ParameterKind::weight;
};

struct NamedTensor {
  std::string name;
  Tensor tensor;
};

class Module;

class ModuleVisitor {
 public:
  virtual ~ModuleVisitor() = default;
  virtual void parameter(std::string_view name, Tensor& tensor, ParameterKind kind) = 0;
  virtual void buffer(std::string_view name, Tensor& tensor) = 0;  // saved, not trained
  virtual void module(std::string_view name, Module& child) = 0;
};

class Module {
 public:
  virtual ~Module() = default;

  // Calls the visitor for each member in the order of torchvision's state_dict. Undefined tensors (an absent bias) are
  // left out.
  virtual void visit(ModuleVisitor& visitor) = 0;

  std::vector<NamedParameter> parameters();
  // Parameters and buffers in order: the names, and the tensors in the engine's layout (filters [K,R,S,C/groups]).
  std::vector<NamedTensor> state();

  // Training mode uses batch statistics and updates the running ones; evaluation mode uses the running ones.
  void train(bool on = true);
  void eval() { train(false); }
  bool training() const { return training_; }

  // Moves every parameter and buffer. Parameters stay f32: the dtype of the input decides the precision of activations.
  void to(Device device);
  // Where the parameters are; the CPU for a module without any.
  Device device();

 protected:
  Module() = default;
  Module(const Module&) = default;
  Module(Module&&) = default;
  Module& operator=(const Module&) = default;
  Module& operator=(Module&&) = default;

 private:
  bool training_ = true;
};

}  // namespace engine
