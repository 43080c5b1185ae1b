#pragma once
// The safetensors file format (github.com/huggingface/safetensors, "Format"), on plain host memory.
//
//   u64 little-endian N | N bytes of JSON, `{"name": {"dtype", "shape", "data_offsets"}, ..., "__metadata__": {..}}` |
//   data
//
// The reader is strict, because a weights file is input from outside: at most 100,000,000 header bytes, offsets
// contiguous from 0 to the end of the file, shape product times element size equal to the range, no duplicate or
// unknown keys, valid UTF-8; all arithmetic checked; nothing recursive; no allocation larger than the file.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/io/file.h"

namespace engine {

enum class SafetensorsDType {
  boolean,
  u8,
  i8,
  f8_e4m3,
  f8_e5m2,
  f8_e8m0,
  f8_e4m3fnuz,
  f8_e5m2fnuz,  // 1 byte
  i16,
  u16,
  f16,
  bf16,  // 2
  i32,
  u32,
  f32,  // 4
  i64,
  u64,
  f64,
  c64  // 8
};

std::string_view name_of(SafetensorsDType dtype);  // as in the file: "F32", "BF16", "BOOL", ...
std::size_t size_of(SafetensorsDType dtype);       // bytes per element
std::optional<SafetensorsDType> safetensors_dtype(std::string_view name);

using SafetensorsMetadata = std::map<std::string, std::string>;

// A named, dense, row-major tensor in memory that somebody else owns. Elements are little-endian.
struct TensorView {
  std::string name;
  SafetensorsDType dtype = SafetensorsDType::f32;
  std::vector<std::int64_t> shape;  // {} is a scalar
  std::span<const std::byte> data;
};

class SafetensorsFile {
 public:
  // Reads the whole file into memory, so that nothing that happens to it later can hurt.
  // Throws Error(checkpoint) naming the file and the first fault; a .pth (pickle) file is recognised and refused by
  // name.
  static SafetensorsFile open(const std::filesystem::path& path, FileOps& ops = FileOps::real());
  // `origin` names the bytes in messages.
  static SafetensorsFile parse(std::vector<std::byte> bytes, std::string origin);

  SafetensorsFile(SafetensorsFile&&) = default;
  SafetensorsFile& operator=(SafetensorsFile&&) = default;

  // In file order. The views live as long as this object; their data may be unaligned in files of other writers, so
  // copy elements out by memcpy.
  const std::vector<TensorView>& entries() const { return entries_; }
  // nullptr when there is no such tensor.
  const TensorView* find(std::string_view name) const;
  const SafetensorsMetadata& metadata() const { return metadata_; }
  const std::string& origin() const { return origin_; }

 private:
  SafetensorsFile() = default;

  std::string origin_;
  std::vector<std::byte> bytes_;
  std::vector<TensorView> entries_;
  std::vector<std::size_t> by_name_;  // indices into entries_, sorted by name
  SafetensorsMetadata metadata_;
};

// What PyTorch-side readers expect to find.
inline SafetensorsMetadata default_safetensors_metadata() {
  return {{"format", "pt"}};
}

// Streams header and data into an open writer. The order on disk is by element size, largest first, then as given, so
// every tensor is aligned to its element. Throws Error(checkpoint) for duplicate, reserved or non-UTF-8 names and for a
// view whose data does not match its shape, before anything is written.
void write_safetensors(FileWriter& writer, std::span<const TensorView> views,
                       const SafetensorsMetadata& metadata = default_safetensors_metadata());
// The same into a file that appears atomically.
FileDigest write_safetensors(const std::filesystem::path& path, std::span<const TensorView> views,
                             const SafetensorsMetadata& metadata = default_safetensors_metadata(),
                             FileOps& ops = FileOps::real());
// Bytes that write_safetensors will write.
std::uint64_t safetensors_file_bytes(std::span<const TensorView> views,
                                     const SafetensorsMetadata& metadata = default_safetensors_metadata());

// A tensor that the reader of a file expects to find.
struct ExpectedTensor {
  std::string name;
  std::vector<std::int64_t> shape;
};

// The first differences between a file and what is expected of it (missing, unexpected and misshapen tensors, at most
// `max_listed`, then a count), one sentence; "" when names and shapes agree.
std::string describe_differences(const SafetensorsFile& file, std::span<const ExpectedTensor> expected,
                                 std::size_t max_listed = 5);

}  // namespace engine
