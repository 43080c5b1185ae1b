#include "engine/data/picture_list.h"

#include <gmock/gmock.h>

#include "engine/data/png_encode.h"
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

class PictureListTest : public testing::Test {
 protected:
  std::string at(const std::string& name) const { return (directory_.path() / name).string(); }
  void picture(const std::string& name) { write_file(at(name), solid_png(2, 1, 4, 5, 6)); }
  static std::vector<std::string> names(const std::vector<FoundPicture>& pictures) {
    std::vector<std::string> result;
    for (const FoundPicture& picture : pictures) result.push_back(picture.name);
    return result;
  }

  TemporaryDirectory directory_;
};

TEST_F(PictureListTest, TakesFilesAsTheyAreAndPicturesOfFolders) {
  picture("a/2.png");
  picture("a/b c/1.png");
  picture("a/b/1.JPG");
  picture("a/.hidden.png");
  write_file(at("a/notes.txt"), std::string("x"));
  picture("named.xyz");
  fs::create_directory_symlink(at("a"), at("a/b/loop"));
  const std::vector<FoundPicture> found = find_pictures({at("named.xyz"), at("a/")});
  EXPECT_THAT(names(found), ElementsAre("named.xyz", "2.png", "b/1.JPG", "b c/1.png"));
  const DatasetPtr data = open_pictures(found);
  ASSERT_EQ(data->size(), 4);
  for (int64_t i = 0; i < data->size(); ++i) EXPECT_EQ(data->load(i).width, 2) << data->describe(i);
  EXPECT_EQ(data->describe(1), at("a/2.png"));
}

TEST_F(PictureListTest, NamesWhatIsNotThere) {
  fs::create_directory(at("empty"));
  EXPECT_THAT(error_of(ErrorKind::data, [&] { find_pictures({at("none.jpg")}); }),
              HasSubstr("none.jpg' does not exist, expected a picture or a folder"));
  EXPECT_THAT(error_of(ErrorKind::data, [&] { find_pictures({at("empty")}); }),
              HasSubstr("empty' holds no picture, expected names ending in .jpg"));
}

TEST(PngEncode, IsDecodedToTheSamePixels) {
  Image image{5, 3, {}};
  for (int i = 0; i < 5 * 3 * 3; ++i) image.pixels.push_back(static_cast<uint8_t>(i * 37));
  EXPECT_EQ(decode_image(encode_png(image), "x").pixels, image.pixels);
  const Region part = {1, 1, 3, 2};
  EXPECT_EQ(decode_image(encode_png(ImageView(image).crop(part)), "x").pixels, cut(image, part).pixels);
}

}  // namespace
}  // namespace engine
