#pragma once
// The rules of kernels/optimizer_rule.h in double precision, one tensor at a time, with the size of the errors that f32
// may make on the way.
#include <cmath>
#include <cstdint>
#include <utility>

#include "kernels/optimizer_rule.h"
#include "tests/compare.h"

namespace engine::testing {

using kernels::OptimizerKind;
using kernels::OptimizerRule;

class OptimizerReference {
 public:
  // m and v are empty before the first step.
  OptimizerReference(const OptimizerRule& rule, double lr, double weight_decay, const Array& p, const Array& m = {},
                     const Array& v = {}, int64_t steps = 0)
      : rule_(rule), lr_(lr), decay_(weight_decay), steps_(steps) {
    const Array zeros(p.size());
    const int64_t terms = rule.has_ratio() ? static_cast<int64_t>(p.size()) : 1;
    p_ = {p, zeros, terms};
    m_ = {m.empty() ? zeros : m, zeros, terms};
    v_ = {v.empty() ? zeros : v, zeros, terms};
  }

  // `grad` is multiplied by `grad_scale` first.
  void step(const Array& grad, double grad_scale = 1) {
    ++steps_;
    const size_t n = grad.size();
    Array g = grad, u(n), u_size(n);
    for (double& x : g) x *= grad_scale;
    for (size_t i = 0; i < n; ++i) {
      if (rule_.has_moments()) {
        move_moments(i, g[i]);
        direction(i, &u[i], &u_size[i]);
      }
      if (rule_.kind == OptimizerKind::adamw) continue;
      u[i] += (rule_.has_moments() ? 0 : g[i]) + decay_ * p_.value[i];
      u_size[i] += (rule_.has_moments() ? 0 : std::abs(g[i])) + decay_ * (std::abs(p_.value[i]) + p_.magnitude[i]);
    }
    const auto [ratio, ratio_error] = ratio_of(rule_.kind == OptimizerKind::lars ? g : u, u_size);
    for (size_t i = 0; i < n; ++i) {
      double d = ratio * u[i], size = ratio * (u_size[i] + std::abs(u[i]) * ratio_error);
      if (!rule_.has_moments() && rule_.momentum != 0) {
        const double mu = double{rule_.momentum};
        m_.magnitude[i] = mu * (m_.magnitude[i] + std::abs(m_.value[i])) + size;
        m_.value[i] = mu * m_.value[i] + d;
        size = rule_.nesterov ? size + mu * (m_.magnitude[i] + std::abs(m_.value[i])) : m_.magnitude[i];
        d = rule_.nesterov ? d + mu * m_.value[i] : m_.value[i];
      }
      p_.magnitude[i] += std::abs(p_.value[i]) + lr_ * size;
      if (rule_.kind == OptimizerKind::adamw) p_.value[i] *= 1 - lr_ * decay_;
      p_.value[i] -= lr_ * d;
    }
  }

  const Expected& parameter() const { return p_; }
  const Expected& momentum() const { return m_; }
  const Expected& second_moment() const { return v_; }

 private:
  void move_moments(size_t i, double g) {
    const double b1 = double{rule_.beta1}, b2 = double{rule_.beta2};
    m_.magnitude[i] = b1 * (m_.magnitude[i] + std::abs(m_.value[i])) + (1 - b1) * std::abs(g);
    m_.value[i] = b1 * m_.value[i] + (1 - b1) * g;
    v_.value[i] = b2 * v_.value[i] + (1 - b2) * g * g;
    v_.magnitude[i] = b2 * v_.magnitude[i] + v_.value[i];
  }
  void direction(size_t i, double* u, double* size) const {
    const auto t = static_cast<double>(steps_);
    const double c1 = 1 - std::pow(double{rule_.beta1}, t), c2 = 1 - std::pow(double{rule_.beta2}, t);
    const double denominator = std::sqrt(v_.value[i] / c2) + double{rule_.eps};
    *u = m_.value[i] / c1 / denominator;
    const double relative = v_.value[i] > 0 ? v_.magnitude[i] / v_.value[i] : 0;
    *size = m_.magnitude[i] / c1 / denominator + std::abs(*u) * (1 + relative);
  }
  // The ratio and its relative error in units of eps.
  std::pair<double, double> ratio_of(const Array& other, const Array& other_size) const {
    if (!rule_.has_ratio() || decay_ == 0) return {1, 0};
    double p2 = 0, x2 = 0, p_error = 0, x_error = 0;
    for (size_t i = 0; i < other.size(); ++i) {
      p2 += p_.value[i] * p_.value[i], p_error += std::abs(p_.value[i]) * p_.magnitude[i];
      x2 += other[i] * other[i], x_error += std::abs(other[i]) * other_size[i];
    }
    if (p2 == 0 || x2 == 0) return {1, 0};
    const double p = std::sqrt(p2), x = std::sqrt(x2), error = 2 + p_error / p2 + x_error / x2;
    if (rule_.kind == OptimizerKind::lamb) return {p / x, error};
    return {double{rule_.trust} * p / (x + decay_ * p + double{rule_.eps}), error};
  }

  OptimizerRule rule_;
  double lr_, decay_;
  int64_t steps_;
  Expected p_, m_, v_;
};

}  // namespace engine::testing
