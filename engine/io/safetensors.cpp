#include "engine/io/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <numeric>

#include "engine/io/safetensors_header.h"
#include "engine/io/utf8.h"

static_assert(std::endian::native == std::endian::little,
              "safetensors data is little-endian and is not converted here");

namespace engine {
namespace {

constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // the reference implementation's limit

struct DTypeRow {
  SafetensorsDType dtype;
  std::string_view name;
  std::size_t bytes;
};

constexpr std::array<DTypeRow, 19> kDTypes{{
    {SafetensorsDType::boolean, "BOOL", 1},
    {SafetensorsDType::u8, "U8", 1},
    {SafetensorsDType::i8, "I8", 1},
    {SafetensorsDType::f8_e4m3, "F8_E4M3", 1},
    {SafetensorsDType::f8_e5m2, "F8_E5M2", 1},
    {SafetensorsDType::f8_e8m0, "F8_E8M0", 1},
    {SafetensorsDType::f8_e4m3fnuz, "F8_E4M3FNUZ", 1},
    {SafetensorsDType::f8_e5m2fnuz, "F8_E5M2FNUZ", 1},
    {SafetensorsDType::i16, "I16", 2},
    {SafetensorsDType::u16, "U16", 2},
    {SafetensorsDType::f16, "F16", 2},
    {SafetensorsDType::bf16, "BF16", 2},
    {SafetensorsDType::i32, "I32", 4},
    {SafetensorsDType::u32, "U32", 4},
    {SafetensorsDType::f32, "F32", 4},
    {SafetensorsDType::i64, "I64", 8},
    {SafetensorsDType::u64, "U64", 8},
    {SafetensorsDType::f64, "F64", 8},
    {SafetensorsDType::c64, "C64", 8},
}};

const DTypeRow& row_of(SafetensorsDType dtype) {
  return kDTypes[static_cast<std::size_t>(dtype)];
}

std::string shape_text(std::span<const std::int64_t> shape) {
  constexpr std::size_t kShown = 8;
  std::string text = fmt::format("[{}", fmt::join(shape.first(std::min(shape.size(), kShown)), ","));
  return text + (shape.size() > kShown ? fmt::format(",...] ({} dimensions)", shape.size()) : "]");
}

// Product of the dimensions times the element size, or nothing when an intermediate product leaves 64 bits (also when a
// later dimension is 0, as in the reference implementation).
std::optional<std::uint64_t> byte_count(std::span<const std::int64_t> shape, SafetensorsDType dtype) {
  std::uint64_t bytes = 1;
  for (const std::int64_t dim : shape)
    if (dim < 0 || __builtin_mul_overflow(bytes, static_cast<std::uint64_t>(dim), &bytes)) return std::nullopt;
  if (__builtin_mul_overflow(bytes, std::uint64_t{size_of(dtype)}, &bytes)) return std::nullopt;
  return bytes;
}

template <class... Parts>
[[noreturn]] void refuse(const std::string& origin, const Parts&... parts) {
  fail(ErrorKind::checkpoint, "safetensors ", origin, ": ", parts...);
}

void refuse_pickle(std::span<const std::byte> bytes, const std::string& origin) {
  const auto starts = [&](std::string_view magic) {
    return bytes.size() >= magic.size() &&
           std::equal(magic.begin(), magic.end(), bytes.begin(), [](char c, std::byte b) {
             return static_cast<unsigned char>(c) == std::to_integer<unsigned char>(b);
           });
  };
  // A header of 640 bytes begins with pickle's 80 02, too; its JSON tells the two apart.
  const bool has_header = bytes.size() > 8 && bytes[8] == std::byte{'{'};
  if ((starts("PK\x03\x04") || starts("\x80\x02")) && !has_header)
    refuse(
        origin,
        "this is a PyTorch pickle (.pth), which is not read because a pickle can run code; convert it with "
        "pth_to_safetensors.py of the engine's tools");
}

void check_layout(const SafetensorsHeader& header, std::uint64_t data_bytes, const std::string& origin) {
  std::vector<std::size_t> order(header.entries.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return header.entries[a].offsets < header.entries[b].offsets; });
  std::uint64_t end_of_previous = 0;
  for (const std::size_t index : order) {
    const SafetensorsHeaderEntry& entry = header.entries[index];
    const auto [begin, end] = entry.offsets;
    const std::string name = shown_name(entry.name);
    if (end < begin) refuse(origin, "tensor ", name, ": data_offsets [", begin, ",", end, "] end before they begin");
    if (begin != end_of_previous)
      refuse(origin, "tensor ", name, ": data begins at ", begin, ", but the tensor before it ends at ",
             end_of_previous, (begin < end_of_previous ? "; tensors overlap" : "; there is a hole"));
    const auto bytes = byte_count(entry.shape, entry.dtype);
    if (!bytes) refuse(origin, "tensor ", name, ": shape ", shape_text(entry.shape), " overflows 64 bits");
    if (*bytes != end - begin)
      refuse(origin, "tensor ", name, ": ", name_of(entry.dtype), " of shape ", shape_text(entry.shape), " takes ",
             *bytes, " bytes, but its data_offsets span ", end - begin);
    end_of_previous = end;
  }
  if (end_of_previous != data_bytes)
    refuse(origin, "the header describes ", end_of_previous, " bytes of data, the file holds ", data_bytes,
           (data_bytes < end_of_previous ? "; it is truncated, copy or download it again"
                                         : "; bytes follow the last tensor"));
}

std::vector<std::size_t> order_on_disk(std::span<const TensorView> views) {
  std::vector<std::size_t> order(views.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return size_of(views[a].dtype) > size_of(views[b].dtype); });
  return order;
}

void check_views(std::span<const TensorView> views) {
  std::vector<std::string_view> names;
  for (const TensorView& view : views) {
    const std::string name = shown_name(view.name);
    if (view.name == "__metadata__" || !is_utf8(view.name))
      fail(ErrorKind::checkpoint, "write_safetensors: \"", name, "\" cannot be the name of a tensor");
    if (byte_count(view.shape, view.dtype) != view.data.size())
      fail(ErrorKind::checkpoint, "write_safetensors: tensor ", name, " is ", name_of(view.dtype), " of shape ",
           shape_text(view.shape), ", but has ", view.data.size(), " bytes of data");
    names.push_back(view.name);
  }
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end())
    fail(ErrorKind::checkpoint, "write_safetensors: two tensors are named ", shown_name(*twice));
}

// The eight length bytes and the JSON, padded with spaces so that the data starts at a multiple of 8.
std::string header_bytes(std::span<const TensorView> views, const SafetensorsMetadata& metadata) {
  std::string json = "{";
  if (!metadata.empty()) {
    json += "\"__metadata__\":{";
    for (const auto& [key, value] : metadata) {
      if (!is_utf8(key) || !is_utf8(value))
        fail(ErrorKind::checkpoint, "write_safetensors: metadata ", shown_name(key), " is not UTF-8");
      json += json_string(key) + ":" + json_string(value) + ",";
    }
    json.back() = '}';
  }
  std::uint64_t offset = 0;
  for (const std::size_t index : order_on_disk(views)) {
    const TensorView& view = views[index];
    if (json.size() > 1) json += ',';
    json += fmt::format("{}:{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}", json_string(view.name),
                        name_of(view.dtype), fmt::join(view.shape, ","), offset, offset + view.data.size());
    offset += view.data.size();
  }
  json += '}';
  json.resize((json.size() + 7) / 8 * 8, ' ');
  if (json.size() > kMaxHeaderBytes)
    fail(ErrorKind::checkpoint, "write_safetensors: a header of ", json.size(), " bytes exceeds the format's ",
         kMaxHeaderBytes);
  std::string bytes(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>(static_cast<std::uint64_t>(json.size()) >> (8 * i));
  return bytes + json;
}

}  // namespace

std::string_view name_of(SafetensorsDType dtype) {
  return row_of(dtype).name;
}
std::size_t size_of(SafetensorsDType dtype) {
  return row_of(dtype).bytes;
}

std::optional<SafetensorsDType> safetensors_dtype(std::string_view name) {
  for (const DTypeRow& row : kDTypes)
    if (row.name == name) return row.dtype;
  return std::nullopt;
}

SafetensorsFile SafetensorsFile::open(const std::filesystem::path& path, FileOps& ops) {
  return parse(read_file(path, {.kind = ErrorKind::checkpoint}, ops), path.string());
}

SafetensorsFile SafetensorsFile::parse(std::vector<std::byte> bytes, std::string origin) {
  refuse_pickle(bytes, origin);
  if (bytes.size() < 8) refuse(origin, "only ", bytes.size(), " bytes, expected at least the 8 of the header length");
  std::uint64_t header_length = 0;
  for (std::size_t i = 0; i < 8; ++i) header_length |= std::to_integer<std::uint64_t>(bytes[i]) << (8 * i);
  if (header_length > kMaxHeaderBytes)
    refuse(origin, "the header would take ", header_length, " bytes, more than the format's ", kMaxHeaderBytes,
           "; this is not a safetensors file or it is damaged");
  if (header_length > bytes.size() - 8)
    refuse(origin, "the header takes ", header_length, " bytes, but only ", bytes.size() - 8,
           " follow; the file is truncated, copy or download it again");

  SafetensorsFile file;
  file.origin_ = std::move(origin);
  file.bytes_ = std::move(bytes);
  const std::string_view text(reinterpret_cast<const char*>(file.bytes_.data()) + 8, header_length);
  SafetensorsHeader header = parse_safetensors_header(text, file.origin_);
  const auto data = std::span<const std::byte>(file.bytes_).subspan(8 + header_length);
  check_layout(header, data.size(), file.origin_);

  std::stable_sort(header.entries.begin(), header.entries.end(),
                   [](const auto& a, const auto& b) { return a.offsets < b.offsets; });
  file.entries_.reserve(header.entries.size());
  for (SafetensorsHeaderEntry& entry : header.entries) {
    const auto [begin, end] = entry.offsets;
    file.entries_.push_back(
        {std::move(entry.name), entry.dtype, std::move(entry.shape), data.subspan(begin, end - begin)});
  }
  file.metadata_ = std::move(header.metadata);

  const auto& entries = file.entries_;
  file.by_name_.resize(entries.size());
  std::iota(file.by_name_.begin(), file.by_name_.end(), std::size_t{0});
  std::sort(file.by_name_.begin(), file.by_name_.end(),
            [&](std::size_t a, std::size_t b) { return entries[a].name < entries[b].name; });
  const auto twice = std::adjacent_find(file.by_name_.begin(), file.by_name_.end(), [&](std::size_t a, std::size_t b) {
    return entries[a].name == entries[b].name;
  });
  if (twice != file.by_name_.end())
    refuse(file.origin_, "tensor ", shown_name(entries[*twice].name), " is described twice");
  return file;
}

const TensorView* SafetensorsFile::find(std::string_view name) const {
  const auto at = std::lower_bound(by_name_.begin(), by_name_.end(), name,
                                   [&](std::size_t index, std::string_view key) { return entries_[index].name < key; });
  return at != by_name_.end() && entries_[*at].name == name ? &entries_[*at] : nullptr;
}

void write_safetensors(FileWriter& writer, std::span<const TensorView> views, const SafetensorsMetadata& metadata) {
  check_views(views);
  writer.write(header_bytes(views, metadata));
  for (const std::size_t index : order_on_disk(views)) writer.write(views[index].data);
}

FileDigest write_safetensors(const std::filesystem::path& path, std::span<const TensorView> views,
                             const SafetensorsMetadata& metadata, FileOps& ops) {
  AtomicFile file(path, ErrorKind::checkpoint, ops);
  write_safetensors(file.writer(), views, metadata);
  return file.commit();
}

std::uint64_t safetensors_file_bytes(std::span<const TensorView> views, const SafetensorsMetadata& metadata) {
  std::uint64_t bytes = header_bytes(views, metadata).size();
  for (const TensorView& view : views) bytes += view.data.size();
  return bytes;
}

std::string describe_differences(const SafetensorsFile& file, std::span<const ExpectedTensor> expected,
                                 std::size_t max_listed) {
  std::vector<std::string> differences;
  std::vector<std::string_view> names;
  for (const ExpectedTensor& tensor : expected) {
    names.push_back(tensor.name);
    const TensorView* found = file.find(tensor.name);
    if (!found)
      differences.push_back(fmt::format("{} {} is missing", shown_name(tensor.name), shape_text(tensor.shape)));
    else if (found->shape != tensor.shape)
      differences.push_back(fmt::format("{} is {}, expected {}", shown_name(tensor.name), shape_text(found->shape),
                                        shape_text(tensor.shape)));
  }
  std::sort(names.begin(), names.end());
  for (const TensorView& tensor : file.entries())
    if (!std::binary_search(names.begin(), names.end(), tensor.name))
      differences.push_back(fmt::format("{} {} is not expected", shown_name(tensor.name), shape_text(tensor.shape)));
  if (differences.empty()) return "";
  const std::size_t listed = std::min(differences.size(), max_listed);
  std::string text =
      fmt::format("{}: {}", file.origin(),
                  fmt::join(differences.begin(), differences.begin() + static_cast<std::ptrdiff_t>(listed), "; "));
  if (differences.size() > listed) text += fmt::format("; and {} more differences", differences.size() - listed);
  return text;
}

}  // namespace engine
