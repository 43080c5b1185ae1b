#include "engine/data/image.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <ctime>
#include <functional>

#include "engine/error.h"
#include "tests/data/goldens.h"

namespace engine {
namespace {

using testing::HasSubstr;
using Bytes = std::vector<uint8_t>;

// The message of the Error(data) that decoding throws; "decoded" if it throws none.
std::string error_of(const Bytes& bytes, const std::string& name, const DecodeLimits& limits = {}) {
  try {
    decode_image(bytes, name, limits);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::data) << error.what();
    return error.what();
  }
  return "decoded";
}

struct Cost {
  double seconds = 0;  // of processor time
  long kilobytes = 0;  // added to the peak memory of this process
};

Cost cost_of(const std::function<void()>& work) {
  rusage before{}, after{};
  getrusage(RUSAGE_SELF, &before);
  const std::clock_t start = std::clock();
  work();
  const std::clock_t end = std::clock();
  getrusage(RUSAGE_SELF, &after);
  return {static_cast<double>(end - start) / CLOCKS_PER_SEC, after.ru_maxrss - before.ru_maxrss};
}

// A hostile file must be refused for less than 0.2 s and 64 MB.
std::string cheap_error_of(const Bytes& bytes) {
  std::string message;
  const Cost cost = cost_of([&] { message = error_of(bytes, "bomb"); });
  EXPECT_LT(cost.seconds, 0.2);
  EXPECT_LT(cost.kilobytes, 64 * 1024);
  return message;
}

void store32(uint8_t* bytes, uint32_t value) {
  for (int i = 0; i < 4; ++i) bytes[i] = static_cast<uint8_t>(value >> (24 - 8 * i));
}

uint32_t crc32(std::span<const uint8_t> bytes) {
  uint32_t crc = ~0u;
  for (const uint8_t byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0u);
  }
  return ~crc;
}

Bytes chunk(const std::string& type, const Bytes& data) {
  Bytes bytes(data.size() + 12);
  store32(bytes.data(), static_cast<uint32_t>(data.size()));
  std::copy(type.begin(), type.end(), bytes.begin() + 4);
  std::copy(data.begin(), data.end(), bytes.begin() + 8);
  store32(&bytes[data.size() + 8], crc32(std::span(bytes).subspan(4, data.size() + 4)));
  return bytes;
}

Bytes png_header(uint32_t width, uint32_t height) {
  Bytes data(13);
  store32(&data[0], width);
  store32(&data[4], height);
  data[8] = 8;  // bits
  data[9] = 2;  // RGB
  return chunk("IHDR", data);
}

Bytes png(const std::vector<Bytes>& chunks) {
  Bytes bytes = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  for (const Bytes& part : chunks) bytes.insert(bytes.end(), part.begin(), part.end());
  return bytes;
}

// zlib stream of one stored block: a 1x1 RGB picture, pixel (1, 2, 3).
const Bytes kOnePixel = {0x78, 0x01, 0x01, 4, 0, 0xfb, 0xff, 0, 1, 2, 3, 0, 0x0e, 0, 7};

// `jpeg` with another size in its frame header.
Bytes with_jpeg_size(Bytes jpeg, int width, int height) {
  for (size_t i = 2; i + 9 < jpeg.size(); i += 2 + static_cast<size_t>(jpeg[i + 2] * 256 + jpeg[i + 3])) {
    if (jpeg[i + 1] != 0xc0 && jpeg[i + 1] != 0xc2) continue;
    jpeg[i + 5] = static_cast<uint8_t>(height >> 8);
    jpeg[i + 6] = static_cast<uint8_t>(height);
    jpeg[i + 7] = static_cast<uint8_t>(width >> 8);
    jpeg[i + 8] = static_cast<uint8_t>(width);
    return jpeg;
  }
  throw std::logic_error("no frame header");
}

TEST(DecodeImage, EqualsPillowOnEveryKindOfFile) {
  const auto rows = golden_rows("decode.tsv");
  ASSERT_GE(rows.size(), 40u);
  for (const auto& row : rows) {
    SCOPED_TRACE(row[0]);
    const Image image = decode_image(read_bytes(golden_path(row[0])), row[0]);
    EXPECT_EQ(std::to_string(image.width), row[1]);
    EXPECT_EQ(std::to_string(image.height), row[2]);
    EXPECT_EQ(hash(image.pixels), row[3]);
  }
}

TEST(DecodeImage, EqualsPillowOnRealPhotos) {
  ENGINE_SKIP_WITHOUT_TEST_DATA();
  for (const auto& row : golden_rows("photos.tsv")) {
    const Image image = decode_image(read_bytes(test_data() / "images/photos" / row[0]), row[0]);
    EXPECT_EQ(hash(image.pixels), row[3]) << row[0];
  }
}

TEST(DecodeImage, EqualsPillowOnOddAndBrokenFilesThatItReads) {
  ENGINE_SKIP_WITHOUT_TEST_DATA();
  for (const auto& row : golden_rows("corpus.tsv")) {
    SCOPED_TRACE(row[0]);
    const Image image = decode_image(read_bytes(test_data() / "images" / row[0]), row[0]);
    EXPECT_EQ(std::to_string(image.width) + "x" + std::to_string(image.height), row[1] + "x" + row[2]);
    EXPECT_EQ(hash(image.pixels), row[3]);
  }
}

TEST(DecodeImage, EndsInBoundedTimeOnEveryHostileFile) {
  ENGINE_SKIP_WITHOUT_TEST_DATA();
  int files = 0;
  for (const char* folder : {"images/odd", "images/png-suite", "images/jpeg-seeds", "faults"})
    for (const auto& entry : std::filesystem::directory_iterator(test_data() / folder)) {
      if (!entry.is_regular_file()) continue;
      const Bytes bytes = read_bytes(entry.path());
      const Cost cost = cost_of([&] { error_of(bytes, entry.path().filename()); });
      EXPECT_LT(cost.seconds, 1.0) << entry.path();
      ++files;
    }
  EXPECT_GT(files, 600);
}

TEST(DecodeImage, GoesByContentNotByName) {
  const Image image = decode_image(read_bytes(golden_path("rgb8.png")), "photo.jpg");
  EXPECT_EQ(image.width, 21);
}

TEST(DecodeImage, RefusesAnEmptyFile) {
  EXPECT_EQ(error_of({}, "a.jpg"), "a.jpg: the file is empty, expected a JPEG or PNG image");
}

TEST(DecodeImage, RefusesText) {
  const std::string text = "<html>not found</html>";
  EXPECT_EQ(error_of({text.begin(), text.end()}, "a.jpg"),
            "a.jpg: neither JPEG nor PNG (the 22 bytes start with 3c 68 74 6d 6c 3e 6e 6f); convert or remove "
            "the file");
}

// A PNG that lacks no more than its end chunk is whole, for Pillow too.
TEST(DecodeImage, RefusesEveryTruncation) {
  for (const auto& row : golden_rows("decode.tsv")) {
    const Bytes whole = read_bytes(golden_path(row[0]));
    const size_t needed = whole.size() - (whole[0] == 0x89 ? 12 : 0);
    for (size_t part = 0; part < 16; ++part) {
      const Bytes bytes(whole.begin(), whole.begin() + static_cast<ptrdiff_t>(needed * part / 16));
      const std::string message = error_of(bytes, row[0]);
      EXPECT_THAT(message, HasSubstr(row[0] + ": ")) << part << "/16";
    }
  }
}

TEST(DecodeImage, SaysWhereATruncatedJpegEnds) {
  Bytes bytes = read_bytes(golden_path("420.jpg"));
  bytes.erase(bytes.end() - 100, bytes.end());
  EXPECT_EQ(error_of(bytes, "a.jpg"), "a.jpg: broken JPEG, the file ends inside the image, after " +
                                          std::to_string(bytes.size()) + " bytes; replace or remove the file");
}

TEST(DecodeImage, RefusesAJpegOfFourBillionPixels) {
  EXPECT_EQ(cheap_error_of(with_jpeg_size(read_bytes(golden_path("420.jpg")), 65500, 65500)),
            "bomb: JPEG of 65500x65500 pixels, expected at most 100000000 pixels; scale the picture down or remove "
            "the file");
}

TEST(DecodeImage, RefusesAJpegWhoseDataCannotFillItsSize) {
  EXPECT_THAT(cheap_error_of(with_jpeg_size(read_bytes(golden_path("420_progressive.jpg")), 9000, 9000)),
              HasSubstr("bytes cannot hold 9000x9000 pixels"));
}

TEST(DecodeImage, RefusesAScanBomb) {
  Bytes bytes = read_bytes(golden_path("420_progressive.jpg"));
  const std::array<uint8_t, 2> scan = {0xff, 0xda};
  const auto last = std::find_end(bytes.begin(), bytes.end(), scan.begin(), scan.end());
  const Bytes copy(last, bytes.end() - 2);
  bytes.erase(bytes.end() - 2, bytes.end());
  for (int i = 0; i < 3000; ++i) bytes.insert(bytes.end(), copy.begin(), copy.end());
  bytes.insert(bytes.end(), {0xff, 0xd9});
  EXPECT_EQ(cheap_error_of(bytes), "bomb: JPEG with 3010 scans, expected at most 100; re-encode or remove the file");
}

TEST(DecodeImage, KeepsAProgressiveJpegWithinTheMemoryLimit) {
  const Bytes bytes = with_jpeg_size(read_bytes(golden_path("420_progressive.jpg")), 1000, 1000);
  EXPECT_EQ(error_of(bytes, "a.jpg", {.max_bytes = 100'000}),
            "a.jpg: broken JPEG, decoding it takes more than the limit of 100000 bytes; replace or remove the file");
}

TEST(DecodeImage, ReadsAPngMadeByHand) {
  const Bytes bytes = png({png_header(1, 1), chunk("IDAT", kOnePixel), chunk("IEND", {})});
  EXPECT_EQ(decode_image(bytes, "a.png").pixels, (Bytes{1, 2, 3}));
}

TEST(DecodeImage, RefusesAPngOfFourBillionPixels) {
  EXPECT_EQ(cheap_error_of(png({png_header(65535, 65535), chunk("IDAT", kOnePixel)})),
            "bomb: PNG of 65535x65535 pixels, expected 1 to 100000000 pixels; scale the picture down or remove the "
            "file");
}

TEST(DecodeImage, RefusesAPngWithoutPixels) {
  EXPECT_THAT(error_of(png({png_header(0, 5), chunk("IDAT", kOnePixel)}), "a.png"),
              HasSubstr("PNG of 0x5 pixels, expected 1 to"));
}

TEST(DecodeImage, RefusesAPngWhoseDataCannotFillItsSize) {
  EXPECT_EQ(cheap_error_of(png({png_header(9000, 9000), chunk("IDAT", kOnePixel)})),
            "bomb: broken PNG, 15 bytes of image data cannot hold 9000x9000 pixels; replace or remove the file");
}

TEST(DecodeImage, RefusesAPngBeyondTheMemoryLimit) {
  EXPECT_THAT(error_of(read_bytes(golden_path("rgba16.png")), "a.png", {.max_bytes = 1000}),
              HasSubstr("needs 2184 bytes to decode, more than the limit of 1000"));
}

TEST(DecodeImage, RefusesAChunkLargerThanTheFile) {
  Bytes huge = chunk("iCCP", {1, 2, 3});
  std::fill(huge.begin(), huge.begin() + 4, uint8_t{0xff});
  EXPECT_EQ(cheap_error_of(png({png_header(1, 1), huge})),
            "bomb: broken PNG, chunk iCCP at byte 33 claims 4294967295 bytes, but the file ends 3 bytes later; "
            "replace or remove the file");
}

TEST(DecodeImage, SkipsAncillaryChunksUnread) {
  const Bytes text = chunk("zTXt", Bytes(1 << 16, 0xaa));  // not even a valid stream
  const Bytes bytes = png({png_header(1, 1), text, chunk("IDAT", kOnePixel), text, chunk("IEND", {})});
  EXPECT_EQ(decode_image(bytes, "a.png").pixels, (Bytes{1, 2, 3}));
}

TEST(DecodeImage, RefusesAWrongHeaderChecksum) {
  Bytes bytes = png({png_header(1, 1), chunk("IDAT", kOnePixel)});
  bytes[8 + 8 + 3] = 2;  // width
  EXPECT_EQ(error_of(bytes, "a.png"),
            "a.png: broken PNG, the checksum of chunk IHDR is wrong; replace or remove the file");
}

TEST(DecodeImage, RefusesAPngWithoutImageData) {
  EXPECT_EQ(error_of(png({png_header(1, 1), chunk("IEND", {})}), "a.png"),
            "a.png: broken PNG, it has no image data; replace or remove the file");
}

TEST(DecodeImage, RefusesBrokenCompression) {
  EXPECT_THAT(error_of(png({png_header(1, 1), chunk("IDAT", {1, 2, 3, 4})}), "a.png"),
              HasSubstr("a.png: broken PNG, "));
}

TEST(DecodeImageRegion, IsCutFromTheWhole) {
  for (const char* name : {"420.jpg", "422.jpg", "444_progressive.jpg", "gray.jpg", "cmyk.jpg", "rgba16.png"}) {
    const Bytes file = read_bytes(golden_path(name));
    const Image whole = decode_image(file, name);
    for (int y = 0; y < whole.height; y += 3)
      for (int x = 0; x < whole.width; x += 3)
        for (const Region& region :
             {Region{x, y, whole.width - x, whole.height - y}, Region{x, y, 1, 1}, Region{0, y, x + 1, 1}}) {
          const Image part = decode_image_region(file, name, [&](int, int) { return region; });
          ASSERT_EQ(part.pixels, cut(whole, region).pixels)
              << name << ": " << region.width << "x" << region.height << " at " << region.x << ", " << region.y;
        }
  }
}

TEST(DecodePartially, GivesTheRowsBeforeTheBreak) {
  for (const char* name : {"420.jpg", "444_progressive.jpg", "cmyk.jpg"}) {
    const Bytes file = read_bytes(golden_path(name));
    const Image whole = decode_image(file, name);
    const auto half = std::span(file).first(file.size() * 3 / 4);
    EXPECT_THROW(decode_image(half, name), Error) << name;
    const Image part = decode_image(half, name, {.partial = true});
    ASSERT_EQ(part.pixels.size(), whole.pixels.size()) << name;
    EXPECT_NE(part.pixels, whole.pixels) << name;
    if (std::string(name) == "420.jpg") {
      EXPECT_TRUE(std::equal(part.pixels.begin(), part.pixels.begin() + 3 * 8 * part.width, whole.pixels.begin()));
    }
    EXPECT_THROW(decode_image(std::span(file).first(20), name, {.partial = true}), Error) << name;
    EXPECT_EQ(decode_image(file, name, {.partial = true}).pixels, whole.pixels) << name;
  }
}

TEST(ImageSize, IsThatOfTheDecodedPicture) {
  for (const char* name : {"420.jpg", "444_progressive.jpg", "gray.jpg", "cmyk.jpg", "rgba16.png"}) {
    const Bytes file = read_bytes(golden_path(name));
    const Image whole = decode_image(file, name);
    const auto size = image_size(file);
    ASSERT_TRUE(size) << name;
    EXPECT_EQ(size->width, whole.width) << name;
    EXPECT_EQ(size->height, whole.height) << name;
    EXPECT_FALSE(image_size(std::span(file).first(16))) << name;
  }
}

TEST(DecodeImageRegion, RefusesARegionOutside) {
  try {
    decode_image_region(read_bytes(golden_path("420.jpg")), "a.jpg", [](int, int) { return Region{40, 0, 6, 1}; });
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_STREQ(error.what(), "image: region 6x1 at (40, 0) must be a rectangle inside the 45x38 image");
  }
}

}  // namespace
}  // namespace engine
