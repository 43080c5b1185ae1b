#include "engine/data/resize.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/data/resize_kernels.h"
#include "engine/error.h"

namespace engine {
namespace {

double bilinear(double x) {
  x = std::abs(x);
  return x < 1.0 ? 1.0 - x : 0.0;
}

// R. Keys, "Cubic convolution interpolation for digital image processing", 1981, with a = -1/2. The order of
// operations is part of being byte-equal.
double bicubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
  return 0.0;
}

// One axis of a resize: source positions [low, high) of `source_size` become `size` positions, of which
// `count` from `begin` on are wanted.
struct Axis {
  int source_size;
  float low, high;
  int size;
  int begin, count;
};

int32_t to_fixed(double weight) {
  constexpr double kOne = 1 << kWeightBits;
  return static_cast<int32_t>(weight * kOne + (weight < 0 ? -0.5 : 0.5));
}

// When shrinking, the filter is widened by the scale, which is what antialiases.
void fill_taps(const Axis& axis, Interpolation interpolation, bool reversed, Taps& taps) {
  const bool cubic = interpolation == Interpolation::bicubic;
  const double scale = static_cast<double>(axis.high - axis.low) / axis.size;
  const double filter_scale = std::max(scale, 1.0);
  const double inverse = 1.0 / filter_scale;
  const double support = (cubic ? 2.0 : 1.0) * filter_scale;
  const auto count = static_cast<size_t>(axis.count);
  taps.stride = static_cast<int>(std::ceil(support)) * 2 + 1;
  taps.first.assign(count, 0);
  taps.count.assign(count, 0);
  taps.weight.assign(count * static_cast<size_t>(taps.stride), 0);

  std::vector<double> weights(static_cast<size_t>(taps.stride));
  for (size_t i = 0; i < count; ++i) {
    const int position = axis.begin + static_cast<int>(i);
    const double center = axis.low + (position + 0.5) * scale;
    const int first = std::max(static_cast<int>(center - support + 0.5), 0);
    const int end = std::min(static_cast<int>(center + support + 0.5), axis.source_size);
    double total = 0.0;
    for (int x = first; x < end; ++x) {
      const double distance = (x - center + 0.5) * inverse;
      const double weight = cubic ? bicubic(distance) : bilinear(distance);
      weights[static_cast<size_t>(x - first)] = weight;
      total += weight;
    }
    const size_t o = reversed ? count - 1 - i : i;
    taps.first[o] = first;
    taps.count[o] = end - first;
    for (int t = 0; t < end - first; ++t) {
      const double weight = weights[static_cast<size_t>(t)];
      taps.weight[o * static_cast<size_t>(taps.stride) + static_cast<size_t>(t)] =
          to_fixed(total != 0.0 ? weight / total : weight);
    }
  }
}

// Smallest range of source positions that `taps` read; makes their positions relative to its begin.
std::pair<int, int> rebase(Taps& taps) {
  int begin = taps.first[0], end = 0;
  for (size_t i = 0; i < taps.first.size(); ++i) {
    begin = std::min(begin, taps.first[i]);
    end = std::max(end, taps.first[i] + taps.count[i]);
  }
  for (int& first : taps.first) first -= begin;
  return {begin, end - begin};
}

// Kept per thread: taking and returning 200 KB for each picture costs page faults.
struct Scratch {
  Taps columns, rows;
  std::vector<uint8_t> between;  // result of the first pass

  uint8_t* first_pass(int rows_count, int row_bytes) {
    const size_t bytes = static_cast<size_t>(rows_count) * static_cast<size_t>(row_bytes);
    if (between.size() < bytes) between.resize(bytes);
    return between.data();
  }
  // One huge picture must not pin its memory for the rest of the run.
  void trim() {
    constexpr size_t kKeep = size_t{16} << 20;
    if (between.size() > kKeep) {
      between.clear();
      between.shrink_to_fit();
    }
  }
};

void check_arguments(const ImageView& source, const ResizeOptions& o, const Box& box, const Region& part,
                     size_t result_bytes) {
  check(source.width > 0 && source.height > 0 && o.width > 0 && o.height > 0, "resize: ", source.width, "x",
        source.height, " to ", o.width, "x", o.height, ", expected sizes of at least 1x1");
  check(box.left >= 0 && box.top >= 0 && box.left < box.right && box.top < box.bottom &&
            box.right <= static_cast<float>(source.width) && box.bottom <= static_cast<float>(source.height),
        "resize: box (", box.left, ", ", box.top, ", ", box.right, ", ", box.bottom,
        ") must be a rectangle inside the ", source.width, "x", source.height, " source");
  check(part.x >= 0 && part.y >= 0 && part.width > 0 && part.height > 0 && part.width <= o.width - part.x &&
            part.height <= o.height - part.y,
        "resize: part ", part.width, "x", part.height, " at (", part.x, ", ", part.y,
        ") must be a rectangle inside the ", o.width, "x", o.height, " result");
  const size_t expected = size_t{3} * static_cast<size_t>(part.width) * static_cast<size_t>(part.height);
  check(result_bytes == expected, "resize: result has ", result_bytes, " bytes, expected ", expected, " for ",
        part.width, "x", part.height, " RGB");
}

}  // namespace

void resize(const ImageView& source, const ResizeOptions& options, std::span<uint8_t> result) {
  const Box box = options.box.value_or(Box{0, 0, static_cast<float>(source.width), static_cast<float>(source.height)});
  const Region part = options.part.value_or(Region{0, 0, options.width, options.height});
  check_arguments(source, options, box, part, result.size());

  static thread_local Scratch scratch;
  Taps& columns = scratch.columns;
  Taps& rows = scratch.rows;
  fill_taps({source.width, box.left, box.right, options.width, part.x, part.width}, options.interpolation, options.flip,
            columns);
  fill_taps({source.height, box.top, box.bottom, options.height, part.y, part.height}, options.interpolation, false,
            rows);
  const auto [first_column, column_count] = rebase(columns);
  const auto [first_row, row_count] = rebase(rows);
  const Rows<const uint8_t> in = {source.pixels + first_row * source.stride + ptrdiff_t{3} * first_column,
                                  source.stride, row_count, 3 * column_count};
  const int result_row_bytes = 3 * part.width;
  const Rows<uint8_t> out = {result.data(), result_row_bytes, part.height, result_row_bytes};
  const ResizeKernels& kernels = resize_kernels();

  // Each pass rounds, so their order is visible in the result: Pillow 13 takes the rows first where the
  // height shrinks by more than twice what the width does.
  const int64_t lost_rows = int64_t{source.height} - options.height;
  const int64_t lost_columns = int64_t{source.width} - options.width;
  if (lost_rows > 0 && lost_rows > 2 * lost_columns) {
    uint8_t* between = scratch.first_pass(part.height, in.bytes);
    const Rows<uint8_t> middle = {between, in.bytes, part.height, in.bytes};
    kernels.vertical(in, rows, middle);
    kernels.horizontal({between, in.bytes, part.height, in.bytes}, columns, out);
  } else {
    uint8_t* between = scratch.first_pass(row_count, result_row_bytes);
    kernels.horizontal(in, columns, {between, result_row_bytes, row_count, result_row_bytes});
    kernels.vertical({between, result_row_bytes, row_count, result_row_bytes}, rows, out);
  }
  scratch.trim();
}

Image resize(const ImageView& source, const ResizeOptions& options) {
  check(options.width > 0 && options.height > 0, "resize: size ", options.width, "x", options.height,
        ", expected at least 1x1");
  const Region part = options.part.value_or(Region{0, 0, options.width, options.height});
  Image result{part.width, part.height, {}};
  result.pixels.resize(size_t{3} * static_cast<size_t>(std::max(part.width, 0)) *
                       static_cast<size_t>(std::max(part.height, 0)));
  resize(source, options, result.pixels);
  return result;
}

}  // namespace engine
