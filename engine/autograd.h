#pragma once
// Reverse-mode differentiation on a tape of closures.
//
// An op computes its result from detached tensors and then calls record() with the closure that maps dy to the
// gradients of its inputs. Nodes carry creation numbers; backward() visits them in descending order, iteratively, each
// exactly once, and frees what a node saved as soon as the node has run. Gradients are summed: into the grad of a leaf,
// or on the way down.
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "engine/tensor.h"

namespace engine {

// Maps dy (shape and dtype of the op's result) to one gradient per input, in order, each with its input's shape and
// dtype. An undefined tensor means zero. Runs under NoGrad. The closure may capture detached tensors only: capturing
// the result or an attached input would make a cycle. dy is passed by value: if it is unique() the closure may write
// into it.
using BackwardFunction = std::function<Tensors(Tensor dy)>;

struct Node {
  uint64_t number = 0;
  Tensors inputs;  // handles to bodies of the op's inputs (only those that require a gradient are defined)
  BackwardFunction backward;
  Node* next_released = nullptr;  // used while nodes are deleted
};

// Attaches `y` to the tape: y = f(inputs), with `backward` its vector-Jacobian product. Returns y. Does nothing more
// than return y while gradients are off or when no input requires one.
Tensor record(Tensor y, const Tensors& inputs, BackwardFunction backward);

// True if record() would attach a result of these inputs: ops skip saving for backward if not.
bool needs_grad(const Tensors& inputs);
bool grad_enabled();

// Switches recording off for this thread while it lives.
class NoGrad {
 public:
  NoGrad();
  ~NoGrad();
  NoGrad(const NoGrad&) = delete;
  NoGrad& operator=(const NoGrad&) = delete;

 private:
  bool previous_;
};

// stage(x), without keeping what the backward pass needs of it: that pass computes the stage a second time, into the
// same bits, and then has what it needs (Chen et al. 2016, "Training deep nets with sublinear memory cost"). Gradients
// of x and of all leaves that the stage uses are as ever. If x requires none, the stage runs as if called.
Tensor recompute(std::function<Tensor(const Tensor&)> stage, const Tensor& x);

// In such a second pass: what a forward pass counts or averages was counted in the first.
bool recomputing();

// While it lives, `added` is called with the gradient of each leaf that a backward pass of this thread has added to,
// right after that. One at a time.
class GradientHook {
 public:
  explicit GradientHook(std::function<void(const Tensor& gradient)> added);
  ~GradientHook();
  GradientHook(const GradientHook&) = delete;
  GradientHook& operator=(const GradientHook&) = delete;
};

// While it lives, sees what this thread's operations compute and what their backward passes return: for diagnosis. One
// at a time. Tensors are handed over as they are then: later operations may write into their storage.
class TapeObserver {
 public:
  TapeObserver();
  virtual ~TapeObserver();
  TapeObserver(const TapeObserver&) = delete;
  TapeObserver& operator=(const TapeObserver&) = delete;

  // record() has attached y, the result of `inputs`, as this node.
  virtual void computed(uint64_t node, const Tensor& y, const Tensors& inputs) = 0;
  // backward() has come through the node: one gradient an input; undefined where none is asked for.
  virtual void differentiated(uint64_t node, const Tensors& inputs, const Tensors& gradients) = 0;
};

// How many nodes exist, of this and every other tape: for tests and tools.
int64_t live_nodes();

}  // namespace engine
