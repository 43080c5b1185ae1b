#include "engine/io/metrics_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "tests/io/io_testing.h"
#include "tests/io/simulated_disk.h"

namespace engine {
namespace {

using test::Fault;
using test::FaultyFileOps;
using test::SimulatedDisk;
using testing::HasSubstr;

class MetricsLogFile : public testing::Test {
 protected:
  void put(const std::string& text) const { std::ofstream(path(), std::ios::binary) << text; }
  std::string text() const { return read_text_file(path()); }
  std::filesystem::path path() const { return directory_.path() / "metrics.jsonl"; }

 private:
  test::TemporaryDirectory directory_;
};

TEST_F(MetricsLogFile, OneLineAnEvent) {
  MetricsLog log(path(), std::nullopt);
  log.append(R"({"event":"train","step":1})");
  EXPECT_EQ(text(), "{\"event\":\"train\",\"step\":1}\n");
  log.append(R"({"event":"train","step":2})");
  EXPECT_EQ(text(), "{\"event\":\"train\",\"step\":1}\n{\"event\":\"train\",\"step\":2}\n");
}

TEST_F(MetricsLogFile, NewRunStartsEmpty) {
  put("{\"step\":7}\n");
  MetricsLog log(path(), std::nullopt);
  EXPECT_EQ(text(), "");
}

TEST_F(MetricsLogFile, ResumeKeepsWhatLiesBeforeTheCheckpoint) {
  put("{\"event\":\"start\"}\n{\"step\":9}\n{\"step\":10}\n{\"step\":11}\n{\"event\":\"end\"}\n{\"step\":10,\"acc\":1}"
      "\n{\"st");
  MetricsLog log(path(), 10);
  log.append("{\"step\":11,\"again\":true}");
  EXPECT_EQ(text(),
            "{\"event\":\"start\"}\n{\"step\":9}\n{\"step\":10}\n{\"event\":\"end\"}\n{\"step\":10,\"acc\":1}\n"
            "{\"step\":11,\"again\":true}\n");
}

TEST_F(MetricsLogFile, DamagedLinesAreDropped) {
  put(std::string("{\"step\":1}\n\0\0\0\0\n[1]\n{\"step\":2}\n", 31));
  MetricsLog log(path(), 2);
  EXPECT_EQ(text(), "{\"step\":1}\n{\"step\":2}\n");
}

TEST_F(MetricsLogFile, EventWithALineEndIsRefused) {
  MetricsLog log(path(), std::nullopt);
  EXPECT_THAT(test::error_of(ErrorKind::internal, [&] { log.append("{\n}"); }), HasSubstr("dump it on one line"));
  EXPECT_EQ(text(), "");
}

TEST(MetricsLog, DiskFailureIsReportedOnceAndLeavesWholeLines) {
  SimulatedDisk disk;
  std::vector<std::string> reports;
  // Calls: kind, open, size, then one write a line; the third line meets a full disk.
  FaultyFileOps ops(disk, Fault::fail_once, 5, ENOSPC);
  MetricsLog log(
      "/m", std::nullopt, [&](const std::string& message) { reports.push_back(message); }, ops);
  for (const char* line : {"{\"step\":1}", "{\"step\":2}", "{\"step\":3}", "{\"step\":4}"}) log.append(line);
  EXPECT_EQ(disk.text_of("/m"), "{\"step\":1}\n{\"step\":2}\n{\"step\":4}\n");
  ASSERT_EQ(reports.size(), 1u);
  EXPECT_THAT(reports[0], HasSubstr("write /m: No space left on device"));
}

TEST(MetricsLog, TornLineIsCutOffBeforeTheNextOne) {
  // Writes half of what it is given, then fails, once.
  class HalfWriting : public FaultyFileOps {
   public:
    explicit HalfWriting(FileOps& inner) : FaultyFileOps(inner, Fault::fail_once, -1) {}
    std::ptrdiff_t write(int fd, const void* data, std::size_t size) override {
      ++writes_;
      if (writes_ == 3) return (errno = ENOSPC), -1;
      return FaultyFileOps::write(fd, data, writes_ == 2 ? size / 2 : size);
    }

   private:
    int writes_ = 0;
  };
  SimulatedDisk disk;
  HalfWriting ops(disk);
  MetricsLog log("/m", std::nullopt, {}, ops);
  for (const char* line : {"{\"step\":1}", "{\"step\":2}", "{\"step\":3}"}) log.append(line);
  EXPECT_EQ(disk.text_of("/m"), "{\"step\":1}\n{\"step\":3}\n");
}

TEST(MetricsLog, FileThatCannotBeOpenedNeverEndsTheWork) {
  std::vector<std::string> reports;
  MetricsLog log("/nonexistent/metrics.jsonl", 3, [&](const std::string& message) { reports.push_back(message); });
  log.append("{}");
  log.append("{}");
  EXPECT_EQ(reports.size(), 1u);
}

}  // namespace
}  // namespace engine
