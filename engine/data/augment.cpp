#include "engine/data/augment.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <numbers>

#include "engine/error.h"
#include "engine/text.h"

namespace engine {
namespace {

using Kind = AugmentPolicy::Kind;
using Op = Operation;

// In the order of torchvision's tables: its numbering decides which one a random number means.
constexpr std::array kTorchvision = {Op::identity,  Op::shear_x,    Op::shear_y,       Op::translate_x, Op::translate_y,
                                     Op::rotate,    Op::brightness, Op::saturation,    Op::contrast,    Op::sharpness,
                                     Op::posterize, Op::solarize,   Op::auto_contrast, Op::equalize};
constexpr std::array kTimm = {Op::auto_contrast, Op::equalize,     Op::invert,     Op::rotate,      Op::posterize,
                              Op::solarize,      Op::solarize_add, Op::saturation, Op::contrast,    Op::brightness,
                              Op::sharpness,     Op::shear_x,      Op::shear_y,    Op::translate_x, Op::translate_y};

constexpr int kTrivialLevels = 31, kAutoAugmentLevels = 10;
constexpr double kTimmScale = 10;

bool has_level(Operation operation) {
  return operation != Op::identity && operation != Op::auto_contrast && operation != Op::equalize &&
         operation != Op::invert;
}

bool has_sign(Operation operation) {
  return has_level(operation) && operation != Op::posterize && operation != Op::solarize &&
         operation != Op::solarize_add;
}

// torch.linspace in single precision, as its vectorised loops compute it.
double linspace(double first, double last, int count, int i) {
  const auto begin = static_cast<float>(first), end = static_cast<float>(last);
  const float step = (end - begin) / static_cast<float>(count - 1);
  return i < count / 2 ? std::fma(step, static_cast<float>(i), begin)
                       : std::fma(-step, static_cast<float>(count - 1 - i), end);
}

// The slope that torchvision's affine() makes of an amount: it goes through an angle in degrees.
double shear_slope(Operation operation, double amount) {
  const double angle = std::atan(amount) * (180.0 / std::numbers::pi) * (std::numbers::pi / 180.0);
  return operation == Op::shear_x ? std::tan(angle) : -(std::sin(-angle) / std::cos(angle));
}

double factor_in(double range, RandomStream& random) {
  const double low = std::max(0.0, 1 - range), high = 1 + range;
  return low + (high - low) * random.uniform_double();
}

bool coin(RandomStream& random) {
  return random.next_u32() >> 31 != 0;
}

size_t choose(size_t count, RandomStream& random) {
  return random.below(static_cast<uint32_t>(count));
}

}  // namespace

void apply(const PixelOp& op, const Pixels& pixels, const Colour& fill) {
  switch (op.operation) {
    case Op::identity:
      return;
    case Op::shear_x:
      return apply_affine(pixels, shear_x(op.value), op.interpolation, fill);
    case Op::shear_y:
      return apply_affine(pixels, shear_y(op.value), op.interpolation, fill);
    case Op::translate_x:
      return apply_affine(pixels, translation(op.value, 0), op.interpolation, fill);
    case Op::translate_y:
      return apply_affine(pixels, translation(0, op.value), op.interpolation, fill);
    case Op::rotate:
      return rotate(pixels, op.value, op.interpolation, fill);
    case Op::brightness:
      return adjust_brightness(pixels, op.value);
    case Op::saturation:
      return adjust_saturation(pixels, op.value);
    case Op::contrast:
      return adjust_contrast(pixels, op.value);
    case Op::sharpness:
      return adjust_sharpness(pixels, op.value);
    case Op::posterize:
      return posterize(pixels, static_cast<int>(op.value));
    case Op::solarize:
      return solarize(pixels, op.value);
    case Op::auto_contrast:
      return auto_contrast(pixels);
    case Op::equalize:
      return equalize(pixels);
    case Op::invert:
      return invert(pixels);
    case Op::solarize_add:
      return solarize_add(pixels, static_cast<int>(op.value));
    case Op::hue:
      return adjust_hue(pixels, op.value);
  }
}

std::span<const Operation> operations_of(Kind) {
  return kTorchvision;
}

PixelOp torchvision_op(Kind kind, Operation operation, int level, bool negative, int width, int height) {
  if (!has_level(operation)) return {.operation = operation};
  const bool trivial = kind == Kind::trivial_wide;
  const int levels = trivial || kind == Kind::random ? kTrivialLevels : kAutoAugmentLevels;
  const auto up_to = [&](double last) {
    const double value = linspace(0, last, levels, level);
    return negative ? -value : value;
  };
  const auto translated = [&](int side) { return std::trunc(up_to(trivial ? 32.0 : 150.0 / 331.0 * side)); };
  double value = 0;
  switch (operation) {
    case Op::shear_x:
    case Op::shear_y:
      value = shear_slope(operation, up_to(trivial ? 0.99 : 0.3));
      break;
    case Op::translate_x:
      value = translated(width);
      break;
    case Op::translate_y:
      value = translated(height);
      break;
    case Op::rotate:
      value = up_to(trivial ? 135.0 : 30.0);
      break;
    case Op::posterize: {
      const double per_bit = (levels - 1) / (trivial ? 6.0 : 4.0);
      value = 8 - std::nearbyint(static_cast<float>(level) / static_cast<float>(per_bit));
      break;
    }
    case Op::solarize:
      value = linspace(255, 0, levels, level);
      break;
    default:
      value = 1.0 + up_to(trivial ? 0.99 : 0.9);
  }
  return {.operation = operation, .value = value};
}

PixelOp timm_op(Operation operation, double magnitude, bool increasing, bool negative, int width, int height) {
  const double share = magnitude / kTimmScale;
  const auto with_sign = [&](double value) { return negative ? -value : value; };
  double value = 0;
  switch (operation) {
    case Op::shear_x:
    case Op::shear_y:
      value = with_sign(share * 0.3);
      break;
    case Op::translate_x:
      value = -(with_sign(share * 0.45) * width);
      break;
    case Op::translate_y:
      value = -(with_sign(share * 0.45) * height);
      break;
    case Op::rotate:
      value = with_sign(share * 30);
      break;
    case Op::posterize:
      value = std::trunc(share * 4);
      if (increasing) value = 4 - value;
      break;
    case Op::solarize:
      value = std::min(256.0, std::trunc(share * 256));
      if (increasing) value = 256 - value;
      break;
    case Op::solarize_add:
      value = std::min(128.0, std::trunc(share * 110));
      break;
    case Op::saturation:
    case Op::contrast:
    case Op::brightness:
    case Op::sharpness:
      value = increasing ? std::max(0.1, 1.0 + with_sign(share * 0.9)) : share * 1.8 + 0.1;
      break;
    default:
      break;
  }
  return {.operation = operation, .value = value};
}

void choose_ops(const AugmentPolicy& policy, Interpolation interpolation, int width, int height, RandomStream& random,
                std::vector<PixelOp>& ops) {
  const auto add = [&](PixelOp op) {
    op.interpolation = interpolation;
    ops.push_back(op);
  };
  if (policy.kind == Kind::none) return;
  if (policy.kind == Kind::timm) {
    for (int i = 0; i < policy.num_ops; ++i) {
      const Operation operation = kTimm[choose(kTimm.size(), random)];
      if (random.uniform_double() > policy.probability) continue;
      const double magnitude = std::isinf(policy.noise) ? policy.magnitude * random.uniform_double()
                               : policy.noise > 0       ? policy.magnitude + policy.noise * random.normal()
                                                        : policy.magnitude;
      const bool negative = coin(random);
      add(timm_op(operation, std::clamp(magnitude, 0.0, policy.limit), policy.increasing, negative, width, height));
    }
    return;
  }
  if (const std::span<const SubPolicy> learned = sub_policies(policy.kind); !learned.empty()) {
    const SubPolicy& chosen = learned[choose(learned.size(), random)];
    for (const SubPolicy::Part& part : chosen.parts) {
      const bool applied = random.uniform_double() <= part.probability, negative = coin(random);
      if (!applied) continue;
      add(torchvision_op(policy.kind, part.operation, part.level, negative && has_sign(part.operation), width, height));
    }
    return;
  }
  const bool trivial = policy.kind == Kind::trivial_wide;
  for (int i = 0; i < (trivial ? 1 : policy.num_ops); ++i) {
    const Operation operation = kTorchvision[choose(kTorchvision.size(), random)];
    const int level = !trivial               ? static_cast<int>(policy.magnitude)
                      : has_level(operation) ? static_cast<int>(choose(kTrivialLevels, random))
                                             : 0;
    const bool negative = has_sign(operation) && coin(random);
    add(torchvision_op(policy.kind, operation, level, negative, width, height));
  }
}

void choose_ops(const ColourJitter& jitter, RandomStream& random, std::vector<PixelOp>& ops) {
  if (!jitter.any()) return;
  std::array<uint32_t, 4> order = {0, 1, 2, 3};
  for (uint32_t left = 4; left > 1; --left) std::swap(order[left - 1], order[random.below(left)]);
  const std::array<double, 4> ranges = {jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue};
  constexpr std::array kOperations = {Op::brightness, Op::contrast, Op::saturation, Op::hue};
  for (const uint32_t i : order) {
    if (ranges[i] <= 0) continue;
    const double value =
        kOperations[i] == Op::hue ? jitter.hue * (2 * random.uniform_double() - 1) : factor_in(ranges[i], random);
    ops.push_back({.operation = kOperations[i], .value = value});
  }
}

AugmentPolicy parse_policy(const std::string& text, int64_t magnitude, const std::string& origin) {
  constexpr const char* kKnown =
      "none, ta_wide, ra, imagenet, cifar10, svhn, or timm's rand-mM-nN-mstdS-mmaxL-incB-pP, for instance "
      "rand-m7-mstd0.5-inc1";
  const auto refuse = [&](const std::string& why) {
    fail(ErrorKind::usage, origin, ": unknown policy '", printable(text), "'", why, "; known: ", kKnown);
  };
  if (text.empty() || text == "none") return {};
  if (text == "ta_wide") return {.kind = Kind::trivial_wide};
  if (text == "ra") return {.kind = Kind::random, .magnitude = static_cast<double>(magnitude)};
  if (text == "imagenet") return {.kind = Kind::imagenet};
  if (text == "cifar10") return {.kind = Kind::cifar10};
  if (text == "svhn") return {.kind = Kind::svhn};
  if (text.rfind("rand-", 0) != 0 && text != "rand") refuse("");

  AugmentPolicy policy = {.kind = Kind::timm, .magnitude = kTimmScale, .increasing = false};
  for (size_t begin = 5; begin < text.size();) {
    const size_t end = std::min(text.find('-', begin), text.size());
    const size_t digits = std::min(text.find_first_of("0123456789", begin), end);
    const std::string key = text.substr(begin, digits - begin);
    double value = 0;
    const auto [stop, error] = std::from_chars(text.data() + digits, text.data() + end, value);
    if (error != std::errc() || stop != text.data() + end) refuse(" ('" + printable(key) + "' has no number)");
    if (key == "m" && value <= 30) {
      policy.magnitude = value;
    } else if (key == "n" && value >= 1 && value <= 20) {
      policy.num_ops = static_cast<int>(value);
    } else if (key == "mstd") {
      policy.noise = value > 100 ? std::numeric_limits<double>::infinity() : value;
    } else if (key == "mmax" && value <= 30) {
      policy.limit = value;
    } else if (key == "p" && value <= 1) {
      policy.probability = value;
    } else if (key == "inc") {
      policy.increasing = value != 0;
    } else {
      refuse(" ('" + printable(text.substr(begin, end - begin)) + "')");
    }
    begin = end + 1;
  }
  return policy;
}

}  // namespace engine
