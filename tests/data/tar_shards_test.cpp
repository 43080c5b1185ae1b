#include "engine/data/tar_shards.h"

#include <gmock/gmock.h>

#include "engine/data/open_dataset.h"
#include "tests/data/data_testing.h"
#include "tests/data/tar_testing.h"

namespace engine {
namespace {

namespace fs = std::filesystem;
using test::error_of;
using test::solid_png;
using test::TarBuilder;
using test::TemporaryDirectory;
using test::write_file;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

std::vector<uint8_t> picture(int red) {
  return solid_png(2, 2, static_cast<uint8_t>(red), 0, 0);
}

std::vector<int> labels(const Dataset& data) {
  std::vector<int> result;
  for (int64_t i = 0; i < data.size(); ++i) result.push_back(static_cast<int>(data.label(i)));
  return result;
}

// The red of each picture, which is how the tests tell them apart.
std::vector<int> reds(const Dataset& data) {
  std::vector<int> result;
  for (int64_t i = 0; i < data.size(); ++i) result.push_back(data.load(i).pixels.at(0));
  return result;
}

class TarShards : public testing::Test {
 protected:
  std::string write(const std::string& name, const std::vector<uint8_t>& tar) const {
    const fs::path path = directory_.path() / name;
    write_file(path, tar);
    return path.string();
  }
  std::string refusal(const std::vector<uint8_t>& tar) const {
    const std::string path = write("bad.tar", tar);
    const std::string message = error_of(ErrorKind::data, [&] { open_tar_shards({path}); });
    EXPECT_THAT(message, HasSubstr("bad.tar"));
    return message;
  }
  DatasetPtr open(const TarBuilder& tar) const { return open_tar_shards({write("a.tar", tar.finish())}); }

  TemporaryDirectory directory_;
};

TEST_F(TarShards, ReadsWebdatasetSamples) {
  const std::string a = write("a.tar", TarBuilder()
                                           .add("0001.png", picture(10))
                                           .add("0001.json", "{}")
                                           .add("0001.cls", "2\n")
                                           .add("0002.cls", "0")
                                           .add("0002.mask.png", picture(99))
                                           .add("0002.JPG", picture(20))
                                           .finish());
  const std::string b = write("b.tar", TarBuilder().add("x/0001.jpg", picture(30)).add("x/0001.cls", "1").finish());
  const DatasetPtr data = open_tar_shards({a, b});
  EXPECT_THAT(reds(*data), ElementsAre(10, 20, 30));
  EXPECT_THAT(labels(*data), ElementsAre(2, 0, 1));
  EXPECT_THAT(data->class_names(), ElementsAre("0", "1", "2"));
  EXPECT_EQ(data->describe(2), b + " member x/0001.jpg");
  EXPECT_EQ(data->read(0).file, picture(10));
}

TEST_F(TarShards, NamesClassesByTheListBesideThem) {
  const std::string tar = write("a.tar", TarBuilder().add("1.png", picture(1)).add("1.cls", "1").finish());
  write_file(directory_.path() / "classes.txt", "cat\r\ndog\n");
  EXPECT_THAT(open_tar_shards({tar})->class_names(), ElementsAre("cat", "dog"));
  write_file(directory_.path() / "classes.txt", "cat\n");
  EXPECT_THAT(error_of(ErrorKind::data, [&] { open_tar_shards({tar}); }),
              HasSubstr("names 1 classes, but label 1 occurs in the tars"));
}

TEST_F(TarShards, ReadsTheTarOfAnImageFolder) {
  const DatasetPtr data = open(TarBuilder()
                                   .add("set/", "")
                                   .add("set/dog/a/1.png", picture(1))
                                   .add("set/cat/2.png", picture(2))
                                   .add("set/dog/notes.txt", "no picture")
                                   .add("set/dog/._3.png", "AppleDouble")
                                   .add("set/.ipynb_checkpoints/4.png", picture(4))
                                   .add("set/dog/3.png", picture(3)));
  EXPECT_THAT(reds(*data), ElementsAre(1, 2, 3));
  EXPECT_THAT(labels(*data), ElementsAre(1, 0, 1));
  EXPECT_THAT(data->class_names(), ElementsAre("cat", "dog"));
}

TEST_F(TarShards, ReadsTheTarOfTarsThatImageNetIs) {
  const auto inner = [](int red) { return TarBuilder().add("1.JPEG", picture(red)).finish(); };
  const DatasetPtr data = open(TarBuilder().add("n01.tar", inner(5)).add("n02.tar", inner(6)));
  EXPECT_THAT(reds(*data), ElementsAre(5, 6));
  EXPECT_THAT(data->class_names(), ElementsAre("n01", "n02"));
  EXPECT_THAT(data->describe(1), EndsWith("a.tar member n02/1.JPEG"));
}

TEST_F(TarShards, KnowsPaxNames) {
  const std::string longest(3000, 'n');
  const DatasetPtr data = open(
      TarBuilder().pax("path", "\xC3\xA4/" + longest + ".png").add("short", picture(1)).add("b/2.png", picture(2)));
  EXPECT_THAT(data->class_names(), ElementsAre("b", "\xC3\xA4"));
  EXPECT_THAT(data->describe(0), EndsWith(longest + ".png"));
  EXPECT_THAT(reds(*data), ElementsAre(1, 2));
}

TEST_F(TarShards, NeverLeavesItsFile) {
  const DatasetPtr data = open(TarBuilder()
                                   .add("a/link.png", std::vector<uint8_t>(), '2', "/etc/passwd")
                                   .add("a/hard.png", std::vector<uint8_t>(), '1', "/etc/passwd")
                                   .add("a/device.png", std::vector<uint8_t>(), '3')
                                   .add("a/pipe.png", std::vector<uint8_t>(), '6')
                                   .add("../outside/1.png", picture(9))
                                   .add("/absolute/1.png", picture(1))
                                   .add("a/1.png", picture(2))
                                   .add("a/1.png", picture(3)));
  EXPECT_THAT(reds(*data), ElementsAre(1, 2, 3));
}

TEST_F(TarShards, RefusesDamagedTars) {
  const std::vector<uint8_t> sound = TarBuilder().add("a/1.png", picture(1)).add("b/2.png", picture(2)).finish();
  const auto cut = [&](size_t bytes) {
    return std::vector<uint8_t>(sound.begin(), sound.begin() + static_cast<ptrdiff_t>(bytes));
  };
  EXPECT_THAT(refusal({}), HasSubstr("is no sound uncompressed tar"));
  EXPECT_THAT(refusal(cut(300)), HasSubstr("is no sound uncompressed tar"));
  EXPECT_THAT(refusal(cut(520)), HasSubstr("leave the 520 bytes of the tar, which was cut off"));
  EXPECT_THAT(refusal(cut(1024 + 300)), HasSubstr("is no sound uncompressed tar"));
  std::vector<uint8_t> bad_sum = sound;
  bad_sum[1024 + 1] ^= 1;
  EXPECT_THAT(refusal(bad_sum), HasSubstr("Damaged tar archive"));
  EXPECT_THAT(refusal({0x1f, 0x8b, 8, 0}), HasSubstr("unpack it if it is compressed"));
  EXPECT_THAT(refusal(TarBuilder().header("a/1.png", 0777'7777'7777, '0', "").finish()),
              HasSubstr("bad.tar member a/1.png: 8589934591 bytes at 512 leave the 1536 bytes"));
  EXPECT_THAT(refusal(std::vector<uint8_t>(2048)), HasSubstr("holds no picture"));
}

TEST_F(TarShards, RefusesSamplesThatAreNotOnePictureAndOneLabel) {
  EXPECT_THAT(refusal(TarBuilder().add("1.png", picture(1)).add("2.cls", "1").finish()),
              EndsWith("member 1.png: its sample has no .cls with its label; both have to stand one after the other"));
  EXPECT_THAT(refusal(TarBuilder().add("2.cls", "1").finish()), HasSubstr("its sample has no picture"));
  EXPECT_THAT(refusal(TarBuilder().add("1.png", picture(1)).add("1.cls", "1").add("1.cls", "2").finish()),
              HasSubstr("member 1.cls: is a second label of its sample, after 1.cls"));
  EXPECT_THAT(refusal(TarBuilder().add("1.png", picture(1)).add("1.jpg", picture(1)).add("1.cls", "2").finish()),
              HasSubstr("member 1.jpg: is a second picture of its sample, after 1.png"));
  for (const std::string bad : {"", "-1", "cat", "1 2", "99999999999999999999", "1000001", "1.5"}) {
    EXPECT_THAT(refusal(TarBuilder().add("1.png", picture(1)).add("1.cls", bad).finish()),
                HasSubstr("member 1.cls: its label is '" + bad + "', but a whole number from 0 to 1000000"));
  }
}

TEST_F(TarShards, RefusesFoldersThatAreNoClasses) {
  EXPECT_THAT(refusal(TarBuilder().add("1.png", picture(1)).add("a/1.png", picture(1)).finish()),
              HasSubstr("member 1.png: lies in no class folder, and no .cls gives its label"));
  EXPECT_THAT(refusal(TarBuilder().add("a/1.png", picture(1)).add("a/2.png", picture(1)).finish()),
              HasSubstr("lies in no class folder below 'a/', which holds every picture"));
}

TEST_F(TarShards, NamesATarThatIsCutOffWhileItIsRead) {
  const std::string path = write("a.tar", TarBuilder().add("a/1.png", picture(1)).add("b/2.png", picture(2)).finish());
  const DatasetPtr data = open_tar_shards({path});
  fs::resize_file(path, 600);
  EXPECT_THAT(error_of(ErrorKind::data, [&] { data->load(1); }),
              StartsWith(path + " member b/2.png: the tar was cut off"));
}

TEST_F(TarShards, NamesTheFirstTarThatIsMissing) {
  const std::string good = write("s-0.tar", TarBuilder().add("a/1.png", picture(1)).finish());
  EXPECT_THAT(
      error_of(ErrorKind::data, [&] { open_tar_shards(expand_braces((directory_.path() / "s-{0..3}.tar").string())); }),
      HasSubstr("s-1.tar: cannot open: No such file or directory"));
}

TEST_F(TarShards, AreFoundInAFolder) {
  write("train-0.tar", TarBuilder().add("1.png", picture(1)).add("1.cls", "3").finish());
  write("train-1.tar", TarBuilder().add("1.png", picture(2)).add("1.cls", "0").finish());
  write("val-0.tar", TarBuilder().add("1.png", picture(3)).add("1.cls", "1").finish());
  const DatasetPair pair = open_dataset({.path = directory_.path()});
  EXPECT_THAT(reds(*pair.train), ElementsAre(1, 2));
  EXPECT_THAT(reds(*pair.val), ElementsAre(3));
  EXPECT_EQ(pair.val->num_classes(), 4);
  EXPECT_EQ(pair.summary, "tar '" + (directory_.path() / "train-0.tar").string() +
                              "' and 1 more of 2 pictures, 4 classes; 1 validation pictures in val");
}

TEST_F(TarShards, AreNamedByAPattern) {
  write("x-08.tar", TarBuilder().add("1.png", picture(1)).add("1.cls", "1").finish());
  write("x-09.tar", TarBuilder().add("1.png", picture(2)).add("1.cls", "0").finish());
  write("y-0.tar", TarBuilder().add("1.png", picture(3)).add("1.cls", "0").finish());
  const fs::path root = directory_.path();
  const DatasetPair pair = open_dataset({.path = root / "x-{08..09}.tar", .val_path = root / "y-{0..0}.tar"});
  EXPECT_THAT(reds(*pair.train), ElementsAre(1, 2));
  EXPECT_THAT(reds(*pair.val), ElementsAre(3));
  EXPECT_THAT(error_of(ErrorKind::data, [&] { open_dataset({.path = root / "x-08.tar"}); }),
              HasSubstr("has no validation pictures; name their place with --val-path"));
}

TEST(ExpandBraces, NamesWhatAPatternStandsFor) {
  EXPECT_THAT(expand_braces("a.tar"), ElementsAre("a.tar"));
  EXPECT_THAT(expand_braces("a{8..10}.tar"), ElementsAre("a8.tar", "a9.tar", "a10.tar"));
  EXPECT_THAT(expand_braces("a{008..010}"), ElementsAre("a008", "a009", "a010"));
  EXPECT_THAT(expand_braces("{x,y}/{1..2}"), ElementsAre("x/1", "x/2", "y/1", "y/2"));
  const auto refusal = [](const std::string& pattern) {
    return error_of(ErrorKind::usage, [&] { expand_braces(pattern); });
  };
  EXPECT_EQ(refusal("a{1..2"), "'a{1..2' has a brace without its partner");
  EXPECT_EQ(refusal("a1..2}"), "'a1..2}' has a brace without its partner");
  EXPECT_THAT(refusal("{2..1}"), HasSubstr("is no range such as {000..012}"));
  EXPECT_THAT(refusal("{1..x}"), HasSubstr("is no range"));
  EXPECT_THAT(refusal("{0..18446744073709551615}"), HasSubstr("is no range"));
  EXPECT_THAT(refusal("{1..1000}{1..1000}"), HasSubstr("stands for more than 100000 files"));
}

}  // namespace
}  // namespace engine
