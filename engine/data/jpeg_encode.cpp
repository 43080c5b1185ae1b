#include "engine/data/jpeg_encode.h"

#include <csetjmp>
#include <cstdio>
#include <cstdlib>

#include <jpeglib.h>

#include "engine/error.h"

namespace engine {
namespace {

// libjpeg reports errors by a jump: write() holds nothing that needs a destructor.
class JpegWriter {
 public:
  JpegWriter() {
    jpeg_.err = jpeg_std_error(&errors_);
    jpeg_.client_data = this;
    errors_.error_exit = [](j_common_ptr jpeg) {
      auto* self = static_cast<JpegWriter*>(jpeg->client_data);
      jpeg->err->format_message(jpeg, self->message_);
      std::longjmp(self->jump_, 1);
    };
    errors_.output_message = [](j_common_ptr) {};
  }
  ~JpegWriter() {
    jpeg_destroy_compress(&jpeg_);
    std::free(bytes_);
  }
  JpegWriter(const JpegWriter&) = delete;
  JpegWriter& operator=(const JpegWriter&) = delete;

  const char* message() const { return message_; }
  std::vector<uint8_t> result() const { return {bytes_, bytes_ + size_}; }

  bool write(const ImageView& image, int quality) {
    if (setjmp(jump_) != 0) return false;
    jpeg_create_compress(&jpeg_);
    jpeg_mem_dest(&jpeg_, &bytes_, &size_);
    jpeg_.image_width = static_cast<JDIMENSION>(image.width);
    jpeg_.image_height = static_cast<JDIMENSION>(image.height);
    jpeg_.input_components = 3;
    jpeg_.in_color_space = JCS_RGB;
    jpeg_set_defaults(&jpeg_);
    jpeg_set_quality(&jpeg_, quality, TRUE);
    jpeg_.optimize_coding = TRUE;
    jpeg_start_compress(&jpeg_, TRUE);
    while (jpeg_.next_scanline < jpeg_.image_height) {
      auto* row = const_cast<JSAMPROW>(image.pixels + static_cast<ptrdiff_t>(jpeg_.next_scanline) * image.stride);
      jpeg_write_scanlines(&jpeg_, &row, 1);
    }
    jpeg_finish_compress(&jpeg_);
    return true;
  }

 private:
  jpeg_compress_struct jpeg_{};
  jpeg_error_mgr errors_{};
  std::jmp_buf jump_;
  unsigned char* bytes_ = nullptr;
  unsigned long size_ = 0;
  char message_[JMSG_LENGTH_MAX] = {};
};

}  // namespace

std::vector<uint8_t> encode_jpeg(const ImageView& image, int quality) {
  check(quality >= 1 && quality <= 100, "JPEG: quality ", quality, ", but 1 to 100 are possible");
  JpegWriter writer;
  if (!writer.write(image, quality)) {
    fail(ErrorKind::data, "JPEG: cannot encode an image of ", image.width, "x", image.height, ": ", writer.message());
  }
  return writer.result();
}

}  // namespace engine
