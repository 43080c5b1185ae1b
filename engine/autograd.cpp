#include "engine/autograd.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <utility>

#include "engine/backend.h"
#include "engine/error.h"

namespace engine {
namespace {

thread_local bool recording = true;
std::atomic<uint64_t> nodes_created{0};
std::atomic<int64_t> nodes_alive{0};

std::shared_ptr<Node> make_node() {
  nodes_alive.fetch_add(1, std::memory_order_relaxed);
  auto node = std::shared_ptr<Node>(new Node, [](Node* released) {
    nodes_alive.fetch_sub(1, std::memory_order_relaxed);
    delete released;
  });
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

}  // namespace

bool grad_enabled() {
  return recording;
}

NoGrad::NoGrad() : previous_(std::exchange(recording, false)) {}
NoGrad::~NoGrad() {
  recording = previous_;
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
  return Tensor(std::move(body));
}

void Tensor::backward(Tensor dy) const {
  check(defined() && requires_grad(), "backward: no input of this tensor requires a gradient");
  if (!dy.defined()) {
    check(numel() == 1, "backward: the tensor has shape ", shape(),
          "; pass its gradient, or reduce it to one element first");
    dy = full(shape(), 1.0, {dtype(), device()});
  }
  check(dy.shape() == shape(), "backward: the gradient has shape ", dy.shape(), ", the tensor ", shape());
  const NoGrad no_grad;
  if (!body_->node) {
    accumulate(body_->grad, std::move(dy));
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
    for (size_t i = 0; i < inputs.size(); ++i) {
      if (!inputs[i].defined() || !gradients[i].defined()) continue;
      check(gradients[i].shape() == inputs[i].shape(), "backward: an op returned a gradient of shape ",
            gradients[i].shape(), " for an input of shape ", inputs[i].shape());
      TensorBody& target = *inputs[i].body();
      if (!target.node) {
        accumulate(target.grad, std::move(gradients[i]));
        continue;
      }
      Pending& entry = pending[target.node->number];
      entry.node = target.node;
      accumulate(entry.gradient, std::move(gradients[i]));
    }
  }
}

}  // namespace engine
