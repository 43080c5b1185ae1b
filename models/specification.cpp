#include "models/specification.h"

#include <algorithm>
#include <cctype>

#include "engine/error.h"
#include "engine/text.h"

namespace engine::models {
namespace {

constexpr std::array<int, 5> kDepths = {18, 34, 50, 101, 152};

std::vector<int> imagenet_blocks(int depth) {
  switch (depth) {
    case 18:
      return {2, 2, 2, 2};
    case 34:
    case 50:
      return {3, 4, 6, 3};
    case 101:
      return {3, 4, 23, 3};
    default:
      return {3, 8, 36, 3};
  }
}

std::vector<Specification> make_specifications() {
  using enum Family;
  using enum BlockKind;
  std::vector<Specification> list;
  for (const Family family : {imagenet, intro}) {
    for (const int depth : kDepths) {
      list.push_back({.name = "resnet" + std::to_string(depth) + (family == intro ? "_intro" : ""),
                      .family = family,
                      .block = depth < 50 ? basic : bottleneck,
                      .blocks = imagenet_blocks(depth)});
    }
  }
  list.push_back({.name = "resnet18_cifar", .blocks = imagenet_blocks(18), .small_stem = true});
  const auto wide = [&](std::string name, int depth, int64_t groups, int64_t width) {
    list.push_back({.name = std::move(name),
                    .block = bottleneck,
                    .blocks = imagenet_blocks(depth),
                    .groups = groups,
                    .width_per_group = width});
  };
  wide("resnext50_32x4d", 50, 32, 4);
  wide("resnext101_32x8d", 101, 32, 8);
  wide("wide_resnet50_2", 50, 1, 128);
  wide("wide_resnet101_2", 101, 1, 128);
  for (const bool shortcuts : {true, false}) {
    for (const int depth : {20, 32, 44, 56, 110}) {  // 6n+2 layers
      const int n = (depth - 2) / 6;
      list.push_back({.name = (shortcuts ? "resnet" : "plain") + std::to_string(depth),
                      .family = cifar,
                      .blocks = {n, n, n},
                      .shortcuts = shortcuts});
    }
  }
  return list;
}

// The number in "resnet77" or "resnet77_intro"; 0 for any other form.
int depth_in(std::string_view name) {
  constexpr std::string_view kPrefix = "resnet";
  if (!name.starts_with(kPrefix)) return 0;
  name.remove_prefix(kPrefix.size());
  if (name.ends_with("_intro")) name.remove_suffix(6);
  if (name.empty() || name.size() > 9 ||
      !std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isdigit(c); })) {
    return 0;
  }
  return std::stoi(std::string(name));
}

}  // namespace

const std::vector<Specification>& specifications() {
  static const std::vector<Specification> list = make_specifications();
  return list;
}

const Specification& find_specification(std::string_view name) {
  std::vector<std::string> names;
  for (const Specification& specification : specifications()) {
    if (specification.name == name) return specification;
    names.push_back(specification.name);
  }
  if (const int depth = depth_in(name); depth != 0) {
    const char* small = name.ends_with("_intro") ? "" : " (or 20, 32, 44, 56, 110 for 32x32 images)";
    fail(ErrorKind::usage, "model ", name, ": the depth is ", depth, ", expected one of 18, 34, 50, 101, 152", small);
  }
  fail(ErrorKind::usage, "model ", name, ": there is no such model; did you mean ", nearest(name, names),
       "? --list-models prints all");
}

}  // namespace engine::models
