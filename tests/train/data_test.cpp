// Runs on small data sets on disk, sound and broken, made by the test.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/wait.h>

#include <cstdio>
#include <cstdlib>

#include <jpeglib.h>

#include "tests/data/tar_testing.h"
#include "tests/train/run_command.h"

namespace engine::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

// A JPEG of size x size whose gray tells its class.
std::string jpeg(int size, int gray) {
  jpeg_compress_struct info{};
  jpeg_error_mgr errors{};
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* bytes = nullptr;
  unsigned long count = 0;
  jpeg_mem_dest(&info, &bytes, &count);
  info.image_width = info.image_height = static_cast<JDIMENSION>(size);
  info.input_components = 3;
  info.in_color_space = JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_start_compress(&info, TRUE);
  std::vector<unsigned char> row(static_cast<size_t>(size) * 3, static_cast<unsigned char>(gray));
  while (info.next_scanline < info.image_height) {
    JSAMPROW pointer = row.data();
    jpeg_write_scanlines(&info, &pointer, 1);
  }
  jpeg_finish_compress(&info);
  const std::string text(reinterpret_cast<char*>(bytes), count);
  jpeg_destroy_compress(&info);
  std::free(bytes);
  return text;
}

// DIR/train and DIR/val with two classes of that many pictures each.
void write_image_folder(const fs::path& folder, int size, int train, int val) {
  for (int c = 0; c < 2; ++c) {
    const std::string name = c == 0 ? "dark" : "light";
    for (int i = 0; i < train + val; ++i) {
      const char* part = i < train ? "train" : "val";
      write_text(folder / part / name / (std::to_string(i) + ".jpg"), jpeg(size, c * 150 + i));
    }
  }
}

std::vector<std::string> on(const fs::path& data, const std::string& run, const std::vector<std::string>& more = {}) {
  std::vector<std::string> arguments = {"--data-path",     data.string(), "--output-dir", run, "--threads",    "1",
                                        "--epochs",        "2",           "--batch-size", "8", "--print-freq", "1",
                                        "--deterministic", "--lr",        "0.02"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

TEST(ImageFolder, TrainsASmallNetworkOnSmallPictures) {
  Workspace workspace;
  write_image_folder(workspace / "data", 32, 16, 4);
  const CommandResult result = workspace.run(on(workspace / "data", "run"));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, AllOf(HasSubstr("resnet20"), HasSubstr("at 32x32"), HasSubstr("image folder")));
  EXPECT_EQ(read_json(workspace / "run" / "summary.json").at("val_samples"), 8);
  EXPECT_EQ(read_json(workspace / "run" / "run.json").at("config").at("crop"), "pad-crop");
}

TEST(ImageFolder, CropsPhotographsAtRandom) {
  Workspace workspace;
  write_image_folder(workspace / "data", 90, 8, 2);
  const CommandResult result = workspace.run(
      on(workspace / "data", "run", {"--train-crop-size", "64", "--max-steps", "1", "--val-split", "0.25"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json config = read_json(workspace / "run" / "run.json").at("config");
  EXPECT_EQ(config.at("model"), "resnet18");
  EXPECT_EQ(config.at("crop"), "rrc");
  EXPECT_EQ(config.at("val_resize_size"), 73);
  EXPECT_EQ(read_json(workspace / "run" / "summary.json").at("val_samples"), 4);
}

TEST(BadPictures, EndTheRunOrAreSkippedAndListed) {
  Workspace workspace;
  write_image_folder(workspace / "data", 32, 16, 4);
  write_text(workspace / "data" / "train" / "dark" / "0.jpg", "this is no picture");
  const std::string whole = jpeg(32, 9);
  write_text(workspace / "data" / "val" / "light" / "17.jpg",
             whole.substr(0, whole.find("\xff\xda") + 18));  // into its pixels

  const CommandResult failed = workspace.run(on(workspace / "data", "fail"));
  EXPECT_EQ(failed.exit_code, 3);
  EXPECT_THAT(failed.err, HasSubstr("dark/0.jpg"));

  const CommandResult skipped = workspace.run(on(workspace / "data", "skip", {"--bad-images", "skip"}));
  ASSERT_EQ(skipped.exit_code, 0) << skipped.err;
  EXPECT_THAT(skipped.err, AllOf(HasSubstr("dark/0.jpg"), HasSubstr("light/17.jpg")));
  EXPECT_EQ(read_json(workspace / "skip" / "summary.json").at("bad_images"), 2);
  EXPECT_EQ(read_json(workspace / "skip" / "summary.json").at("val_samples"), 7);

  const CommandResult partly = workspace.run(on(workspace / "data", "partly", {"--bad-images", "use-partial"}));
  ASSERT_EQ(partly.exit_code, 0) << partly.err;
  EXPECT_THAT(partly.err, HasSubstr("; used as far as it goes"));
  EXPECT_EQ(read_json(workspace / "partly" / "summary.json").at("bad_images"), 2);
  EXPECT_EQ(read_json(workspace / "partly" / "summary.json").at("val_samples"), 8);

  const CommandResult many = workspace.run(on(workspace / "data", "many", {"--bad-images", "skip", "--max-bad", "0"}));
  EXPECT_EQ(many.exit_code, 3);
}

TEST(BadData, IsNamedBeforeTraining) {
  Workspace workspace;
  const auto refusal = [&](const fs::path& data) {
    const CommandResult result = workspace.run(on(data, "run"));
    EXPECT_EQ(result.exit_code, 3) << data;
    return result.err;
  };
  EXPECT_THAT(refusal(workspace / "absent"), HasSubstr("absent' does not exist"));
  write_image_folder(workspace / "extra", 32, 2, 1);
  write_text(workspace / "extra" / "val" / "another" / "1.jpg", jpeg(32, 1));
  EXPECT_THAT(refusal(workspace / "extra"), HasSubstr("another"));
  write_image_folder(workspace / "empty", 32, 2, 1);
  fs::create_directories(workspace / "empty" / "train" / "nothing");
  EXPECT_THAT(refusal(workspace / "empty"), HasSubstr("nothing"));
}

// The binary form of CIFAR-10 with 20 records in each file.
void write_cifar(const fs::path& folder, int labels) {
  const auto records = [&](int first) {
    std::string bytes;
    for (int i = 0; i < 20; ++i) {
      bytes += static_cast<char>((first + i) % labels);
      bytes += std::string(3072, static_cast<char>(first * 20 + i * 3));
    }
    return bytes;
  };
  for (int i = 1; i <= 5; ++i) write_text(folder / ("data_batch_" + std::to_string(i) + ".bin"), records(i));
  write_text(folder / "test_batch.bin", records(6));
  write_text(folder / "batches.meta.txt", "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n");
}

TEST(Cifar, TrainsFromTheBinaryFiles) {
  Workspace workspace;
  write_cifar(workspace / "cifar", 10);
  const CommandResult result =
      workspace.run(on(workspace / "cifar", "run", {"--dataset", "cifar10", "--val-split", "20"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, AllOf(HasSubstr("CIFAR-10 (binary)"), HasSubstr("held out")));
  EXPECT_EQ(read_json(workspace / "run" / "summary.json").at("val_samples"), 20);
  EXPECT_EQ(workspace.run(on(workspace / "cifar", "other", {"--dataset", "imagefolder"})).exit_code, 3);
}

TEST(Cifar, RefusesALabelOutOfRange) {
  Workspace workspace;
  write_cifar(workspace / "cifar", 11);
  const CommandResult result = workspace.run(on(workspace / "cifar", "run"));
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_THAT(result.err, AllOf(HasSubstr("data_batch_1.bin"), HasSubstr("10")));
}

// resnet-pack in `folder`; its output goes to the file `out` there.
int pack(const fs::path& folder, const std::string& arguments) {
  const std::string command = "cd '" + folder.string() + "' && '" RESNET_PACK "' " + arguments + " >out 2>&1";
  const int status = std::system(command.c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(PackedData, TrainsToTheBitsOfTheFolder) {
  Workspace workspace;
  write_image_folder(workspace / "data", 32, 16, 4);
  ASSERT_EQ(pack(workspace.path(), "data data.pack"), 0) << read_text(workspace / "out");
  EXPECT_THAT(read_text(workspace / "out"), HasSubstr("data.pack: 40 pictures, 0 encoded anew, 0 left out"));
  ASSERT_EQ(workspace.run(on(workspace / "data", "folder", {"--epochs", "1"})).exit_code, 0);
  const CommandResult result =
      workspace.run(on(workspace / "data.pack", "packed", {"--epochs", "1", "--dataset", "packed"}));
  ASSERT_EQ(result.exit_code, 0) << result.err;
  expect_same_result(workspace / "packed", workspace / "folder");
}

TEST(PackedData, NamesADamagedRecordAndSkipsItOnRequest) {
  Workspace workspace;
  write_image_folder(workspace / "data", 32, 16, 4);
  ASSERT_EQ(pack(workspace.path(), "data data.pack"), 0) << read_text(workspace / "out");
  std::string bytes = read_text(workspace / "data.pack");
  bytes[600] ^= 1;  // in the first record, behind the header of 16 bytes
  write_text(workspace / "data.pack", bytes);
  EXPECT_EQ(pack(workspace.path(), "--verify data.pack"), 3);
  EXPECT_THAT(read_text(workspace / "out"),
              AllOf(HasSubstr("data.pack record 0 (train/dark/0.jpg): the checksum is wrong"),
                    HasSubstr("39 sound records, 1 bad")));
  const std::vector<std::string> one = {"--max-steps", "4", "--bad-images", "fail"};
  const CommandResult failed = workspace.run(on(workspace / "data.pack", "fail", one));
  EXPECT_EQ(failed.exit_code, 3);
  EXPECT_THAT(failed.err, HasSubstr("record 0 (train/dark/0.jpg): the checksum is wrong"));
  const CommandResult skipped =
      workspace.run(on(workspace / "data.pack", "skip", {"--epochs", "1", "--bad-images", "skip"}));
  ASSERT_EQ(skipped.exit_code, 0) << skipped.err;
  EXPECT_EQ(read_json(workspace / "skip" / "summary.json").at("bad_images"), 1);
  write_text(workspace / "data.pack", bytes.substr(0, bytes.size() - 100));
  const CommandResult cut = workspace.run(on(workspace / "data.pack", "cut", {}));
  EXPECT_EQ(cut.exit_code, 3);
  EXPECT_THAT(cut.err, HasSubstr("the end of the packed data set is missing or damaged"));
}

TEST(PackedData, IsNotWrittenOverAnotherOrFromNothing) {
  Workspace workspace;
  write_image_folder(workspace / "data", 32, 2, 1);
  write_text(workspace / "data.pack", "mine");
  EXPECT_EQ(pack(workspace.path(), "data data.pack"), 2);
  EXPECT_THAT(read_text(workspace / "out"), HasSubstr("'data.pack' exists; choose another name or add --overwrite"));
  EXPECT_EQ(pack(workspace.path(), "absent x.pack"), 3);
  EXPECT_EQ(pack(workspace.path(), "data x.pack --quality 0"), 2);
  EXPECT_EQ(pack(workspace.path(), "data"), 2);
  EXPECT_EQ(read_text(workspace / "data.pack"), "mine");
}

TEST(TarShards, TrainWithoutUnpacking) {
  Workspace workspace;
  for (const char* part : {"train-0", "train-1", "val-0"}) {
    test::TarBuilder tar;
    for (int i = 0; i < 8; ++i) {
      const std::string picture = jpeg(32, (i % 2) * 150 + i);
      tar.add(std::to_string(i) + ".jpg", std::vector<uint8_t>(picture.begin(), picture.end()))
          .add(std::to_string(i) + ".cls", std::to_string(i % 2));
    }
    const std::vector<uint8_t> bytes = tar.finish();
    write_text(workspace / (std::string(part) + ".tar"), {bytes.begin(), bytes.end()});
  }
  const CommandResult folder = workspace.run(on(workspace.path(), "run", {"--epochs", "1", "--dataset", "tar"}));
  ASSERT_EQ(folder.exit_code, 0) << folder.err;
  const CommandResult pattern = workspace.run(
      on(workspace / "train-{0..1}.tar", "again", {"--epochs", "1", "--val-path", (workspace / "val-0.tar").string()}));
  ASSERT_EQ(pattern.exit_code, 0) << pattern.err;
  expect_same_result(workspace / "again", workspace / "run");
}

TEST(TestIo, NamesAPictureThatCannotBeRead) {
  Workspace workspace;
  write_text(workspace / "data" / "a" / "1.jpg", jpeg(32, 1));
  write_text(workspace / "data" / "b" / "2.jpg", "no picture");
  const CommandResult result = workspace.run({"--test-io", "--data-path", (workspace / "data").string()});
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_THAT(result.err, HasSubstr("b/2.jpg: neither JPEG nor PNG"));
}

}  // namespace
}  // namespace engine::testing
