#include "engine/autograd.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <utility>

#include "engine/backend.h"
#include "engine/error.h"

namespace engine {
namespace {

thread_local bool recording = true;
thread_local bool in_second_pass = false;
thread_local std::function<void(const Tensor&)> gradient_added;
thread_local TapeObserver* observer = nullptr;
std::atomic<uint64_t> nodes_created{0};
std::atomic<int64_t> nodes_alive{0};

// Deletes a node, and those that only it kept alive, without recursion: a tape dropped unused may be long. The list is
// intrusive because a static tensor may outlive every thread_local object that has a destructor.
void release(Node* node) {
  thread_local Node* waiting = nullptr;
  thread_local bool releasing = false;
  node->next_released = std::exchange(waiting, node);
  if (std::exchange(releasing, true)) return;
  while (waiting != nullptr) {
    const std::unique_ptr<Node> next(std::exchange(waiting, waiting->next_released));
    nodes_alive.fetch_sub(1, std::memory_order_relaxed);
  }
  releasing = false;
}

std::shared_ptr<Node> make_node() {
  nodes_alive.fetch_add(1, std::memory_order_relaxed);
  auto node = std::shared_ptr<Node>(new Node, release);
  node->number = nodes_created.fetch_add(1, std::memory_order_relaxed);
  return node;
}

// sum += addend; takes over the addend when the sum is still empty, writes in place when nobody else sees the sum.
void accumulate(Tensor& sum, Tensor addend) {
  if (!sum.defined()) {
    sum = std::move(addend);
    return;
  }
  if (!sum.unique() && addend.unique()) std::swap(sum, addend);
  addend = in_layout(addend, layout_of(sum));
  Tensor target = sum.unique() ? sum : make_tensor(sum.shape(), sum.dtype(), sum.device(), layout_of(sum));
  backend(sum.device()).binary(BinaryOp::add, sum, addend, target);
  sum = std::move(target);
}

// Adds to the gradient of a leaf, which is the user's: row-major like the leaf, and no other tensor's storage, so that
// clipping it in place changes nothing else.
void accumulate_leaf(Tensor& grad, Tensor addend) {
  addend = in_layout(addend, Layout::nhwc);
  if (!grad.defined() && !addend.unique()) addend = addend.clone();
  accumulate(grad, std::move(addend));
  if (gradient_added) gradient_added(grad);
}

}  // namespace

bool grad_enabled() {
  return recording;
}

NoGrad::NoGrad() : previous_(std::exchange(recording, false)) {}
NoGrad::~NoGrad() {
  recording = previous_;
}

GradientHook::GradientHook(std::function<void(const Tensor&)> added) {
  check(!gradient_added, "GradientHook: there is one in this thread already");
  gradient_added = std::move(added);
}
GradientHook::~GradientHook() {
  gradient_added = nullptr;
}

TapeObserver::TapeObserver() {
  check(observer == nullptr, "TapeObserver: this thread already has one");
  observer = this;
}
TapeObserver::~TapeObserver() {
  observer = nullptr;
}

bool needs_grad(const Tensors& inputs) {
  return recording && std::any_of(inputs.begin(), inputs.end(), [](const Tensor& x) { return x.requires_grad(); });
}

int64_t live_nodes() {
  return nodes_alive.load(std::memory_order_relaxed);
}

Tensor record(Tensor y, const Tensors& inputs, BackwardFunction backward) {
  if (!needs_grad(inputs)) return y;
  check(y.defined() && is_floating(y.dtype()), "record: the result must be a tensor of a float type");
  // A fresh body: `y` itself may have been captured by `backward`, and must not lead back to the node.
  auto body = std::make_shared<TensorBody>();
  body->storage = y.body()->storage;
  body->shape = y.shape();
  body->dtype = y.dtype();
  body->node = make_node();
  for (const Tensor& input : inputs) body->node->inputs.push_back(input.requires_grad() ? input : Tensor{});
  body->node->backward = std::move(backward);
  if (observer != nullptr) observer->computed(body->node->number, y.detach(), inputs);
  return Tensor(std::move(body));
}

bool recomputing() {
  return in_second_pass;
}

Tensor recompute(std::function<Tensor(const Tensor&)> stage, const Tensor& x) {
  if (!needs_grad({x})) return stage(x);
  const Tensor input = x.detach();
  Tensor y;
  {
    const NoGrad no_grad;
    y = stage(input);
  }
  return record(y, {x}, [stage = std::move(stage), input](Tensor dy) {
    struct SecondPass {
      SecondPass() : recorded(std::exchange(recording, true)), second(std::exchange(in_second_pass, true)) {}
      ~SecondPass() {
        recording = recorded;
        in_second_pass = second;
      }
      bool recorded, second;
    };
    const SecondPass pass;
    // No leaf: a leaf's gradient is the user's, row-major and seen by hooks.
    Tensor gradient;
    const Tensor anchor = Tensor::scalar(0).set_requires_grad(true);
    const Tensor again = engine::record(input.detach(), {anchor}, [&gradient](Tensor dx) {
      gradient = std::move(dx);
      return Tensors{{}};
    });
    stage(again).backward(std::move(dy));
    return Tensors{gradient};
  });
}

void Tensor::backward(Tensor dy) const {
  check(defined() && requires_grad(), "backward: no input of this tensor requires a gradient");
  if (!dy.defined()) {
    check(numel() == 1, "backward: the tensor has shape ", shape(),
          "; pass its gradient, or reduce it to one element first");
    dy = full(shape(), 1.0, {dtype(), device()});
  }
  check(dy.shape() == shape() && dy.dtype() == dtype(), "backward: the gradient is ", dy.shape(), " of ", dy.dtype(),
        ", the tensor ", shape(), " of ", dtype());
  const NoGrad no_grad;
  if (!body_->node) {
    accumulate_leaf(body_->grad, std::move(dy));
    return;
  }

  // Every reached node once, the latest first: when a node is visited, all its uses have already added to its gradient.
  struct Pending {
    std::shared_ptr<Node> node;
    Tensor gradient;
  };
  std::map<uint64_t, Pending, std::greater<>> pending;
  pending[body_->node->number] = {body_->node, std::move(dy)};
  while (!pending.empty()) {
    auto [node, gradient] = std::move(pending.begin()->second);
    pending.erase(pending.begin());
    check(node->backward != nullptr,
          "backward: this part of the tape was already used and freed; compute the result again");
    const Tensors inputs = std::exchange(node->inputs, {});
    Tensors gradients = std::exchange(node->backward, nullptr)(std::move(gradient));  // frees what the op saved
    check(gradients.size() == inputs.size(), "backward: an op returned ", gradients.size(), " gradients for ",
          inputs.size(), " inputs");
    if (observer != nullptr) observer->differentiated(node->number, inputs, gradients);
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (!inputs[i].defined() || !gradients[i].defined()) continue;
      check(gradients[i].shape() == inputs[i].shape() && gradients[i].dtype() == inputs[i].dtype(),
            "backward: an op returned a gradient ", gradients[i].shape(), " of ", gradients[i].dtype(),
            " for an input ", inputs[i].shape(), " of ", inputs[i].dtype());
      TensorBody& target = *inputs[i].body();
      if (!target.node) {
        accumulate_leaf(target.grad, std::move(gradients[i]));
        continue;
      }
      Pending& entry = pending[target.node->number];
      entry.node = target.node;
      accumulate(entry.gradient, std::move(gradients[i]));
    }
  }
}

}  // namespace engine
