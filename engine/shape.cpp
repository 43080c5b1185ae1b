#include "engine/shape.h"

#include <algorithm>
#include <ostream>
#include <sstream>

#include "engine/error.h"

namespace engine {

Shape::Shape(std::initializer_list<int64_t> extents) : Shape(std::span(extents.begin(), extents.size())) {}

Shape::Shape(std::span<const int64_t> extents) : rank_(static_cast<int>(extents.size())) {
  check(extents.size() <= extents_.size(), "Shape: ", extents.size(), " extents given, expected at most ",
        extents_.size());
  int64_t product = 1;
  for (const int64_t extent : extents) {
    check(extent >= 0, "Shape: an extent is ", extent, ", expected 0 or more");
    check(!__builtin_mul_overflow(product, extent, &product), "Shape: the number of elements exceeds 2^63");
  }
  std::copy(extents.begin(), extents.end(), extents_.begin());
}

int64_t Shape::numel() const {
  int64_t product = 1;
  for (const int64_t extent : extents()) product *= extent;
  return product;
}

std::ostream& operator<<(std::ostream& out, const Shape& shape) {
  out << '[';
  for (int i = 0; i < shape.rank(); ++i) out << (i == 0 ? "" : ",") << shape[i];
  return out << ']';
}

std::string to_string(const Shape& shape) {
  std::ostringstream out;
  out << shape;
  return out.str();
}

}  // namespace engine
