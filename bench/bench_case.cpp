#include "bench/bench_case.h"

#include <algorithm>
#include <iterator>

#include "engine/error.h"
#include "engine/text.h"

namespace engine::bench {
namespace {

struct NamedPrecision {
  const char* name;
  Precision precision;
};
const NamedPrecision kPrecisions[] = {{"fp32", DType::f32},   {"tf32", {DType::f32, true}}, {"bf16", DType::bf16},
                                      {"fp16", DType::f16},   {"float32", DType::f32},      {"bfloat16", DType::bf16},
                                      {"float16", DType::f16}};

}  // namespace

const char* name_of(Mode mode) {
  return mode == Mode::train ? "train" : "inference";
}

const char* precision_name(Precision precision) {
  return std::find_if(std::begin(kPrecisions), std::end(kPrecisions),
                      [&](const NamedPrecision& known) { return known.precision == precision; })
      ->name;
}

Precision named_precision(const std::string& name) {
  for (const NamedPrecision& known : kPrecisions)
    if (name == known.name) return known.precision;
  fail(ErrorKind::usage, "--precision is '", printable(name), "', expected fp32, tf32, bf16 or fp16");
}

std::string describe(const BenchCase& cell) {
  const std::string size = std::to_string(cell.work.image_size);
  return cell.work.model + " " + name_of(cell.work.mode) + " " + precision_name(cell.work.precision) + ", batch " +
         std::to_string(cell.work.batch) + " of " + size + "x" + size;
}

}  // namespace engine::bench
