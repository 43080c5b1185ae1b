#include "engine/data/png.h"

#include <spng.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>

#include "engine/error.h"

namespace engine {
namespace {

using Bytes = std::span<const uint8_t>;

constexpr std::array<uint8_t, 8> kSignature = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
constexpr size_t kChunkOverhead = 12;  // length, type, checksum

uint32_t big_endian32(const uint8_t* p) {
  return uint32_t{p[0]} << 24 | uint32_t{p[1]} << 16 | uint32_t{p[2]} << 8 | p[3];
}

// The checksum of a chunk (PNG specification, annex D), over type and data.
uint32_t crc32(Bytes bytes) {
  static constexpr auto kTable = [] {
    std::array<uint32_t, 256> table{};
    for (uint32_t n = 0; n < 256; ++n) {
      uint32_t c = n;
      for (int bit = 0; bit < 8; ++bit) c = (c & 1) != 0 ? 0xedb88320u ^ (c >> 1) : c >> 1;
      table[n] = c;
    }
    return table;
  }();
  uint32_t crc = 0xffffffffu;
  for (const uint8_t byte : bytes) crc = kTable[(crc ^ byte) & 0xff] ^ (crc >> 8);
  return ~crc;
}

// The chunks that make the picture; whatever else the file holds is never handed to the decoder, so texts,
// profiles and animations cost nothing however large they claim to be.
struct Chunks {
  uint32_t width = 0, height = 0;
  int depth = 0, color_type = 0;
  Bytes palette;             // data of PLTE
  std::vector<Bytes> parts;  // whole chunks in file order: IHDR, PLTE, IDAT...
  size_t compressed_bytes = 0;
};

class ChunkReader {
 public:
  ChunkReader(Bytes file, const std::string& name) : file_(file), name_(name) {}

  // Checks every chunk up to the image data by its checksum; that of the data itself is left to zlib's own,
  // as Pillow does.
  Chunks read() {
    Chunks chunks;
    size_t position = kSignature.size();
    bool after_image = false;
    while (file_.size() - position >= 8) {
      const uint32_t length = big_endian32(&file_[position]);
      const std::string type(reinterpret_cast<const char*>(&file_[position + 4]), 4);
      if (!std::all_of(type.begin(), type.end(), is_word)) {
        if (after_image) break;
        broken("the chunk at byte ", position, " has no valid type");
      }
      const size_t left = file_.size() - position;
      if (left < kChunkOverhead || length > left - kChunkOverhead)
        broken("chunk ", type, " at byte ", position, " claims ", length, " bytes, but the file ends ",
               left < kChunkOverhead ? 0 : left - kChunkOverhead, " bytes later");
      const Bytes chunk = file_.subspan(position, length + kChunkOverhead);
      position += chunk.size();
      if (type == "IEND") break;
      if (type == "IDAT") {
        if (!after_image) add_image_data(chunks, chunk);
        continue;
      }
      if (!chunks.parts.empty() && chunks.compressed_bytes > 0) {
        after_image = true;
        continue;
      }
      if (crc32(chunk.subspan(4, size_t{length} + 4)) != big_endian32(&chunk[length + 8]))
        broken("the checksum of chunk ", type, " is wrong");
      add_header(chunks, type, chunk);
    }
    if (chunks.parts.empty()) broken("it has no header");
    if (chunks.compressed_bytes == 0) broken("it has no image data");
    return chunks;
  }

 private:
  template <class... Parts>
  [[noreturn]] void broken(const Parts&... parts) {
    fail(ErrorKind::data, name_, ": broken PNG, ", parts..., "; replace or remove the file");
  }

  static bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  }

  void add_image_data(Chunks& chunks, Bytes chunk) {
    if (chunks.parts.empty()) broken("image data before the header");
    chunks.parts.push_back(chunk);
    chunks.compressed_bytes += chunk.size() - kChunkOverhead;
  }

  void add_header(Chunks& chunks, const std::string& type, Bytes chunk) {
    const Bytes data = chunk.subspan(8, chunk.size() - kChunkOverhead);
    if (type == "IHDR") {
      if (!chunks.parts.empty()) broken("it has a second header");
      if (data.size() != 13) broken("its header has ", data.size(), " bytes, expected 13");
      chunks.width = big_endian32(&data[0]);
      chunks.height = big_endian32(&data[4]);
      chunks.depth = data[8];
      chunks.color_type = data[9];
    } else if (type == "PLTE" && chunks.color_type == 3 && chunks.palette.empty()) {
      chunks.palette = data;
    } else {
      return;
    }
    chunks.parts.push_back(chunk);
  }

  Bytes file_;
  const std::string& name_;
};

int channels(int color_type) {
  switch (color_type) {
    case 2:
      return 3;
    case 4:
      return 2;
    case 6:
      return 4;
    default:
      return 1;
  }
}

// What libspng reads: the signature, the chosen chunks, an end chunk.
class Stream {
 public:
  explicit Stream(const std::vector<Bytes>& parts) : parts_(parts) {}

  static int read(spng_ctx*, void* user, void* destination, size_t length) {
    return static_cast<Stream*>(user)->read(static_cast<uint8_t*>(destination), length);
  }

 private:
  int read(uint8_t* destination, size_t length) {
    while (length > 0) {
      if (next_ == parts_.size() + 2) return SPNG_IO_EOF;
      const Bytes part = next_ == 0 ? Bytes(kSignature) : next_ <= parts_.size() ? parts_[next_ - 1] : Bytes(kEnd);
      const size_t count = std::min(length, part.size() - offset_);
      std::memcpy(destination, part.data() + offset_, count);
      destination += count;
      length -= count;
      offset_ += count;
      if (offset_ == part.size()) {
        ++next_;
        offset_ = 0;
      }
    }
    return 0;
  }

  static constexpr std::array<uint8_t, 12> kEnd = {0, 0, 0, 0, 'I', 'E', 'N', 'D', 0xae, 0x42, 0x60, 0x82};
  const std::vector<Bytes>& parts_;
  size_t next_ = 0;
  size_t offset_ = 0;
};

void check_limits(const Chunks& png, size_t raw_bytes, const std::string& name, const DecodeLimits& limits) {
  const uint64_t pixels = uint64_t{png.width} * png.height;
  if (pixels == 0 || pixels > static_cast<uint64_t>(limits.max_pixels))
    fail(ErrorKind::data, name, ": PNG of ", png.width, "x", png.height, " pixels, expected 1 to ", limits.max_pixels,
         " pixels; scale the picture down or remove the file");
  if (raw_bytes > static_cast<uint64_t>(limits.max_bytes))
    fail(ErrorKind::data, name, ": PNG of ", png.width, "x", png.height, " pixels needs ", raw_bytes,
         " bytes to decode, more than the limit of ", limits.max_bytes, "; scale the picture down or remove the file");
  // Deflate expands by at most 1032 (RFC 1951: 258 bytes for two bits).
  if (raw_bytes / 1032 > png.compressed_bytes)
    fail(ErrorKind::data, name, ": broken PNG, ", png.compressed_bytes, " bytes of image data cannot hold ", png.width,
         "x", png.height, " pixels; replace or remove the file");
}

// `raw` holds rows of `row_bytes` as in the file: samples big-endian, small ones packed from the high bit.
void to_rgb(const Chunks& png, const uint8_t* raw, size_t row_bytes, uint8_t* rgb) {
  std::array<std::array<uint8_t, 3>, 256> colors{};  // of a gray value or palette index of up to 8 bits
  if (png.color_type == 3) {
    for (size_t i = 0; i + 1 <= std::min<size_t>(png.palette.size() / 3, 256); ++i)
      colors[i] = {png.palette[3 * i], png.palette[3 * i + 1], png.palette[3 * i + 2]};
  } else if (png.depth <= 8) {
    const int levels = 1 << png.depth;
    for (int i = 0; i < levels; ++i) colors[static_cast<size_t>(i)].fill(static_cast<uint8_t>(i * 255 / (levels - 1)));
  }
  const bool one_channel = png.color_type == 0 || png.color_type == 3;
  const size_t sample = png.depth == 16 ? 2 : 1;
  const size_t step = sample * static_cast<size_t>(channels(png.color_type));
  const size_t green = png.color_type == 2 || png.color_type == 6 ? sample : 0;
  for (size_t y = 0; y < png.height; ++y, raw += row_bytes) {
    if (one_channel && png.depth <= 8) {
      const auto depth = static_cast<size_t>(png.depth);
      const unsigned mask = (1u << depth) - 1;
      for (size_t x = 0; x < png.width; ++x, rgb += 3) {
        const size_t bit = x * depth;
        const size_t index = raw[bit / 8] >> (8 - depth - bit % 8) & mask;
        std::memcpy(rgb, colors[index].data(), 3);
      }
    } else if (one_channel) {
      for (size_t x = 0; x < png.width; ++x, rgb += 3) std::memset(rgb, raw[2 * x] != 0 ? 255 : raw[2 * x + 1], 3);
    } else {
      const uint8_t* in = raw;
      for (size_t x = 0; x < png.width; ++x, rgb += 3, in += step) {
        rgb[0] = in[0];
        rgb[1] = in[green];
        rgb[2] = in[2 * green];
      }
    }
  }
}

}  // namespace

bool is_png(Bytes bytes) {
  return bytes.size() >= kSignature.size() && std::equal(kSignature.begin(), kSignature.end(), bytes.begin());
}

std::optional<ImageSize> png_size(Bytes bytes) {
  constexpr size_t kHeaderEnd = 24;  // signature, length and type of the first chunk, width, height
  constexpr uint32_t kLargest = 0x7fffffff;
  if (bytes.size() < kHeaderEnd || std::memcmp(&bytes[12], "IHDR", 4) != 0) return std::nullopt;
  const uint32_t width = big_endian32(&bytes[16]), height = big_endian32(&bytes[20]);
  if (width > kLargest || height > kLargest) return std::nullopt;
  return ImageSize{static_cast<int>(width), static_cast<int>(height)};
}

Image decode_png(Bytes bytes, const std::string& name, const DecodeLimits& limits) {
  const Chunks png = ChunkReader(bytes, name).read();
  const auto bits = static_cast<size_t>(png.depth * channels(png.color_type));
  const size_t row_bytes = (png.width * bits + 7) / 8;
  const size_t raw_bytes = row_bytes * png.height;
  check_limits(png, raw_bytes, name, limits);

  Stream stream(png.parts);
  const std::unique_ptr<spng_ctx, decltype(&spng_ctx_free)> context(spng_ctx_new(0), spng_ctx_free);
  if (!context) throw std::bad_alloc();
  const auto require = [&](int status) {
    if (status != 0)
      fail(ErrorKind::data, name, ": broken PNG, ", spng_strerror(status), "; replace or remove the file");
  };
  require(spng_set_crc_action(context.get(), SPNG_CRC_USE, SPNG_CRC_USE));
  require(spng_set_png_stream(context.get(), &Stream::read, &stream));
  // Refuses a header that is not in the specification before anything is allocated.
  spng_ihdr header{};
  require(spng_get_ihdr(context.get(), &header));

  Image image{static_cast<int>(png.width), static_cast<int>(png.height), {}};
  image.pixels.resize(size_t{png.width} * png.height * 3);
  if (png.color_type == 2 && png.depth == 8) {
    require(spng_decode_image(context.get(), image.pixels.data(), raw_bytes, SPNG_FMT_RAW, 0));
    return image;
  }
  std::vector<uint8_t> raw(raw_bytes);
  require(spng_decode_image(context.get(), raw.data(), raw_bytes, SPNG_FMT_RAW, 0));
  to_rgb(png, raw.data(), row_bytes, image.pixels.data());
  return image;
}

}  // namespace engine
