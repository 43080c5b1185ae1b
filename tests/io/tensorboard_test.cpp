#include "engine/io/tensorboard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "engine/io/crc32c.h"
#include "tests/io/io_testing.h"
#include "tests/io/simulated_disk.h"

namespace engine {
namespace {

using test::Fault;
using test::FaultyFileOps;
using test::SimulatedDisk;
using testing::HasSubstr;

// The messages of an event file, after their lengths and sums were checked.
std::vector<std::string> events_of(const std::string& file) {
  std::vector<std::string> events;
  const auto u32 = [&](std::size_t at) {
    std::uint32_t value;
    std::memcpy(&value, file.data() + at, sizeof value);
    return value;
  };
  const auto sum = [&](std::size_t at, std::size_t size) {
    return masked_crc32c(crc32c(std::as_bytes(std::span(file).subspan(at, size))));
  };
  std::size_t at = 0;
  while (at + 12 <= file.size()) {
    std::uint64_t length;
    std::memcpy(&length, file.data() + at, sizeof length);
    EXPECT_EQ(u32(at + 8), sum(at, 8));
    if (at + 16 + length > file.size()) break;
    EXPECT_EQ(u32(at + 12 + length), sum(at + 12, length));
    events.push_back(file.substr(at + 12, length));
    at += 16 + length;
  }
  EXPECT_EQ(at, file.size()) << "torn tail";
  return events;
}

TEST(EventWriter, BytesAreTheProtocolBuffersOfTensorFlow) {
  test::TemporaryDirectory directory;
  EventWriter writer(directory.path() / "tb");
  writer.scalar("lr", 300, 0.5, 2.0);
  writer.flush();
  const auto events = events_of(read_text_file(writer.path()));
  ASSERT_EQ(events.size(), 3u);
  EXPECT_EQ(events[0].substr(9),
            "\x1a\x0d"
            "brain.Event:2");                                   // field 3 after the 9 bytes of wall_time
  EXPECT_EQ(events[2], std::string("\x09\0\0\0\0\0\0\0\x40"     // wall_time = 2.0
                                   "\x10\xac\x02"               // step = 300
                                   "\x2a\x0b\x0a\x09"           // summary { value {
                                   "\x0a\x02lr\x15\0\0\0\x3f",  // tag, simple_value = 0.5
                                   25));
}

TEST(EventWriter, OpensWithSessionStart) {
  test::TemporaryDirectory directory;
  EventWriter writer(directory.path(), {.first_step = 101});
  const auto events = events_of(read_text_file(writer.path()));
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[1].substr(9), "\x10\x65\x3a\x02\x08\x01");  // step = 101, session_log { status = START }
}

TEST(EventWriter, FilesSortInTheOrderOfTheirProcesses) {
  test::TemporaryDirectory directory;
  const auto future = directory.path() / "events.out.tfevents.4000000000.zz.1.0";
  write_file_atomically(future, std::string_view("from a clock that ran ahead"));
  const EventWriter first(directory.path()), second(directory.path());
  EXPECT_LT(future.filename(), first.path().filename());
  EXPECT_LT(first.path().filename(), second.path().filename());
  EXPECT_THAT(first.path().filename().string(), testing::StartsWith("events.out.tfevents.4000000001."));
}

TEST(EventWriter, ValuesAppearAfterFlushOnly) {
  SimulatedDisk disk;
  EventWriter writer("/", {}, disk);
  const std::size_t opened = disk.file_size(writer.path());
  writer.scalar("a", 1, 1.0);
  EXPECT_EQ(disk.file_size(writer.path()), opened);
  writer.flush();
  EXPECT_GT(disk.file_size(writer.path()), opened);
}

TEST(EventWriter, DiskFailureIsReportedOnceAndEndsNothing) {
  int at = 0;
  for (;; ++at) {
    SimulatedDisk disk;
    FaultyFileOps ops(disk, Fault::fail_once, at, ENOSPC);
    std::vector<std::string> reports;
    std::filesystem::path path;
    {
      EventWriter writer("/", {.on_failure = [&](const std::string& message) { reports.push_back(message); }}, ops);
      path = writer.path();
      for (int step = 1; step <= 3; ++step) {
        writer.scalar("a", step, 1.0);
        writer.flush();
      }
    }
    if (!ops.reached()) {
      EXPECT_EQ(events_of(disk.text_of(path)).size(), 5u);
      break;
    }
    EXPECT_LE(reports.size(), 1u) << "call " << at;
    events_of(disk.text_of(path));  // whatever is there is whole
  }
  EXPECT_GE(at, 6);
}

TEST(EventWriter, TensorBoardShowsOneCleanCurve) {
  if (!test::test_python()) GTEST_SKIP() << "ENGINE_TEST_PYTHON does not name an interpreter with tensorboard";
  test::TemporaryDirectory directory;
  const auto run = [&](std::int64_t first_step, std::int64_t first, std::int64_t last, double value) {
    EventWriter writer(directory.path(), {.first_step = first_step});
    for (std::int64_t step = first; step <= last; ++step)
      writer.scalar("train/loss", step, value + static_cast<double>(step));
    return writer.path();
  };
  const auto killed = run(0, 1, 8, 0.0);
  std::filesystem::resize_file(killed, std::filesystem::file_size(killed) - 5);  // step 8 is torn
  run(6, 6, 7, 100.0);  // resumed from step 5, then killed again
  run(7, 7, 9, 200.0);
  const std::string curve =
      "[(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0), (5, 5.0), (6, 106.0), (7, 207.0), (8, 208.0), (9, 209.0)]\n";
  EXPECT_THAT(test::run_python(R"(
import sys
from tensorboard.backend.event_processing import event_accumulator, plugin_event_accumulator
old, new = event_accumulator.EventAccumulator(sys.argv[1]), plugin_event_accumulator.EventAccumulator(sys.argv[1])
old.Reload()
new.Reload()
print([(e.step, e.value) for e in old.Scalars("train/loss")])
print([(e.step, e.tensor_proto.float_val[0]) for e in new.Tensors("train/loss")])
)",
                               directory.path()),
              testing::EndsWith(curve + curve));
}

}  // namespace
}  // namespace engine
