#include "engine/data/augment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "engine/error.h"
#include "tests/data/goldens.h"
#include "tests/io/io_testing.h"

namespace engine {
namespace {

using Kind = AugmentPolicy::Kind;
using test::error_of;
using testing::HasSubstr;

const std::map<std::string, Operation> kOperations = {{"identity", Operation::identity},
                                                      {"shear_x", Operation::shear_x},
                                                      {"shear_y", Operation::shear_y},
                                                      {"translate_x", Operation::translate_x},
                                                      {"translate_y", Operation::translate_y},
                                                      {"rotate", Operation::rotate},
                                                      {"brightness", Operation::brightness},
                                                      {"saturation", Operation::saturation},
                                                      {"contrast", Operation::contrast},
                                                      {"sharpness", Operation::sharpness},
                                                      {"posterize", Operation::posterize},
                                                      {"solarize", Operation::solarize},
                                                      {"auto_contrast", Operation::auto_contrast},
                                                      {"equalize", Operation::equalize},
                                                      {"invert", Operation::invert},
                                                      {"solarize_add", Operation::solarize_add},
                                                      {"hue", Operation::hue}};

// flat() of torchvision_goldens.py.
Image flat() {
  Image image{11, 9, {}};
  for (int i = 0; i < 9 * 11; ++i) image.pixels.insert(image.pixels.end(), {40, 7, 250});
  const size_t other = 3 * (4 * 11 + 5);
  image.pixels[other] = 41, image.pixels[other + 1] = 200;
  return image;
}

Image wheel() {
  Image image{52, 52 * 52, {}};
  for (int r = 0; r < 256; r += 5)
    for (int g = 0; g < 256; g += 5)
      for (int b = 0; b < 256; b += 5)
        for (const int v : {r, g, b}) image.pixels.push_back(static_cast<uint8_t>(v));
  return image;
}

Image picture(const std::string& name) {
  if (name == "flat") return flat();
  if (name == "wheel") return wheel();
  return name == "square" ? pattern(32, 32) : pattern(33, 27);
}

Interpolation filter(const std::string& name) {
  return name == "bicubic" ? Interpolation::bicubic : Interpolation::bilinear;
}

void append(std::vector<uint8_t>& all, Image image, const std::vector<PixelOp>& ops, const Colour& fill = {}) {
  for (const PixelOp& op : ops) apply(op, Pixels(image), fill);
  all.insert(all.end(), image.pixels.begin(), image.pixels.end());
}

TEST(Operations, EqualTorchvisionsAtEveryLevel) {
  const std::map<std::string, Kind> kinds = {
      {"ta_wide", Kind::trivial_wide}, {"ra", Kind::random}, {"imagenet", Kind::imagenet}};
  for (const auto& row : golden_rows("operations.tsv")) {
    SCOPED_TRACE(testing::PrintToString(row));
    const Image image = picture(row[1]);
    std::vector<uint8_t> all;
    for (int level = 0; level < std::stoi(row[5]); ++level) {
      PixelOp op =
          torchvision_op(kinds.at(row[0]), kOperations.at(row[3]), level, row[4] == "-1", image.width, image.height);
      op.interpolation = filter(row[2]);
      append(all, image, {op});
    }
    EXPECT_EQ(hash(all), row[6]);
  }
}

TEST(AutoAugment, HasTorchvisionsSubPolicies) {
  const std::map<std::string, Kind> kinds = {
      {"imagenet", Kind::imagenet}, {"cifar10", Kind::cifar10}, {"svhn", Kind::svhn}};
  const std::vector<std::vector<std::string>> rows = golden_rows("sub_policies.tsv");
  ASSERT_EQ(rows.size(), 150u);
  for (const auto& row : rows) {
    SCOPED_TRACE(testing::PrintToString(row));
    const Kind kind = kinds.at(row[0]);
    const SubPolicy& chosen = sub_policies(kind)[std::stoul(row[1])];
    EXPECT_EQ(chosen.parts[0].probability, std::stod(row[2]));
    EXPECT_EQ(chosen.parts[1].probability, std::stod(row[3]));
    std::vector<PixelOp> ops;
    // torchvision draws 0 for a minus, and turns round what has no sign not at all.
    for (const SubPolicy::Part& part : chosen.parts) {
      const bool negative =
          row[4] == "0" && part.operation != Operation::posterize && part.operation != Operation::solarize;
      ops.push_back(torchvision_op(kind, part.operation, part.level, negative, 32, 32));
    }
    std::vector<uint8_t> result;
    append(result, pattern(32, 32), ops);
    EXPECT_EQ(hash(result), row[5]);
  }
}

TEST(ColourJitter, AdjustsAsTorchvision) {
  for (const auto& row : golden_rows("jitter.tsv")) {
    SCOPED_TRACE(testing::PrintToString(row));
    std::vector<uint8_t> result;
    append(result, picture(row[1]), {{.operation = kOperations.at(row[0]), .value = std::stod(row[2])}});
    EXPECT_EQ(hash(result), row[3]);
  }
}

TEST(TimmRandAugment, EqualsTimmsAtEveryMagnitude) {
  for (const auto& row : golden_rows("timm.tsv")) {
    SCOPED_TRACE(testing::PrintToString(row));
    std::vector<uint8_t> all;
    for (int i = 0; i < std::stoi(row[5]); ++i) {
      // A draw above a half makes timm's sign negative.
      PixelOp op = timm_op(kOperations.at(row[0]), std::stod(row[4]) + 0.5 * i, row[1] == "1", row[2] == "-1", 33, 27);
      op.interpolation = filter(row[3]);
      append(all, pattern(33, 27), {op}, AugmentPolicy{.kind = Kind::timm}.fill());
    }
    EXPECT_EQ(hash(all), row[6]);
  }
}

TEST(Operations, TakePicturesOfAnySize) {
  for (const auto& [width, height] : {std::pair(1, 1), {1, 5}, {2, 3}, {3, 2}, {3, 3}}) {
    const std::vector<uint8_t> before = pattern(width, height).pixels;
    for (const auto& [name, operation] : kOperations) {
      for (const auto interpolation : {Interpolation::bilinear, Interpolation::bicubic}) {
        SCOPED_TRACE(name + " of " + std::to_string(width) + "x" + std::to_string(height));
        std::vector<uint8_t> guarded(before.size() + 2, 77);
        std::ranges::copy(before, guarded.begin() + 1);
        apply({.operation = operation, .value = 0.4, .interpolation = interpolation},
              Pixels(std::span(guarded).subspan(1, before.size()), width, height), {});
        EXPECT_EQ(guarded.front(), 77);
        EXPECT_EQ(guarded.back(), 77);
      }
    }
  }
}

std::vector<PixelOp> chosen(const AugmentPolicy& policy, uint64_t sample) {
  RandomStream random(3, 0, sample, purpose::kAugmentation);
  std::vector<PixelOp> ops;
  choose_ops(policy, Interpolation::bicubic, 224, 176, random, ops);
  return ops;
}

TEST(ChooseOps, TrivialAugmentTakesOneOfEachKindWithEverySignAndStrength) {
  std::set<Operation> operations;
  std::set<double> angles;
  for (uint64_t i = 0; i < 4000; ++i) {
    const std::vector<PixelOp> ops = chosen({.kind = Kind::trivial_wide}, i);
    ASSERT_EQ(ops.size(), 1u);
    ASSERT_EQ(ops[0].interpolation, Interpolation::bicubic);
    operations.insert(ops[0].operation);
    if (ops[0].operation == Operation::rotate) angles.insert(ops[0].value);
  }
  EXPECT_EQ(operations.size(), 14u);
  EXPECT_EQ(angles.size(), 61u);  // 30 levels of both signs, and 0, where -0 is the same
  EXPECT_EQ(*angles.begin(), -135);
  EXPECT_EQ(*angles.rbegin(), 135);
}

TEST(ChooseOps, RandAugmentTakesTwoAtItsMagnitude) {
  std::set<double> angles;
  for (uint64_t i = 0; i < 500; ++i) {
    const std::vector<PixelOp> ops = chosen({.kind = Kind::random, .magnitude = 20}, i);
    ASSERT_EQ(ops.size(), 2u);
    for (const PixelOp& op : ops)
      if (op.operation == Operation::rotate) angles.insert(op.value);
  }
  EXPECT_THAT(angles, testing::ElementsAre(-20, 20));
}

TEST(ChooseOps, AutoAugmentHeedsItsProbabilities) {
  int applied = 0;
  for (uint64_t i = 0; i < 5000; ++i) applied += static_cast<int>(chosen({.kind = Kind::cifar10}, i).size());
  double expected = 0;
  for (const SubPolicy& policy : sub_policies(Kind::cifar10))
    expected += (policy.parts[0].probability + policy.parts[1].probability) / 25;
  EXPECT_NEAR(applied / 5000.0, expected, 0.05);
}

TEST(ChooseOps, TimmAppliesHalfAndScattersTheMagnitude) {
  const AugmentPolicy policy = parse_policy("rand-m7-n3-mstd0.5-inc1", 9, "--aa");
  int applied = 0;
  double sum = 0, squares = 0, count = 0;
  for (uint64_t i = 0; i < 6000; ++i) {
    for (const PixelOp& op : chosen(policy, i)) {
      ++applied;
      if (op.operation != Operation::rotate) continue;
      const double magnitude = std::abs(op.value) / 3;
      sum += magnitude, squares += magnitude * magnitude, ++count;
    }
  }
  EXPECT_NEAR(applied / 6000.0, 1.5, 0.06);
  EXPECT_NEAR(sum / count, 7, 0.1);
  EXPECT_NEAR(std::sqrt(squares / count - sum / count * sum / count), 0.5, 0.06);
}

TEST(ChooseOps, JittersInEveryOrderWithinItsRanges) {
  const ColourJitter jitter = {.brightness = 0.4, .contrast = 1.5, .saturation = 0.2, .hue = 0.1};
  std::set<std::vector<Operation>> orders;
  for (uint64_t i = 0; i < 500; ++i) {
    RandomStream random(3, 0, i, purpose::kAugmentation);
    std::vector<PixelOp> ops;
    choose_ops(jitter, random, ops);
    ASSERT_EQ(ops.size(), 4u);
    std::vector<Operation> order;
    for (const PixelOp& op : ops) {
      order.push_back(op.operation);
      const auto inside = [&](double low, double high) {
        EXPECT_TRUE(op.value >= low && op.value <= high) << op.value;
      };
      if (op.operation == Operation::brightness) inside(0.6, 1.4);
      if (op.operation == Operation::contrast) inside(0, 2.5);
      if (op.operation == Operation::saturation) inside(0.8, 1.2);
      if (op.operation == Operation::hue) inside(-0.1, 0.1);
    }
    orders.insert(order);
  }
  EXPECT_EQ(orders.size(), 24u);
}

TEST(ChooseOps, LeavesOutWhatIsNotAskedFor) {
  RandomStream random(3, 0, 0, purpose::kAugmentation);
  std::vector<PixelOp> ops;
  choose_ops(ColourJitter{}, random, ops);
  choose_ops(ColourJitter{.hue = 0.5}, random, ops);
  EXPECT_EQ(ops.size(), 1u);
  EXPECT_TRUE(chosen({}, 1).empty());
}

TEST(ParsePolicy, KnowsTorchvisionsAndTimmsNames) {
  EXPECT_EQ(parse_policy("ra", 14, "--aa").magnitude, 14);
  EXPECT_EQ(parse_policy("cifar10", 9, "--aa").kind, Kind::cifar10);
  const AugmentPolicy policy = parse_policy("rand-m6-mstd0.5-inc1", 9, "--aa");
  EXPECT_EQ(policy.kind, Kind::timm);
  EXPECT_EQ(policy.magnitude, 6);
  EXPECT_EQ(policy.noise, 0.5);
  EXPECT_TRUE(policy.increasing);
  EXPECT_EQ(policy.num_ops, 2);
  const AugmentPolicy other = parse_policy("rand-n3-mstd101-mmax15-p0.8", 9, "--aa");
  EXPECT_EQ(other.magnitude, 10);
  EXPECT_TRUE(std::isinf(other.noise));
  EXPECT_EQ(other.limit, 15);
  EXPECT_EQ(other.probability, 0.8);
  EXPECT_FALSE(other.increasing);
}

TEST(ParsePolicy, NamesWhatItDoesNotKnow) {
  const auto refusal = [](const std::string& text) {
    return error_of(ErrorKind::usage, [&] { parse_policy(text, 9, "--auto-augment"); });
  };
  EXPECT_THAT(refusal("augmax"), HasSubstr("--auto-augment: unknown policy 'augmax'; known: none, ta_wide, ra, "));
  EXPECT_THAT(refusal("rand-m9-w0"), HasSubstr("unknown policy 'rand-m9-w0' ('w0'); known"));
  EXPECT_THAT(refusal("rand-mstdx"), HasSubstr("('mstdx' has no number)"));
}

}  // namespace
}  // namespace engine
