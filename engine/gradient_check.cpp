#include "engine/gradient_check.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "engine/autograd.h"
#include "engine/error.h"
#include "engine/random.h"

namespace engine {
namespace {

std::vector<float> direction(int64_t count, RandomStream& random) {
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = random.normal();
  return values;
}

double magnitude(const std::vector<float>& values) {
  double sum = 0;
  for (const float value : values) sum += std::abs(double{value});
  return values.empty() ? 0 : sum / static_cast<double>(values.size());
}

// The sum of a[i] * b[i], and that of their magnitudes.
struct Product {
  double sum = 0, magnitude = 0;
};
Product product(const std::vector<float>& a, const std::vector<float>& b) {
  Product result;
  for (size_t i = 0; i < a.size(); ++i) {
    const double term = double{a[i]} * b[i];
    result.sum += term;
    result.magnitude += std::abs(term);
  }
  return result;
}

}  // namespace

void check_gradients(const std::function<Tensor(const Tensors&)>& f, const Tensors& inputs,
                     const GradientCheckOptions& options) {
  Tensors leaves;
  for (size_t i = 0; i < inputs.size(); ++i) {
    check(inputs[i].defined() && inputs[i].dtype() == DType::f32, "check_gradients: input ", i,
          " is undefined or not f32, expected f32; differences of narrower types say little");
    leaves.push_back(inputs[i].clone().set_requires_grad(true));
  }
  RandomStream random(options.seed, 0, 0, purpose::kInitialisation);
  const Tensor y = f(leaves);
  check(y.requires_grad(), "check_gradients: no input leads to the result; is it recorded?");
  check(y.dtype() == DType::f32, "check_gradients: the result holds ", y.dtype(), ", expected f32");
  const std::vector<float> weights = direction(y.numel(), random);
  y.backward(Tensor::from(weights, y.shape(), y.device()));

  const NoGrad no_grad;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const std::vector<float> x = inputs[i].to_vector<float>(), v = direction(inputs[i].numel(), random);
    const double size = magnitude(x), h = (size > 0 ? size : 1) / 32;
    double noise = 0;  // what rounding f's results to f32 can make of nothing
    const auto moved = [&](double steps) {
      std::vector<float> values(x.size());
      for (size_t j = 0; j < x.size(); ++j) values[j] = static_cast<float>(x[j] + steps * h * v[j]);
      Tensors at = inputs;
      at[i] = Tensor::from(values, inputs[i].shape(), inputs[i].device());
      const Product result = product(f(at).to_vector<float>(), weights);
      noise = std::max(noise, result.magnitude * double{std::numeric_limits<float>::epsilon()} / h);
      return result.sum;
    };
    const double by_differences = (8 * (moved(1) - moved(-1)) - (moved(2) - moved(-2))) / (12 * h);
    Product by_tape;
    if (const Tensor& gradient = leaves[i].grad(); gradient.defined())
      by_tape = product(gradient.to_vector<float>(), v);
    const double allowed = options.tolerance * std::max(by_tape.magnitude, std::abs(by_differences)) + noise;
    check(std::abs(by_tape.sum - by_differences) <= allowed, "check_gradients: along a random direction of input ", i,
          ' ', inputs[i].shape(), " the derivative is ", by_tape.sum, " by the tape and ", by_differences,
          " by differences, expected them to agree within ", allowed,
          "; see the closure that is recorded for this input");
  }
}

}  // namespace engine
