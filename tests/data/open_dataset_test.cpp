#include "engine/data/open_dataset.h"

#include <gmock/gmock.h>

#include <set>

#include "tests/data/data_testing.h"

namespace engine {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using test::solid_png;
using test::TemporaryDirectory;
using test::write_file;
using testing::HasSubstr;
using testing::StartsWith;

class OpenDatasetTest : public testing::Test {
 protected:
  fs::path root() const { return directory_.path(); }
  void pictures(const std::string& folder, int count) {
    for (int i = 0; i < count; ++i) {
      write_file(root() / folder / (std::to_string(i) + ".png"), solid_png(2, 2, static_cast<uint8_t>(i), 0, 0));
    }
  }
  std::string refusal(OpenDatasetOptions options, ErrorKind kind = ErrorKind::data) const {
    return error_of(kind, [&] { open_dataset(options); });
  }

  TemporaryDirectory directory_;
};

TEST_F(OpenDatasetTest, OpensTrainAndVal) {
  pictures("train/a", 3);
  pictures("train/b", 2);
  pictures("val/a", 1);
  pictures("val/b", 1);
  const DatasetPair pair = open_dataset({.path = root()});
  EXPECT_EQ(pair.train->size(), 5);
  EXPECT_EQ(pair.val->size(), 2);
  EXPECT_EQ(pair.summary, "image folder '" + (root() / "train").string() +
                              "' of 5 pictures, 2 classes; 2 validation pictures in val");
}

TEST_F(OpenDatasetTest, HoldsOutOfTrainAndLeavesValUntouched) {
  pictures("train/a", 10);
  pictures("train/b", 10);
  pictures("val/only here", 1);
  const DatasetPair pair = open_dataset({.path = root(), .val_split = 0.2, .seed = 4});
  EXPECT_EQ(pair.train->size(), 16);
  EXPECT_EQ(pair.val->size(), 4);
  std::set<std::string> names;
  for (int64_t i = 0; i < 16; ++i) names.insert(pair.train->describe(i));
  for (int64_t i = 0; i < 4; ++i) names.insert(pair.val->describe(i));
  EXPECT_EQ(names.size(), 20u);
}

TEST_F(OpenDatasetTest, SplitsASingleTreeOfClasses) {
  pictures("a", 4);
  pictures("b", 4);
  const DatasetPair pair = open_dataset({.path = root(), .val_split = 2});
  EXPECT_EQ(pair.train->size(), 6);
  EXPECT_EQ(pair.val->size(), 2);
  EXPECT_EQ(pair.summary,
            "image folder '" + root().string() + "' of 8 pictures, 2 classes; 2 of 8 samples held out for validation");
}

TEST_F(OpenDatasetTest, SaysWhatIsMissing) {
  pictures("a", 1);
  pictures("b", 1);
  EXPECT_EQ(refusal({.path = root()}),
            "data: '" + root().string() + "' has no validation pictures; put them into " + root().string() +
                "/val/CLASS/, name their place with --val-path, or hold some out with --val-split 0.1");
  pictures("val/a", 1);
  EXPECT_THAT(refusal({.path = root()}), HasSubstr("has val/ but no train/"));
  EXPECT_EQ(refusal({.path = root() / "nowhere"}),
            "data: '" + (root() / "nowhere").string() +
                "' does not exist; give a folder with train/ and val/, a CIFAR folder, a packed file, tars as "
                "'train-{000..012}.tar', or 'shapes' for the built-in data set");
  EXPECT_EQ(refusal({.path = root() / "a/0.png"}),
            "data: '" + (root() / "a/0.png").string() +
                "' is neither a folder nor a packed data set nor a tar; a compressed archive must be unpacked first");
  EXPECT_THAT(refusal({.path = ""}), HasSubstr("does not exist"));
}

TEST_F(OpenDatasetTest, RefusesAClassThatIsOnlyInVal) {
  pictures("train/a", 1);
  pictures("train/b", 1);
  for (const char* name : {"val/a", "val/b", "val/c"}) pictures(name, 1);
  EXPECT_THAT(refusal({.path = root()}), StartsWith("image folder: class 'c' is in val but not in train; both"));
}

TEST_F(OpenDatasetTest, RefusesASplitThatCannotBe) {
  pictures("a", 2);
  pictures("b", 2);
  EXPECT_THAT(refusal({.path = root(), .val_split = -1}, ErrorKind::usage), HasSubstr("val-split: -1 is neither"));
  EXPECT_THAT(refusal({.path = "shapes", .val_split = 1e9}, ErrorKind::usage), HasSubstr("would leave none"));
}

TEST_F(OpenDatasetTest, KeepsPicturesThatFitTogether) {
  for (const char* name : {"train/a", "train/b", "val/a", "val/b"}) pictures(name, 1);
  const auto reads_again = [&](int64_t cache_bytes) {
    const DatasetPair pair = open_dataset({.path = root(), .cache_bytes = cache_bytes});
    pair.train->load(0);
    fs::rename(root() / "train/a/0.png", root() / "train/a/moved.png");
    bool failed = false;
    try {
      pair.train->load(0);
    } catch (const Error&) {
      failed = true;
    }
    fs::rename(root() / "train/a/moved.png", root() / "train/a/0.png");
    return failed;
  };
  EXPECT_FALSE(reads_again(4 * 12));  // four pictures of 2x2 pixels
  EXPECT_TRUE(reads_again(4 * 12 - 1));
  EXPECT_TRUE(reads_again(0));
}

TEST_F(OpenDatasetTest, OpensShapesByName) {
  const DatasetPair pair = open_dataset({.path = "shapes", .val_split = 100, .shapes = {.train_size = 500}});
  EXPECT_EQ(pair.train->size(), 400);
  EXPECT_EQ(pair.val->size(), 100);
  EXPECT_EQ(pair.train->num_classes(), 10);
}

}  // namespace
}  // namespace engine
