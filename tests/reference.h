#pragma once
// What the operations mean, as plain loops in double precision: one function per operation, in the notation of the
// headers (x [N,H,W,C], w [K,R,S,C/groups], y [N,P,Q,K], row-major).
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <vector>

#include "kernels/types.h"
#include "tests/compare.h"

namespace engine::testing {

using kernels::Conv2dShape;

struct Sum {
  double value = 0, magnitude = 0;
  void add(double a, double b = 1) {
    value += a * b;
    magnitude += std::abs(a * b);
  }
};

// One element of y = conv(x, w).
inline Sum conv_forward_at(const Conv2dShape& s, const Array& x, const Array& w, int64_t index) {
  const int64_t k = index % s.k, q = index / s.k % s.q(), p = index / (s.k * s.q()) % s.p();
  const int64_t n = index / (s.k * s.q() * s.p()), group_c = s.c / s.groups, first_c = k / (s.k / s.groups) * group_c;
  Sum sum;
  for (int64_t r = 0; r < s.r; ++r)
    for (int64_t t = 0; t < s.s; ++t) {
      const int64_t i = p * s.stride + r - s.padding, j = q * s.stride + t - s.padding;
      if (i < 0 || i >= s.h || j < 0 || j >= s.w) continue;
      for (int64_t c = 0; c < group_c; ++c)
        sum.add(x[static_cast<size_t>(((n * s.h + i) * s.w + j) * s.c + first_c + c)],
                w[static_cast<size_t>(((k * s.r + r) * s.s + t) * group_c + c)]);
    }
  return sum;
}

// One element of dx.
inline Sum conv_backward_data_at(const Conv2dShape& s, const Array& dy, const Array& w, int64_t index) {
  const int64_t c = index % s.c, j = index / s.c % s.w, i = index / (s.c * s.w) % s.h, n = index / (s.c * s.w * s.h);
  const int64_t group_c = s.c / s.groups, group_k = s.k / s.groups, first_k = c / group_c * group_k;
  Sum sum;
  for (int64_t r = 0; r < s.r; ++r)
    for (int64_t t = 0; t < s.s; ++t) {
      const int64_t row = i + s.padding - r, column = j + s.padding - t;
      if (row < 0 || column < 0 || row % s.stride || column % s.stride) continue;
      const int64_t p = row / s.stride, q = column / s.stride;
      if (p >= s.p() || q >= s.q()) continue;
      for (int64_t k = first_k; k < first_k + group_k; ++k)
        sum.add(dy[static_cast<size_t>(((n * s.p() + p) * s.q() + q) * s.k + k)],
                w[static_cast<size_t>(((k * s.r + r) * s.s + t) * group_c + c % group_c)]);
    }
  return sum;
}

// One element of dw.
inline Sum conv_backward_weights_at(const Conv2dShape& s, const Array& x, const Array& dy, int64_t index) {
  const int64_t group_c = s.c / s.groups, c = index % group_c, t = index / group_c % s.s;
  const int64_t r = index / (group_c * s.s) % s.r, k = index / (group_c * s.s * s.r);
  const int64_t x_c = k / (s.k / s.groups) * group_c + c;
  Sum sum;
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t p = 0; p < s.p(); ++p)
      for (int64_t q = 0; q < s.q(); ++q) {
        const int64_t i = p * s.stride + r - s.padding, j = q * s.stride + t - s.padding;
        if (i < 0 || i >= s.h || j < 0 || j >= s.w) continue;
        sum.add(x[static_cast<size_t>(((n * s.h + i) * s.w + j) * s.c + x_c)],
                dy[static_cast<size_t>(((n * s.p() + p) * s.q() + q) * s.k + k)]);
      }
  return sum;
}

// Sums over everything but the last axis.
inline Expected channel_sums(const Array& x, int64_t channels) {
  Expected sums{Array(static_cast<size_t>(channels)), Array(static_cast<size_t>(channels)),
                static_cast<int64_t>(x.size()) / channels};
  for (size_t i = 0; i < x.size(); ++i) {
    sums.value[i % static_cast<size_t>(channels)] += x[i];
    sums.magnitude[i % static_cast<size_t>(channels)] += std::abs(x[i]);
  }
  return sums;
}

struct BatchNormReference {
  Array mean, rstd, unbiased_var;  // [C]
  Array mean_abs;                  // mean of |x|, for the bounds
  Expected y;

  // x and residual (may be empty) are [..., C].
  BatchNormReference(const Array& x, const Array& gamma, const Array& beta, const Array& residual, bool relu,
                     double eps) {
    const size_t c = gamma.size(), count = x.size() / c;
    const auto m = static_cast<double>(count);
    mean = rstd = unbiased_var = mean_abs = Array(c);
    for (size_t i = 0; i < x.size(); ++i) mean[i % c] += x[i] / m, mean_abs[i % c] += std::abs(x[i]) / m;
    Array m2(c);
    for (size_t i = 0; i < x.size(); ++i) m2[i % c] += (x[i] - mean[i % c]) * (x[i] - mean[i % c]);
    for (size_t k = 0; k < c; ++k) {
      rstd[k] = 1 / std::sqrt(m2[k] / m + eps);
      unbiased_var[k] = m2[k] / std::max(m - 1, 1.0);
    }
    y = {Array(x.size()), Array(x.size()), static_cast<int64_t>(count)};
    for (size_t i = 0; i < x.size(); ++i) {
      const size_t k = i % c;
      double v = (x[i] - mean[k]) * rstd[k] * gamma[k] + beta[k];
      // The mean and the deviation carry the errors of their own sums.
      double s =
          (std::abs(x[i]) + mean_abs[k] + std::abs(x[i] - mean[k])) * rstd[k] * std::abs(gamma[k]) + std::abs(beta[k]);
      if (!residual.empty()) v += residual[i], s += std::abs(residual[i]);
      y.value[i] = relu ? std::max(v, 0.0) : v;
      y.magnitude[i] = s;
    }
  }
};

struct BatchNormGradients {
  Expected dx, dgamma, dbeta, dresidual;

  // `y` (may be empty) masks dy where y <= 0. mean and rstd as the forward pass gave them.
  BatchNormGradients(Array dy, const Array& y, const Array& x, const Array& gamma, const Array& mean, const Array& rstd,
                     bool training) {
    const size_t c = gamma.size();
    const auto count = static_cast<int64_t>(x.size() / c);
    const auto m = static_cast<double>(count);
    if (!y.empty())
      for (size_t i = 0; i < dy.size(); ++i)
        if (!(y[i] > 0)) dy[i] = 0;
    dresidual = Expected::elementwise(dy);
    dgamma = dbeta = {Array(c), Array(c), count};
    for (size_t i = 0; i < dy.size(); ++i) {
      const size_t k = i % c;
      const double term = dy[i] * (x[i] - mean[k]) * rstd[k];
      dgamma.value[k] += term, dgamma.magnitude[k] += std::abs(term);
      dbeta.value[k] += dy[i], dbeta.magnitude[k] += std::abs(dy[i]);
    }
    dx = {Array(x.size()), Array(x.size()), training ? count : 1};
    for (size_t i = 0; i < dy.size(); ++i) {
      const size_t k = i % c;
      const double normal = (x[i] - mean[k]) * rstd[k], scale = gamma[k] * rstd[k];
      dx.value[i] = scale * dy[i];
      dx.magnitude[i] = std::abs(scale * dy[i]);
      if (!training) continue;
      dx.value[i] -= scale * (dbeta.value[k] + normal * dgamma.value[k]) / m;
      dx.magnitude[i] += std::abs(scale) * (dbeta.magnitude[k] + std::abs(normal) * dgamma.magnitude[k]) / m;
    }
  }
};

struct PoolReference {
  int64_t n, h, w, c, window, stride, padding;
  int64_t p() const { return (h + 2 * padding - window) / stride + 1; }
  int64_t q() const { return (w + 2 * padding - window) / stride + 1; }

  // Calls visit(output index, position in the window, input index) for every covered input of every output, window
  // positions in order.
  template <class Visit>
  void for_each(const Visit& visit) const {
    for (int64_t i = 0; i < n * p() * q() * c; ++i) {
      const int64_t channel = i % c, column = i / c % q(), row = i / (c * q()) % p(), image = i / (c * q() * p());
      for (int64_t position = 0; position < window * window; ++position) {
        const int64_t y = row * stride - padding + position / window, x = column * stride - padding + position % window;
        if (y < 0 || y >= h || x < 0 || x >= w) continue;
        visit(static_cast<size_t>(i), position, static_cast<size_t>(((image * h + y) * w + x) * c + channel));
      }
    }
  }
};

// c[rows, columns] = a[rows, inner] b[inner, columns], given as functions of the indices.
template <class A, class B>
Expected product(int64_t rows, int64_t inner, int64_t columns, const A& a, const B& b) {
  Expected c{{}, {}, inner};
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j) {
      Sum sum;
      for (int64_t k = 0; k < inner; ++k) sum.add(a(i, k), b(k, j));
      c.value.push_back(sum.value);
      c.magnitude.push_back(sum.magnitude);
    }
  return c;
}

struct SoftmaxLoss {
  double loss = 0;
  Array dlogits;

  // targets: soft, [N,K]
  SoftmaxLoss(const Array& logits, const Array& targets, int64_t n, double smoothing) : dlogits(logits.size()) {
    const auto k = static_cast<int64_t>(logits.size()) / n;
    for (int64_t row = 0; row < n; ++row) {
      const double* z = logits.data() + row * k;
      const double largest = *std::max_element(z, z + k);
      double sum = 0, mass = 0;
      for (int64_t i = 0; i < k; ++i) sum += std::exp(z[i] - largest);
      const auto target = [&](int64_t i) {
        return (1 - smoothing) * targets[static_cast<size_t>(row * k + i)] + smoothing / static_cast<double>(k);
      };
      for (int64_t i = 0; i < k; ++i) {
        mass += target(i);
        loss += target(i) * (largest + std::log(sum) - z[i]) / static_cast<double>(n);
      }
      for (int64_t i = 0; i < k; ++i)
        dlogits[static_cast<size_t>(row * k + i)] =
            (mass * std::exp(z[i] - largest) / sum - target(i)) / static_cast<double>(n);
    }
  }
};

struct BinaryLoss {
  double loss = 0, magnitude = 0;  // magnitude: of its terms together
  Array dlogits;

  // targets: final, [N,K]
  BinaryLoss(const Array& logits, const Array& targets, int64_t n, bool sum_classes) : dlogits(logits.size()) {
    const auto k = static_cast<int64_t>(logits.size()) / n;
    const double scale = 1.0 / static_cast<double>(sum_classes ? n : n * k);
    for (size_t i = 0; i < logits.size(); ++i) {
      const double z = logits[i], t = targets[i], softplus = std::log1p(std::exp(-std::abs(z)));
      loss += (std::max(z, 0.0) - t * z + softplus) * scale;
      magnitude += (std::max(z, 0.0) + std::abs(t * z) + softplus) * scale;
      dlogits[i] = (1 / (1 + std::exp(-z)) - t) * scale;
    }
  }
};

// (1-smoothing)*target + smoothing/K in f32, then 1 above the threshold and 0 elsewhere, if there is one.
inline Array binary_targets(Array targets, int64_t k, float smoothing, std::optional<float> threshold) {
  for (double& t : targets) {
    const float soft = std::fma(1.0f - smoothing, static_cast<float>(t), smoothing / static_cast<float>(k));
    t = !threshold ? double{soft} : soft > *threshold ? 1 : 0;
  }
  return targets;
}

}  // namespace engine::testing
