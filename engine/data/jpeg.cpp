#include "engine/data/jpeg.h"

#include <csetjmp>
#include <cstdio>
#include <cstring>

#include <jerror.h>
#include <jpeglib.h>

#include "engine/error.h"

namespace engine {
namespace {

// Rows that libjpeg is offered at a time; it hands out at most one row of sample blocks.
constexpr JDIMENSION kRowsPerCall = 16;

// Columns decoded on both sides of a wanted region: chroma is interpolated, so the outermost columns of what is
// decoded depend on their neighbours. 8 are enough for every sampling libjpeg interpolates (a factor of 2).
constexpr int kRegionMargin = 8;

// libjpeg reports errors by a jump: each member that calls into it sets the place to return to, and holds
// nothing that needs a destructor.
class JpegReader {
 public:
  // With `partial`, an image whose end is missing is read as if the end followed.
  explicit JpegReader(std::span<const uint8_t> bytes, bool partial = false) : bytes_(bytes), partial_(partial) {
    jpeg_.err = jpeg_std_error(&errors_);
    jpeg_.client_data = this;
    errors_.error_exit = [](j_common_ptr jpeg) {
      auto* self = static_cast<JpegReader*>(jpeg->client_data);
      if (jpeg->err->msg_code == JERR_NO_BACKING_STORE)
        std::snprintf(self->message_, sizeof self->message_, "decoding it takes more than the limit of %ld bytes",
                      jpeg->mem->max_memory_to_use);
      else
        jpeg->err->format_message(jpeg, self->message_);
      std::longjmp(self->jump_, 1);
    };
    errors_.output_message = [](j_common_ptr) {};
  }
  ~JpegReader() { jpeg_destroy_decompress(&jpeg_); }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  const jpeg_decompress_struct& info() const { return jpeg_; }
  const char* message() const { return message_; }

  // Reads up to the first scan.
  bool read_header(int64_t max_bytes) {
    if (setjmp(jump_) != 0) return false;
    jpeg_create_decompress(&jpeg_);
    // Counts what a progressive picture keeps between its scans; past it libjpeg reports an error.
    jpeg_.mem->max_memory_to_use = static_cast<long>(max_bytes);
    set_source();
    while (jpeg_read_header(&jpeg_, FALSE) == JPEG_HEADER_TABLES_ONLY) {
    }
    return true;
  }

  // Scans in the file from the current one on, counted by their markers: entropy-coded data holds no other
  // 0xff byte than one followed by zero, so this is a search and no decoding.
  int count_scans() const {
    int scans = 1;
    if (past_end_) return scans;
    const uint8_t* const end = bytes_.data() + bytes_.size();
    const uint8_t* p = source_.next_input_byte;
    while (end - p >= 2) {
      p = static_cast<const uint8_t*>(std::memchr(p, 0xff, static_cast<size_t>(end - p - 1)));
      if (p == nullptr || p[1] == 0xd9) break;
      scans += p[1] == 0xda;
      ++p;
    }
    return scans;
  }

  // Data beyond the last row may be missing, as for Pillow; with `partial`, that beyond the first.
  bool read_pixels(J_COLOR_SPACE color_space, uint8_t* pixels) {
    if (setjmp(jump_) != 0) {
      if (partial_) return started_ && jpeg_.output_scanline > 0;
      return ended_ && started_ && jpeg_.output_scanline == jpeg_.output_height;
    }
    jpeg_.out_color_space = color_space;
    jpeg_start_decompress(&jpeg_);
    started_ = true;
    const size_t row_bytes = size_t{jpeg_.output_width} * static_cast<size_t>(jpeg_.output_components);
    while (jpeg_.output_scanline < jpeg_.output_height) {
      JSAMPROW rows[kRowsPerCall];
      const JDIMENSION left = jpeg_.output_height - jpeg_.output_scanline;
      const JDIMENSION count = left < kRowsPerCall ? left : kRowsPerCall;
      for (JDIMENSION i = 0; i < count; ++i) rows[i] = pixels + (jpeg_.output_scanline + i) * row_bytes;
      jpeg_read_scanlines(&jpeg_, rows, count);
    }
    jpeg_finish_decompress(&jpeg_);
    return true;
  }

  // Whether read_region() gives what read_pixels() would.
  bool can_read_region() const {
    return jpeg_.num_components <= 3 && jpeg_.progressive_mode == FALSE && jpeg_.comps_in_scan == jpeg_.num_components;
  }

  // The RGB pixels of `region`. `rows` has room for kRowsPerCall rows of the whole image. False on any error or
  // missing data; only read_pixels() of a new reader can then tell whether the file is to be refused.
  bool read_region(const Region& region, uint8_t* rows, uint8_t* pixels) {
    if (setjmp(jump_) != 0) return false;
    jpeg_.out_color_space = JCS_RGB;
    jpeg_start_decompress(&jpeg_);
    const int width = static_cast<int>(jpeg_.output_width);
    const int left = region.x > kRegionMargin ? region.x - kRegionMargin : 0;
    const int spare = width - region.x - region.width;
    const int right = region.x + region.width + (spare < kRegionMargin ? spare : kRegionMargin);
    auto first = static_cast<JDIMENSION>(left);
    auto count = static_cast<JDIMENSION>(right - left);
    if (right - left < width) jpeg_crop_scanline(&jpeg_, &first, &count);

    const size_t row_bytes = size_t{3} * jpeg_.output_width;
    const size_t wanted_bytes = size_t{3} * static_cast<size_t>(region.width);
    const auto end = static_cast<JDIMENSION>(region.y + region.height);
    uint8_t* out = pixels;
    rows_[0] = rows;
    for (JDIMENSION i = 1; i < kRowsPerCall; ++i) rows_[i] = rows_[i - 1] + row_bytes;
    if (region.y > 0) jpeg_skip_scanlines(&jpeg_, static_cast<JDIMENSION>(region.y));
    while (jpeg_.output_scanline < end) {
      const JDIMENSION ask = end - jpeg_.output_scanline < kRowsPerCall ? end - jpeg_.output_scanline : kRowsPerCall;
      const JDIMENSION got = jpeg_read_scanlines(&jpeg_, rows_, ask);
      for (JDIMENSION i = 0; i < got; ++i, out += wanted_bytes)
        std::memcpy(out, rows_[i] + size_t{3} * (static_cast<JDIMENSION>(region.x) - first), wanted_bytes);
    }
    return ends_after_scan();
  }

 private:
  // Whether the next marker from here on, restarts aside, is the end of the image. A truncated file has none.
  bool ends_after_scan() const {
    if (jpeg_.unread_marker != 0) return jpeg_.unread_marker == JPEG_EOI;
    const uint8_t* const end = bytes_.data() + bytes_.size();
    for (const uint8_t* p = source_.next_input_byte; end - p >= 2; ++p) {
      p = static_cast<const uint8_t*>(std::memchr(p, 0xff, static_cast<size_t>(end - p - 1)));
      if (p == nullptr) return false;
      const bool restart = p[1] >= JPEG_RST0 && p[1] < JPEG_RST0 + 8;
      if (p[1] != 0 && p[1] != 0xff && !restart) return p[1] == JPEG_EOI;
    }
    return false;
  }

  void set_source() {
    source_.next_input_byte = bytes_.data();
    source_.bytes_in_buffer = bytes_.size();
    source_.init_source = [](j_decompress_ptr) {};
    source_.fill_input_buffer = [](j_decompress_ptr jpeg) -> boolean {
      return static_cast<JpegReader*>(jpeg->client_data)->pass_end();
    };
    source_.skip_input_data = [](j_decompress_ptr jpeg, long count) {
      jpeg_source_mgr* source = jpeg->src;
      if (count <= 0) return;
      if (static_cast<size_t>(count) > source->bytes_in_buffer) {
        static_cast<JpegReader*>(jpeg->client_data)->pass_end();
        return;
      }
      source->next_input_byte += count;
      source->bytes_in_buffer -= static_cast<size_t>(count);
    };
    source_.resync_to_restart = jpeg_resync_to_restart;
    source_.term_source = [](j_decompress_ptr) {};
    jpeg_.src = &source_;
  }

  boolean pass_end() {
    if (!partial_) end_of_file();
    static constexpr JOCTET kEnd[] = {0xff, JPEG_EOI};
    source_.next_input_byte = kEnd;
    source_.bytes_in_buffer = sizeof kEnd;
    past_end_ = true;
    return TRUE;
  }

  [[noreturn]] void end_of_file() {
    ended_ = true;
    std::snprintf(message_, sizeof message_, "the file ends inside the image, after %zu bytes", bytes_.size());
    std::longjmp(jump_, 1);
  }

  std::span<const uint8_t> bytes_;
  bool partial_ = false;
  bool past_end_ = false;
  jpeg_decompress_struct jpeg_{};
  jpeg_error_mgr errors_{};
  jpeg_source_mgr source_{};
  std::jmp_buf jump_;
  JSAMPROW rows_[kRowsPerCall] = {};
  char message_[JMSG_LENGTH_MAX] = {};
  bool ended_ = false;
  bool started_ = false;
};

void check_limits(const JpegReader& reader, size_t file_bytes, const std::string& name, const DecodeLimits& limits) {
  const jpeg_decompress_struct& info = reader.info();
  const uint64_t pixels = uint64_t{info.image_width} * info.image_height;
  if (pixels > static_cast<uint64_t>(limits.max_pixels))
    fail(ErrorKind::data, name, ": JPEG of ", info.image_width, "x", info.image_height, " pixels, expected at most ",
         limits.max_pixels, " pixels; scale the picture down or remove the file");
  // Huffman coding spends at least a bit on each 8x8 block. Only pictures large enough to matter are held to
  // it: a small one may end early and still decode, its rest filled with gray, and Pillow lets it.
  constexpr uint64_t kLarge = 4'000'000;
  if (info.arith_code == FALSE && pixels > kLarge && file_bytes * 8 < pixels / 64)
    fail(ErrorKind::data, name, ": broken JPEG, ", file_bytes, " bytes cannot hold ", info.image_width, "x",
         info.image_height, " pixels; replace or remove the file");
  if (info.num_components != 1 && info.num_components != 3 && info.num_components != 4)
    fail(ErrorKind::data, name, ": JPEG with ", info.num_components,
         " components, expected 1 (gray), 3 (RGB) or 4 (CMYK); convert or remove the file");
  if (info.progressive_mode != FALSE || info.comps_in_scan < info.num_components) {
    const int scans = reader.count_scans();
    if (scans > limits.max_scans)
      fail(ErrorKind::data, name, ": JPEG with ", scans, " scans, expected at most ", limits.max_scans,
           "; re-encode or remove the file");
  }
}

// x*y/255, rounded, for bytes.
int multiply_div255(int x, int y) {
  const int product = x * y + 128;
  return (product + (product >> 8)) >> 8;
}

// The file's samples are 255 - ink (Adobe's convention, which Pillow assumes of every CMYK JPEG), so with
// c, m, y, k in ink: r = (255-k) - c*(255-k)/255.
void cmyk_to_rgb(const std::vector<uint8_t>& cmyk, std::vector<uint8_t>& rgb) {
  for (size_t i = 0, o = 0; i < cmyk.size(); i += 4, o += 3) {
    const int light = cmyk[i + 3];
    for (size_t c = 0; c < 3; ++c) rgb[o + c] = static_cast<uint8_t>(light - multiply_div255(255 - cmyk[i + c], light));
  }
}

}  // namespace

bool is_jpeg(std::span<const uint8_t> bytes) {
  return bytes.size() >= 3 && bytes[0] == 0xff && bytes[1] == 0xd8 && bytes[2] == 0xff;
}

std::optional<ImageSize> jpeg_size(std::span<const uint8_t> bytes) {
  JpegReader reader(bytes);
  if (!reader.read_header(DecodeLimits{}.max_bytes)) return std::nullopt;
  return ImageSize{static_cast<int>(reader.info().image_width), static_cast<int>(reader.info().image_height)};
}

Image decode_jpeg(std::span<const uint8_t> bytes, const std::string& name, const DecodeLimits& limits) {
  JpegReader reader(bytes, limits.partial);
  const auto broken = [&] {
    fail(ErrorKind::data, name, ": broken JPEG, ", reader.message(), "; replace or remove the file");
  };
  if (!reader.read_header(limits.max_bytes)) broken();
  check_limits(reader, bytes.size(), name, limits);

  const jpeg_decompress_struct& info = reader.info();
  Image image{static_cast<int>(info.image_width), static_cast<int>(info.image_height), {}};
  const size_t pixels = size_t{info.image_width} * info.image_height;
  image.pixels.resize(pixels * 3);
  if (info.num_components == 4) {
    std::vector<uint8_t> cmyk(pixels * 4);
    if (!reader.read_pixels(JCS_CMYK, cmyk.data())) broken();
    cmyk_to_rgb(cmyk, image.pixels);
  } else if (!reader.read_pixels(JCS_RGB, image.pixels.data())) {
    broken();
  }
  return image;
}

Image decode_jpeg_region(std::span<const uint8_t> bytes, const std::string& name, const RegionChoice& choose,
                         const DecodeLimits& limits) {
  JpegReader reader(bytes);
  if (!reader.read_header(limits.max_bytes)) return decode_jpeg(bytes, name, limits);
  check_limits(reader, bytes.size(), name, limits);
  const int width = static_cast<int>(reader.info().image_width);
  const int height = static_cast<int>(reader.info().image_height);
  const Region region = choose(width, height);
  check_inside(region, width, height);
  if (reader.can_read_region() && region != Region{0, 0, width, height}) {
    const size_t wanted = size_t{3} * static_cast<size_t>(region.width) * static_cast<size_t>(region.height);
    Image image{region.width, region.height, std::vector<uint8_t>(wanted)};
    std::vector<uint8_t> rows(size_t{3} * kRowsPerCall * static_cast<size_t>(width));
    if (reader.read_region(region, rows.data(), image.pixels.data())) return image;
  }
  return cut(decode_jpeg(bytes, name, limits), region);
}

}  // namespace engine
