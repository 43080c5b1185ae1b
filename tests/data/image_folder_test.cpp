#include "engine/data/image_folder.h"

#include <gmock/gmock.h>

#include <sys/stat.h>
#include <unistd.h>

#include "engine/data/read_file.h"
#include "tests/data/data_testing.h"

namespace engine {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using test::solid_png;
using test::TemporaryDirectory;
using test::write_file;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

class ImageFolderTest : public testing::Test {
 protected:
  void picture(const std::string& name, uint8_t red = 0) { write_file(root() / name, solid_png(2, 1, red, 5, 6)); }
  fs::path root() const { return directory_.path() / "set"; }
  DatasetPtr open() const { return open_image_folder(root()); }
  std::string refusal() const {
    return error_of(ErrorKind::data, [&] { open(); });
  }
  std::vector<std::string> names(const Dataset& dataset) const {
    std::vector<std::string> found;
    for (int64_t i = 0; i < dataset.size(); ++i) {
      found.push_back(dataset.describe(i).substr(root().string().size() + 1));
    }
    return found;
  }

  TemporaryDirectory directory_;
};

TEST_F(ImageFolderTest, LabelsFollowTheFoldersInTheOrderOfTheirBytes) {
  picture("b/1.png", 20);
  picture("Z/1.png", 10);
  picture("\xC3\xA4/1.png", 30);
  const DatasetPtr dataset = open();
  EXPECT_THAT(dataset->class_names(), ElementsAre("Z", "b", "\xC3\xA4"));
  EXPECT_EQ(dataset->num_classes(), 3);
  for (int64_t i = 0; i < 3; ++i) {
    EXPECT_EQ(dataset->label(i), i);
    EXPECT_THAT(dataset->load(i).pixels, ElementsAre(10 * (i + 1), 5, 6, 10 * (i + 1), 5, 6));
  }
}

// sorted(os.walk(...)): by the path of the folder, then by name.
TEST_F(ImageFolderTest, OrdersFilesAsTorchvisionDoes) {
  for (const char* name : {"a/x/2.png", "a/x/10.png", "a/x y/1.png", "a/9.png", "a/x/deep/1.png", "b/1.png"}) {
    picture(name);
  }
  EXPECT_THAT(names(*open()),
              ElementsAre("a/9.png", "a/x/10.png", "a/x/2.png", "a/x y/1.png", "a/x/deep/1.png", "b/1.png"));
}

TEST_F(ImageFolderTest, CountsTheKnownExtensionsInAnyCaseAndNothingElse) {
  for (const char* name : {"a/1.JPG", "a/2.Jpeg", "a/3.png", "a/4.tiff", "a/notes.txt", "a/jpg", "a/5.jpg.part",
                           "a/._1.jpg", "a/.ipynb_checkpoints/1.jpg", ".ipynb_checkpoints/1.jpg", "b/1.webp"}) {
    picture(name);
  }
  picture("stray.jpg");
  const DatasetPtr dataset = open();
  EXPECT_THAT(names(*dataset), ElementsAre("a/1.JPG", "a/2.Jpeg", "a/3.png", "a/4.tiff", "b/1.webp"));
  EXPECT_THAT(dataset->class_names(), ElementsAre("a", "b"));
  EXPECT_EQ(dataset->load(0).width, 2);  // a PNG whatever its name
}

TEST_F(ImageFolderTest, FollowsLinksAndEndsTheirLoops) {
  picture("a/1.png");
  picture("b/1.png");
  write_file(directory_.path() / "elsewhere/2.png", solid_png(1, 1, 1, 1, 1));
  fs::create_directory_symlink(directory_.path() / "elsewhere", root() / "a/more");
  fs::create_directory_symlink(root() / "a", root() / "a/self");
  fs::create_directory_symlink(root(), root() / "b/up");
  fs::create_symlink("loop.png", root() / "b/loop.png");
  const DatasetPtr dataset = open();
  EXPECT_THAT(names(*dataset),
              ElementsAre("a/1.png", "a/more/2.png", "b/1.png", "b/loop.png", "b/up/a/1.png", "b/up/a/more/2.png"));
  EXPECT_EQ(dataset->label(1), 0);
  EXPECT_THAT(error_of(ErrorKind::data, [&] { dataset->load(3); }), HasSubstr("b/loop.png: cannot open"));
}

TEST_F(ImageFolderTest, RefusesAnEmptyClassByName) {
  picture("cat/1.png");
  fs::create_directories(root() / "dog/empty");
  write_file(root() / "dog/readme.txt", std::string("nothing here"));
  EXPECT_EQ(refusal(), "image folder: class folder '" + (root() / "dog").string() +
                           "' holds no picture (a name ending in .jpg, .jpeg, .png and so on); fill it or remove it");
}

TEST_F(ImageFolderTest, RefusesFewerThanTwoClasses) {
  picture("1.png");
  EXPECT_THAT(refusal(), StartsWith("image folder: '" + root().string() +
                                    "' has 0 class folders, but a classifier needs 2 or more; put"));
  picture("cat/1.png");
  EXPECT_THAT(refusal(), HasSubstr("has 1 class folders"));
}

TEST_F(ImageFolderTest, NamesAFolderThatCannotBeListed) {
  EXPECT_EQ(refusal(), "image folder: cannot list '" + root().string() + "': No such file or directory");
}

TEST_F(ImageFolderTest, NamesTheFileThatCannotBeDecoded) {
  picture("a/1.png");
  picture("b/1.png");
  write_file(root() / "a/2.jpg", std::string("<html>not found</html>"));
  write_file(root() / "a/3.jpg", std::string());
  const DatasetPtr dataset = open();
  for (int64_t bad : {1, 2}) {
    const std::string message = error_of(ErrorKind::data, [&] { dataset->load(bad); });
    EXPECT_THAT(message, HasSubstr(dataset->describe(bad)));
  }
}

TEST_F(ImageFolderTest, NamesAFileThatVanished) {
  picture("a/1.png");
  picture("b/1.png");
  const DatasetPtr dataset = open();
  fs::remove(root() / "b/1.png");
  EXPECT_EQ(error_of(ErrorKind::data, [&] { dataset->load(1); }),
            (root() / "b/1.png").string() + ": cannot open: No such file or directory");
}

TEST_F(ImageFolderTest, DoesNotWaitForAPipe) {
  picture("a/1.png");
  fs::create_directories(root() / "b");
  ASSERT_EQ(::mkfifo((root() / "b/1.png").c_str(), 0600), 0);
  const DatasetPtr dataset = open();
  EXPECT_EQ(error_of(ErrorKind::data, [&] { dataset->load(1); }),
            (root() / "b/1.png").string() + ": is not a regular file");
}

TEST_F(ImageFolderTest, ShowsHostileNamesEscaped) {
  picture("a\x1B[2J/new\nline.png");
  picture("b\xFF/1.png");
  const DatasetPtr dataset = open();
  EXPECT_THAT(names(*dataset), ElementsAre("a\\x1b[2J/new\\x0aline.png", "b\\xff/1.png"));
  EXPECT_THAT(dataset->class_names(), ElementsAre("a\\x1b[2J", "b\\xff"));
  EXPECT_EQ(dataset->load(0).width, 2);
}

TEST_F(ImageFolderTest, ATrailingSlashMakesNoDifference) {
  picture("a/1.png");
  picture("b/1.png");
  EXPECT_EQ(open_image_folder(root().string() + "//")->describe(1), open()->describe(1));
}

TEST_F(ImageFolderTest, NamesTheClassThatOnlyOneSideHas) {
  const auto with_classes = [&](const std::string& folder, const std::vector<std::string>& classes) {
    for (const std::string& name : classes) picture(folder + "/" + name + "/1.png");
    return open_image_folder(root() / folder);
  };
  const DatasetPtr train = with_classes("train", {"cat", "dog"});
  const DatasetPtr more = with_classes("more", {"cat", "dog", "owl"});
  check_same_classes(*train, "train", *train, "val");
  EXPECT_EQ(error_of(ErrorKind::data, [&] { check_same_classes(*train, "train", *more, "val"); }),
            "image folder: class 'owl' is in val but not in train; both must have the same class folders, or "
            "labels would not mean the same");
  EXPECT_THAT(error_of(ErrorKind::data, [&] { check_same_classes(*more, "train", *train, "val"); }),
              HasSubstr("class 'owl' is in train but not in val"));
}

TEST(ReadFile, RefusesAFileBeyondTheLimit) {
  const TemporaryDirectory directory;
  const std::string path = directory.path() / "large";
  write_file(path, std::string(11, 'x'));
  EXPECT_EQ(read_file(path, "large", 11).size(), 11u);
  EXPECT_EQ(error_of(ErrorKind::data, [&] { read_file(path, "large", 10); }),
            "large: is 11 bytes, but at most 10 are read");
  EXPECT_EQ(error_of(ErrorKind::data, [&] { read_file(directory.path(), "folder", 10); }),
            "folder: is not a regular file");
}

}  // namespace
}  // namespace engine
