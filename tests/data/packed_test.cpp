#include "engine/data/packed.h"

#include <gmock/gmock.h>

#include <fstream>
#include <iterator>

#include "engine/data/image_folder.h"
#include "engine/data/open_dataset.h"
#include "engine/data/pack.h"
#include "engine/data/packed_format.h"
#include "engine/io/crc32c.h"
#include "tests/data/data_testing.h"

namespace engine {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using test::fake_dataset;
using test::solid_png;
using test::TemporaryDirectory;
using test::write_file;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

using Bytes = std::vector<uint8_t>;

Bytes read_back(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// 1x1, 2x1, 3x1, ... pixels, each of its own red.
DatasetPair growing(int64_t train, int64_t val = 0) {
  const auto part = [](int64_t size) {
    return fake_dataset({.size = size, .file = [](int64_t i) {
                           return solid_png(static_cast<int>(i) + 1, 1, static_cast<uint8_t>(i), 0, 0);
                         }});
  };
  return {.train = part(train), .val = val > 0 ? part(val) : nullptr, .summary = ""};
}

class Packed : public testing::Test {
 protected:
  std::string path(const std::string& name = "a.pack") const { return (directory_.path() / name).string(); }
  std::string refusal(const Bytes& bytes) const {
    write_file(path("bad.pack"), bytes);
    const std::string message = error_of(ErrorKind::data, [&] { open_packed(path("bad.pack")); });
    EXPECT_THAT(message, StartsWith(path("bad.pack") + ": "));
    return message;
  }

  TemporaryDirectory directory_;
};

TEST_F(Packed, GivesBackEveryFileByteForByte) {
  const DatasetPair source = growing(20, 3);
  const PackReport report = pack_dataset(source, path(), {.workers = 3});
  EXPECT_EQ(report.pictures, 23);
  EXPECT_EQ(report.encoded, 0);
  EXPECT_EQ(report.bytes, fs::file_size(path()));
  const DatasetPair pair = open_packed(path());
  ASSERT_EQ(pair.train->size(), 20);
  ASSERT_EQ(pair.val->size(), 3);
  EXPECT_THAT(pair.train->class_names(), ElementsAre("class0", "class1"));
  for (int64_t i = 0; i < 20; ++i) {
    EXPECT_EQ(pair.train->read(i).file, source.train->read(i).file);
    EXPECT_EQ(pair.train->label(i), i % 2);
  }
  EXPECT_EQ(pair.val->load(2).pixels, source.val->load(2).pixels);
  EXPECT_EQ(pair.val->describe(2), path() + " record 22 (picture 2)");
  EXPECT_EQ(pair.summary, "packed file '" + path() + "': 2 classes, 20 training pictures, 3 validation pictures");
}

TEST_F(Packed, DoesNotDependOnTheNumberOfWorkers) {
  pack_dataset(growing(100), path("1"), {.workers = 1});
  pack_dataset(growing(100), path("7"), {.workers = 7});
  EXPECT_EQ(read_back(path("1")), read_back(path("7")));
}

TEST_F(Packed, KeepsPixelsWhereThereIsNoFile) {
  const DatasetPair source{.train = fake_dataset({.size = 4}), .val = nullptr, .summary = ""};
  pack_dataset(source, path(), {});
  const Picture picture = open_packed(path()).train->read(3);
  EXPECT_FALSE(picture.encoded());
  EXPECT_EQ(picture.image.width, 1);
  EXPECT_THAT(picture.image.pixels, ElementsAre(3, 0, 0));
}

TEST_F(Packed, ReducesWhatIsLarger) {
  const auto sides = [&](const PackOptions& options) {
    const auto part = fake_dataset({.size = 2, .file = [](int64_t i) {
                                      return i == 0 ? solid_png(40, 20, 9, 9, 9) : solid_png(10, 30, 9, 9, 9);
                                    }});
    const PackReport report = pack_dataset({.train = part, .val = nullptr, .summary = ""}, path(), options);
    const DatasetPtr packed = open_packed(path()).train;
    std::vector<int> result = {static_cast<int>(report.encoded)};
    for (int64_t i = 0; i < 2; ++i) {
      const Image image = packed->load(i);
      result.insert(result.end(), {image.width, image.height});
      EXPECT_NEAR(image.pixels[0], 9, 1);
    }
    return result;
  };
  EXPECT_THAT(sides({.max_side = 30}), ElementsAre(1, 30, 15, 10, 30));
  EXPECT_THAT(sides({.resize = 10}), ElementsAre(1, 20, 10, 10, 30));
  EXPECT_THAT(sides({.max_side = 15, .resize = 15}), ElementsAre(2, 15, 8, 5, 15));
  EXPECT_THAT(sides({.format = PackOptions::Format::jpeg}), ElementsAre(2, 40, 20, 10, 30));
  EXPECT_THAT(sides({.format = PackOptions::Format::raw, .max_side = 20}), ElementsAre(0, 20, 10, 7, 20));
}

TEST_F(Packed, LeavesOutWhatCannotBeDecoded) {
  const DatasetPair source{.train = fake_dataset({.size = 10,
                                                  .file =
                                                      [](int64_t i) {
                                                        return i == 3 ? Bytes{'G', 'I', 'F'} : solid_png(1, 1, 0, 0, 0);
                                                      }}),
                           .val = nullptr,
                           .summary = ""};
  EXPECT_THAT(error_of(ErrorKind::data, [&] { pack_dataset(source, path(), {}); }),
              StartsWith("picture 3: neither JPEG nor PNG"));
  EXPECT_TRUE(fs::is_empty(directory_.path()));  // nothing half-written
  const PackReport report = pack_dataset(source, path(), {.skip_bad = true});
  EXPECT_EQ(report.pictures, 9);
  EXPECT_THAT(report.left, ElementsAre(StartsWith("picture 3: neither JPEG nor PNG")));
  EXPECT_EQ(open_packed(path()).train->label(3), 0);  // the former 4
}

TEST_F(Packed, IsADataSetThatCanBeTrainedOn) {
  for (const char* name : {"train/a/1.png", "train/b/2.png", "train/b/3.png", "val/a/4.png", "val/b/5.png"}) {
    write_file(directory_.path() / name, solid_png(2, 2, 1, 2, 3));
  }
  PackOptions options;
  options.root = directory_.path().string() + "/";
  pack_dataset(open_dataset({.path = directory_.path()}), path(), options);
  const DatasetPair pair = open_dataset({.path = path()});
  EXPECT_EQ(pair.train->size(), 3);
  EXPECT_EQ(pair.val->size(), 2);
  EXPECT_EQ(pair.train->describe(2), path() + " record 2 (train/b/3.png)");
  EXPECT_THAT(open_dataset({.path = path(), .val_split = 1}).summary,
              EndsWith("1 of 3 samples held out for validation"));
}

TEST_F(Packed, FindsAFlippedBitAnywhere) {
  pack_dataset(growing(2), path(), {});
  const Bytes sound = read_back(path());
  const DatasetPtr expected = open_packed(path()).train;
  for (size_t at = 0; at < sound.size(); ++at) {
    Bytes bytes = sound;
    bytes[at] ^= 16;
    write_file(path("bad"), bytes);
    int found = 0;
    try {
      const DatasetPtr data = open_packed(path("bad")).train;
      for (int64_t i = 0; i < data->size(); ++i) {
        try {
          EXPECT_EQ(data->read(i).file, expected->read(i).file);
        } catch (const Error& error) {
          EXPECT_EQ(error.kind(), ErrorKind::data);
          EXPECT_THAT(error.what(), HasSubstr("bad record " + std::to_string(i)));
          ++found;
        }
      }
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::data);
      found = 1;
    }
    const bool unused = at >= 12 && at < packed::kHeaderBytes;
    EXPECT_EQ(found, unused ? 0 : 1) << "byte " << at;
  }
}

TEST_F(Packed, RefusesAFileThatWasCutOff) {
  pack_dataset(growing(2), path(), {});
  const Bytes sound = read_back(path());
  for (size_t size = 0; size < sound.size(); ++size) {
    refusal({sound.begin(), sound.begin() + static_cast<ptrdiff_t>(size)});
  }
  Bytes longer = sound;
  longer.push_back(0);
  EXPECT_THAT(refusal(longer), HasSubstr("the end of the packed data set is missing or damaged"));
}

// An index whose checksums are right but whose entries are not.
TEST_F(Packed, RefusesEntriesThatCannotBe) {
  pack_dataset(growing(2), path(), {});
  const Bytes sound = read_back(path());
  const size_t names = 2 * (2 + std::string("picture 0").size());
  const size_t footer = sound.size() - packed::kFooterBytes, entries = footer - names - 2 * packed::kEntryBytes;
  const auto number = [&](size_t at) {
    size_t value = 0;
    for (size_t i = 8; i-- > 0;) value = value << 8 | sound[at + i];
    return value;
  };
  const auto with = [&](size_t at, uint64_t value, size_t width) {
    Bytes bytes = sound;
    const auto put = [&](size_t where, uint64_t what, size_t count) {
      for (size_t i = 0; i < count; ++i) bytes[where + i] = static_cast<uint8_t>(what >> (8 * i));
    };
    put(at, value, width);
    const auto sum = [&](size_t from, size_t count) {
      return crc32c(std::as_bytes(std::span(bytes).subspan(from, count)));
    };
    const size_t index = number(footer);
    put(footer + 24, sum(index, footer - index), 4);
    put(footer + 28, sum(footer, 28), 4);
    return refusal(bytes);
  };
  const size_t second = entries + packed::kEntryBytes;
  EXPECT_THAT(with(entries, 15, 8), HasSubstr("record 0 of"));
  EXPECT_THAT(with(second, 16, 8), HasSubstr("overlaps the one before or leaves the file"));
  EXPECT_THAT(with(second, ~uint64_t{0}, 8), HasSubstr("overlaps the one before or leaves the file"));
  EXPECT_THAT(with(second + 8, ~uint64_t{0}, 4), HasSubstr("overlaps the one before or leaves the file"));
  EXPECT_THAT(with(entries + 16, 2, 4), HasSubstr("record 0 has label 2 of 2 classes"));
  EXPECT_THAT(with(entries + 20, 7, 2), HasSubstr("record 0 is 7x0"));
  EXPECT_THAT(with(footer + 16, 3, 8), HasSubstr("3 records"));
  EXPECT_THAT(with(footer - names, 300, 2), HasSubstr("it ends early"));
  EXPECT_THAT(with(footer - names, 8, 2), HasSubstr("damaged"));
  EXPECT_THAT(with(footer - names, 0xffff, 2), HasSubstr("it has a name of 65535 bytes"));
  EXPECT_THAT(with(footer, 0, 8), HasSubstr("is said to be"));
  EXPECT_THAT(with(8, 2, 4), HasSubstr("version 2, but version 1 is read"));
}

TEST_F(Packed, NamesTheRecordWhenTheFileIsCutOffUnderIt) {
  pack_dataset(growing(4), path(), {});
  const DatasetPtr data = open_packed(path()).train;
  fs::resize_file(path(), 100);
  EXPECT_THAT(error_of(ErrorKind::data, [&] { data->load(3); }),
              AllOf(StartsWith(path() + " record 3 (picture 3): "), HasSubstr("ended after 100")));
}

TEST_F(Packed, VerifiesEveryRecord) {
  pack_dataset(growing(4), path(), {});
  Bytes bytes = read_back(path());
  bytes[packed::kHeaderBytes + 30] ^= 1;
  write_file(path(), bytes);
  std::vector<std::string> bad;
  EXPECT_EQ(verify_packed(path(), [&](const std::string& message) { bad.push_back(message); }), 3);
  EXPECT_THAT(bad, ElementsAre(path() + " record 0 (picture 0): the checksum is wrong; copy the file again"));
}

TEST_F(Packed, RefusesOptionsThatCannotBe) {
  const auto refuse = [&](const PackOptions& options) {
    return error_of(ErrorKind::usage, [&] { pack_dataset(growing(2), path(), options); });
  };
  EXPECT_EQ(refuse({.quality = 0}), "pack: JPEG quality 0, but 1 to 100 are possible");
  EXPECT_EQ(refuse({.max_side = -1}), "pack: a longest side of -1, but 1 or more is needed");
  EXPECT_EQ(refuse({.workers = 0}), "pack: 0 workers, but 1 to 1024 are possible");
}

}  // namespace
}  // namespace engine
