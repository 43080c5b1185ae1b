#pragma once
#include <array>
#include <cstdint>
#include <initializer_list>
#include <iosfwd>
#include <span>
#include <string>

namespace engine {

// Up to six extents, each >= 0. Printed as [8,56,56,64]; a scalar is [].
class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<int64_t> extents);
  explicit Shape(std::span<const int64_t> extents);

  int rank() const { return rank_; }
  int64_t operator[](int i) const { return extents_[static_cast<size_t>(i)]; }
  int64_t numel() const;  // product of the extents; 1 for a scalar
  std::span<const int64_t> extents() const { return {extents_.data(), static_cast<size_t>(rank_)}; }
  bool operator==(const Shape& other) const = default;

 private:
  std::array<int64_t, 6> extents_{};
  int rank_ = 0;
};

std::ostream& operator<<(std::ostream& out, const Shape& shape);
std::string to_string(const Shape& shape);

}  // namespace engine
