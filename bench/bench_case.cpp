#include "bench/bench_case.h"

#include <algorithm>
#include <iterator>

#include "engine/error.h"
#include "engine/text.h"

namespace engine::bench {
namespace {

struct Precision {
  const char* name;
  DType dtype;
};
constexpr Precision kPrecisions[] = {{"fp32", DType::f32},    {"bf16", DType::bf16},     {"fp16", DType::f16},
                                     {"float32", DType::f32}, {"bfloat16", DType::bf16}, {"float16", DType::f16}};

}  // namespace

const char* name_of(Mode mode) {
  return mode == Mode::train ? "train" : "inference";
}

const char* precision_name(DType dtype) {
  return std::find_if(std::begin(kPrecisions), std::end(kPrecisions),
                      [&](const Precision& known) { return known.dtype == dtype; })
      ->name;
}

DType precision_dtype(const std::string& name) {
  for (const Precision& known : kPrecisions)
    if (name == known.name) return known.dtype;
  check(name != "tf32",
        "--precision tf32: the engine never rounds f32 products to TF32, on no device; expected fp32, bf16 or fp16");
  fail(ErrorKind::usage, "--precision is '", printable(name), "', expected fp32, bf16 or fp16");
}

std::string describe(const BenchCase& cell) {
  const std::string size = std::to_string(cell.work.image_size);
  return cell.work.model + " " + name_of(cell.work.mode) + " " + precision_name(cell.work.precision) + ", batch " +
         std::to_string(cell.work.batch) + " of " + size + "x" + size;
}

}  // namespace engine::bench
