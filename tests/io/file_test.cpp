#include "engine/io/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "tests/io/io_testing.h"
#include "tests/io/simulated_disk.h"

namespace engine {
namespace {

using test::bytes_of;
using test::error_of;
using test::Fault;
using test::FaultyFileOps;
using test::SimulatedDisk;
using testing::HasSubstr;

TEST(File, RoundTripOfManySizes) {
  test::TemporaryDirectory directory;
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{1}, std::size_t{262143}, std::size_t{262144}, std::size_t{700001}}) {
    std::vector<std::byte> bytes(size);
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 31 >> 3);
    const auto path = directory.path() / std::to_string(size);
    write_file_atomically(path, bytes);
    EXPECT_EQ(read_file(path), bytes) << size;
  }
}

TEST(File, WriterSumsWhatItWrites) {
  test::TemporaryDirectory directory;
  FileWriter writer(directory.path() / "a", ErrorKind::checkpoint);
  const std::string large(300000, 'x');
  writer.write("small");
  writer.write(large);
  writer.write("tail");
  const FileDigest digest = writer.finish();
  const std::string all = "small" + large + "tail";
  EXPECT_EQ(read_text_file(directory.path() / "a"), all);
  EXPECT_EQ(digest.bytes, all.size());
  EXPECT_EQ(digest.xxh3_128, xxh3_128_hex(bytes_of(all)));
}

TEST(File, ReadErrorsNameTheFile) {
  test::TemporaryDirectory directory;
  const auto absent = directory.path() / "absent";
  EXPECT_EQ(error_of(ErrorKind::data, [&] { read_file(absent); }),
            "open " + absent.string() + ": No such file or directory; check the path");
  EXPECT_THAT(error_of(ErrorKind::data, [&] { read_file(directory.path()); }), HasSubstr("Is a directory"));
  std::ofstream(directory.path() / "long") << "0123456789";
  EXPECT_THAT(error_of(ErrorKind::usage,
                       [&] { read_file(directory.path() / "long", {.kind = ErrorKind::usage, .max_bytes = 9}); }),
              HasSubstr("10 bytes, expected at most 9"));
}

TEST(File, InterruptedAndShortCallsAreContinued) {
  SimulatedDisk disk;
  test::HaltingFileOps ops(disk);
  write_file_atomically("/a", "the whole text", ErrorKind::checkpoint, ops);
  EXPECT_EQ(disk.text_of("/a"), "the whole text");
  EXPECT_EQ(read_text_file("/a", {}, ops), "the whole text");
}

TEST(File, UncommittedFileLeavesNothing) {
  test::TemporaryDirectory directory;
  {
    AtomicFile file(directory.path() / "a");
    file.writer().write("half");
  }
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
}

TEST(File, AtomicWriteIsOldOrNewWhicheverCallFails) {
  int at = 0;
  for (;; ++at) {
    SimulatedDisk disk;
    write_file_atomically("/a", "old", ErrorKind::checkpoint, disk);
    FaultyFileOps ops(disk, Fault::fail_once, at);
    bool failed = false;
    try {
      write_file_atomically("/a", "new", ErrorKind::checkpoint, ops);
    } catch (const Error& error) {
      failed = true;
      EXPECT_THAT(error.what(), HasSubstr("the device reports a fault"));
    }
    const std::string text = disk.text_of("/a");
    EXPECT_TRUE(text == "new" || (failed && text == "old")) << "call " << at << ": " << text;
    std::vector<std::string> names;
    disk.list("/", names);
    EXPECT_EQ(names, std::vector<std::string>{"a"}) << "call " << at;
    if (!ops.reached()) break;
  }
  EXPECT_GE(at, 7);  // create, write, fsync, close, rename, open directory, fsync it
}

TEST(File, FullDiskSaysHowMuchIsFree) {
  SimulatedDisk disk;
  FaultyFileOps ops(disk, Fault::fail_for_good, 1, ENOSPC);
  EXPECT_THAT(error_of(ErrorKind::checkpoint, [&] { write_file_atomically("/a", "text", ErrorKind::checkpoint, ops); }),
              HasSubstr("No space left on device (12.0 MB free); free some space or choose another directory"));
}

TEST(File, AtomicWriteSurvivesPowerLoss) {
  SimulatedDisk disk;
  write_file_atomically("/a", "old", ErrorKind::checkpoint, disk);
  disk.sync_everything();
  std::mt19937 random(1);
  for (int at = 0;; ++at) {
    SimulatedDisk crashed = disk;
    FaultyFileOps ops(crashed, Fault::fail_for_good, at);
    bool saved = true;
    try {
      write_file_atomically("/a", "new content", ErrorKind::checkpoint, ops);
    } catch (const Error&) {
      saved = false;
    }
    for (int i = 0; i < 100; ++i) {
      const std::string text = crashed.after_power_loss(random).text_of("/a");
      EXPECT_TRUE(text == "new content" || (!saved && text == "old")) << "call " << at << ": '" << text << "'";
    }
    if (!ops.reached()) break;
  }
}

TEST(File, OutputDirectoryIsProvedWritable) {
  test::TemporaryDirectory directory;
  make_writable_directory(directory.path() / "a" / "b");
  EXPECT_TRUE(std::filesystem::is_empty(directory.path() / "a" / "b"));
  std::ofstream(directory.path() / "file") << "x";
  EXPECT_THAT(error_of(ErrorKind::usage, [&] { make_writable_directory(directory.path() / "file" / "b"); }),
              HasSubstr("is a file; choose another directory"));
  SimulatedDisk disk;
  FaultyFileOps read_only(disk, Fault::fail_for_good, 3, EROFS);
  disk.make_directory("/a");
  EXPECT_THAT(error_of(ErrorKind::usage, [&] { make_writable_directory("/a/b", read_only); }), HasSubstr("read-only"));
}

TEST(File, BytesForPeople) {
  EXPECT_EQ(human_bytes(999), "999 bytes");
  EXPECT_EQ(human_bytes(1000), "1.0 kB");
  EXPECT_EQ(human_bytes(94'331'112), "94.3 MB");
  EXPECT_EQ(human_bytes(999'999'999), "1.0 GB");
  EXPECT_EQ(human_bytes(2'500'000'000'000), "2.5 TB");
}

}  // namespace
}  // namespace engine
