#include "engine/data/cifar.h"

#include <gmock/gmock.h>

#include <algorithm>

#include "engine/data/open_dataset.h"
#include "engine/data/read_file.h"
#include "tests/data/cifar_testing.h"
#include "tests/data/data_testing.h"

namespace engine {
namespace {

namespace fs = std::filesystem;
using test::Bytes;
using test::cifar100_binary;
using test::cifar10_binary;
using test::cifar_elements;
using test::cifar_meta_pickle;
using test::cifar_pickle;
using test::cifar_value;
using test::error_of;
using test::numbered_names;
using test::PickleWriter;
using test::TemporaryDirectory;
using test::write_file;
using testing::ElementsAre;
using testing::HasSubstr;

void expect_records(const CifarRecords& records, const std::vector<int64_t>& labels) {
  EXPECT_EQ(records.labels, labels);
  ASSERT_EQ(records.pixels.size(), labels.size() * 3072);
  for (size_t i = 0; i < labels.size(); ++i) {
    for (size_t pixel : {0u, 1u, 31u, 32u, 1023u}) {
      for (size_t channel = 0; channel < 3; ++channel) {
        EXPECT_EQ(records.pixels[i * 3072 + pixel * 3 + channel],
                  cifar_value(static_cast<int64_t>(i), static_cast<int64_t>(channel), static_cast<int64_t>(pixel)));
      }
    }
  }
}

std::string binary_refusal(const Bytes& bytes, Cifar which = Cifar::ten) {
  return error_of(ErrorKind::data, [&] { parse_cifar_binary(bytes, "file", which); });
}
std::string pickle_refusal(const Bytes& bytes, Cifar which = Cifar::ten) {
  return error_of(ErrorKind::data, [&] { parse_cifar_pickle(bytes, "file", which); });
}

TEST(CifarBinary, TurnsPlanesIntoPixels) {
  expect_records(parse_cifar_binary(cifar10_binary({3, 9, 0}), "file", Cifar::ten), {3, 9, 0});
}

TEST(CifarBinary, TakesTheFineLabelOfCifar100) {
  expect_records(parse_cifar_binary(cifar100_binary({3, 99}), "file", Cifar::hundred), {3, 99});
}

TEST(CifarBinary, RefusesAShortLastRecordWithTheSizesThatWouldBeRight) {
  Bytes file = cifar10_binary({1, 2, 3, 4});
  file.resize(9319);
  EXPECT_EQ(binary_refusal(file),
            "file: is 9319 bytes, but 3 CIFAR-10 records of 3073 bytes are 9219 and 4 are 12292; download it again");
}

TEST(CifarBinary, RecognisesTheOtherCifar) {
  EXPECT_EQ(binary_refusal(cifar100_binary({1, 2})),
            "file: is 6148 bytes, but 2 CIFAR-10 records of 3073 bytes are 6146 and 3 are 9219; it would be 2 records "
            "of the other CIFAR");
  EXPECT_THAT(binary_refusal(cifar10_binary({1, 2}), Cifar::hundred),
              HasSubstr("it would be 2 records of the other CIFAR"));
}

TEST(CifarBinary, RefusesAnEmptyFile) {
  EXPECT_EQ(binary_refusal({}), "file: is empty, but holds CIFAR-10 records of 3073 bytes");
}

TEST(CifarBinary, RefusesALabelOutOfRangeByRecord) {
  EXPECT_EQ(binary_refusal(cifar10_binary({1, 10})), "file record 1: label 10, but CIFAR-10 has labels 0 to 9");
  EXPECT_EQ(binary_refusal(cifar10_binary({255})), "file record 0: label 255, but CIFAR-10 has labels 0 to 9");
  EXPECT_EQ(binary_refusal(cifar100_binary({5, 6, 100}), Cifar::hundred),
            "file record 2: label 100, but CIFAR-100 has labels 0 to 99");
}

TEST(CifarPickle, ReadsTheSameRecordsAsTheBinaryForm) {
  expect_records(parse_cifar_pickle(cifar_pickle({3, 9, 0}), "file", Cifar::ten), {3, 9, 0});
  expect_records(parse_cifar_pickle(cifar_pickle({42, 99}, "fine_labels"), "file", Cifar::hundred), {42, 99});
}

Bytes batch(const std::vector<int>& labels, const std::vector<int64_t>& shape, const std::string& elements,
            const std::string& type = "u1", bool fortran_order = false) {
  PickleWriter writer;
  writer.op("}(").text("labels").labels(labels).text("data").array(shape, elements, type, fortran_order);
  return writer.op("u").finish();
}

TEST(CifarPickle, ReadsAnArrayWhoseFirstIndexRunsFastest) {
  const std::string rows = cifar_elements(2);
  std::string columns;
  for (size_t value = 0; value < 3072; ++value) {
    columns += rows[value];
    columns += rows[3072 + value];
  }
  expect_records(parse_cifar_pickle(batch({1, 2}, {2, 3072}, columns, "u1", true), "file", Cifar::ten), {1, 2});
}

TEST(CifarPickle, RefusesALabelOutOfRangeByRecord) {
  EXPECT_EQ(pickle_refusal(cifar_pickle({1, 10})), "file record 1: label 10, but CIFAR-10 has labels 0 to 9");
  EXPECT_EQ(pickle_refusal(cifar_pickle({-1})), "file record 0: label -1, but CIFAR-10 has labels 0 to 9");
  EXPECT_EQ(pickle_refusal(cifar_pickle({1000}, "fine_labels"), Cifar::hundred),
            "file record 0: label 1000, but CIFAR-100 has labels 0 to 99");
}

TEST(CifarPickle, RefusesWhatDoesNotFitTogether) {
  EXPECT_EQ(pickle_refusal(cifar_pickle({1}, "fine_labels")), "file: the pickled dict has no 'labels'");
  EXPECT_EQ(pickle_refusal(PickleWriter().op("N").finish()), "file: the pickled dict has no 'data'");
  EXPECT_EQ(pickle_refusal(PickleWriter().op("}").text("data").op("Ns").finish()), "file: 'data' is not a numpy array");
  EXPECT_EQ(pickle_refusal(batch({1, 2, 3}, {2, 3072}, cifar_elements(2))), "file: 3 labels, but 2 pictures");
  EXPECT_EQ(pickle_refusal(batch({1, 2}, {2, 3072}, cifar_elements(1))),
            "file: 'data' holds 3072 bytes, but its shape [2,3072] needs 3072 for each record");
  EXPECT_EQ(pickle_refusal(batch({1}, {1, 3072}, cifar_elements(1) + "x")),
            "file: 'data' holds 3073 bytes, but its shape [1,3072] needs 3072 for each record");
  EXPECT_EQ(pickle_refusal(batch({1}, {3072}, cifar_elements(1))),
            "file: 'data' has shape [3072], but [N,3072] is expected");
  EXPECT_EQ(pickle_refusal(batch({1}, {1, 32, 32, 3}, cifar_elements(1))),
            "file: 'data' has shape [1,32,32,3], but [N,3072] is expected");
  EXPECT_EQ(pickle_refusal(batch({}, {0, 3072}, "")), "file: 'data' has shape [0,3072], but [N,3072] is expected");
  EXPECT_EQ(pickle_refusal(batch({1}, {1, 3072}, cifar_elements(1), "f4")),
            "file: 'data' has elements of type f4, but u1 is expected");
}

TEST(CifarPickle, ReadsTheClassNames) {
  EXPECT_THAT(parse_cifar_meta_pickle(cifar_meta_pickle(numbered_names(10)), "file", Cifar::ten),
              testing::ElementsAreArray(numbered_names(10)));
  EXPECT_EQ(error_of(ErrorKind::data,
                     [] { parse_cifar_meta_pickle(cifar_meta_pickle(numbered_names(9)), "file", Cifar::ten); }),
            "file: 'label_names' has 9 names, but 10 are expected");
}

class CifarFolderTest : public testing::Test {
 protected:
  fs::path root() const { return directory_.path(); }

  // The files of one archive; each training file of CIFAR-10 holds three records, the test file two.
  void unpack(Cifar which, bool pickled, const fs::path& folder) {
    const bool ten = which == Cifar::ten;
    const auto records = [&](const std::vector<int>& labels) {
      if (pickled) return cifar_pickle(labels, ten ? "labels" : "fine_labels");
      return ten ? cifar10_binary(labels) : cifar100_binary(labels);
    };
    const std::string end = pickled ? "" : ".bin";
    if (ten) {
      for (int i = 1; i <= 5; ++i) {
        write_file(folder / ("data_batch_" + std::to_string(i) + end), records({i, 0, 9}));
      }
      write_file(folder / ("test_batch" + end), records({7, 8}));
    } else {
      write_file(folder / ("train" + end), records({11, 99, 0}));
      write_file(folder / ("test" + end), records({7, 8}));
    }
    const auto names = numbered_names(ten ? 10 : 100);
    if (pickled) {
      write_file(folder / (ten ? "batches.meta" : "meta"),
                 cifar_meta_pickle(names, ten ? "label_names" : "fine_label_names"));
    } else {
      std::string lines;
      for (const std::string& name : names) lines += name + "\n";
      write_file(folder / (ten ? "batches.meta.txt" : "fine_label_names.txt"), lines + "\n");
    }
  }

  TemporaryDirectory directory_;
};

TEST_F(CifarFolderTest, OpensEachOfTheFourArchives) {
  for (Cifar which : {Cifar::ten, Cifar::hundred}) {
    for (bool pickled : {false, true}) {
      const bool ten = which == Cifar::ten;
      const fs::path folder = root() / (std::string(ten ? "10" : "100") + (pickled ? "py" : "bin"));
      unpack(which, pickled, folder);
      const auto pair = open_cifar(folder);
      ASSERT_TRUE(pair.has_value());
      EXPECT_EQ(pair->train->num_classes(), ten ? 10 : 100);
      EXPECT_EQ(pair->train->class_names()[9], "name9");
      EXPECT_EQ(pair->train->size(), ten ? 15 : 3);
      EXPECT_EQ(pair->val->size(), 2);
      EXPECT_EQ(pair->val->label(1), 8);
      EXPECT_EQ(pair->train->label(0), ten ? 1 : 11);
      const Image image = pair->val->load(1);
      EXPECT_EQ(image.width, 32);
      EXPECT_EQ(image.height, 32);
      EXPECT_THAT(std::vector<uint8_t>(image.pixels.begin() + 3, image.pixels.begin() + 6),
                  ElementsAre(cifar_value(1, 0, 1), cifar_value(1, 1, 1), cifar_value(1, 2, 1)));
      EXPECT_EQ(pair->summary, std::string("CIFAR-") + (ten ? "10" : "100") + (pickled ? " (python)" : " (binary)") +
                                   ": " + (ten ? "15" : "3") + " training and 2 test pictures");
    }
  }
}

TEST_F(CifarFolderTest, DescribesASampleByFileAndRecord) {
  unpack(Cifar::ten, false, root());
  const auto pair = open_cifar(root());
  EXPECT_EQ(pair->train->describe(0), (root() / "data_batch_1.bin").string() + " record 0");
  EXPECT_EQ(pair->train->describe(5), (root() / "data_batch_2.bin").string() + " record 2");
  EXPECT_EQ(pair->val->describe(1), (root() / "test_batch.bin").string() + " record 1");
}

TEST_F(CifarFolderTest, IsFoundInsideTheFolderThatItUnpackedTo) {
  unpack(Cifar::ten, true, root() / "cifar-10-batches-py");
  EXPECT_EQ(open_dataset({.path = root()}).train->size(), 15);
}

TEST_F(CifarFolderTest, HoldsOutOfTheTrainingFilesOnly) {
  unpack(Cifar::ten, false, root());
  const DatasetPair pair = open_dataset({.path = root(), .val_split = 5});
  EXPECT_EQ(pair.train->size(), 10);
  EXPECT_EQ(pair.val->size(), 5);
  EXPECT_THAT(pair.val->describe(4), HasSubstr("data_batch_"));
  EXPECT_EQ(pair.summary,
            "CIFAR-10 (binary): 15 training and 2 test pictures; 5 of 15 samples held out for validation");
}

TEST_F(CifarFolderTest, NamesAMissingFile) {
  unpack(Cifar::ten, false, root());
  fs::remove(root() / "data_batch_4.bin");
  EXPECT_EQ(error_of(ErrorKind::data, [&] { open_cifar(root()); }),
            (root() / "data_batch_4.bin").string() + ": cannot open: No such file or directory");
}

TEST_F(CifarFolderTest, NamesTheBrokenFile) {
  unpack(Cifar::ten, false, root());
  write_file(root() / "data_batch_3.bin", cifar10_binary({1, 12}));
  EXPECT_EQ(error_of(ErrorKind::data, [&] { open_cifar(root()); }),
            (root() / "data_batch_3.bin").string() + " record 1: label 12, but CIFAR-10 has labels 0 to 9");
}

TEST_F(CifarFolderTest, LeavesOtherFoldersToOthers) {
  EXPECT_FALSE(open_cifar(root()).has_value());
  fs::create_directories(root() / "train");
  write_file(root() / "meta", std::string("x"));
  EXPECT_FALSE(open_cifar(root()).has_value());
}

// The fault files that come with ENGINE_TEST_DATA say in their names what is wrong.
TEST(CifarFaults, EveryFileIsJudgedAsItsNameSays) {
  const char* material = std::getenv("ENGINE_TEST_DATA");
  if (material == nullptr) GTEST_SKIP() << "ENGINE_TEST_DATA names no folder";
  const fs::path folder = fs::path(material) / "faults/cifar";
  if (!fs::is_directory(folder)) GTEST_SKIP() << folder << " does not exist";
  int files = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename();
    const Bytes bytes = read_file(entry.path(), name, 1 << 20);
    const auto parse = [&] { return parse_cifar_binary(bytes, name, Cifar::ten); };
    if (name.find("_ok") != std::string::npos) {
      EXPECT_GT(parse().labels.size(), 0u) << name;
    } else {
      EXPECT_THAT(error_of(ErrorKind::data, parse), HasSubstr(name));
    }
    ++files;
  }
  EXPECT_GT(files, 0);
}

}  // namespace
}  // namespace engine
