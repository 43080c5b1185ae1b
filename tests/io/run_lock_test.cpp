#include "engine/io/run_lock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <memory>

#include "tests/io/io_testing.h"

namespace engine {
namespace {

using test::error_of;
using testing::HasSubstr;

TEST(RunLock, SecondHolderIsToldWhoTheFirstIs) {
  test::TemporaryDirectory directory;
  RunLock lock(directory.path());
  char host[256] = {};
  ASSERT_EQ(::gethostname(host, sizeof host - 1), 0);
  EXPECT_EQ(error_of(ErrorKind::usage, [&] { RunLock second(directory.path()); }),
            "run directory " + directory.path().string() + " is in use by process " + std::to_string(::getpid()) +
                " on " + host + "; wait for it to end, stop it, or choose another --output-dir");
}

TEST(RunLock, IsReleasedAtTheEndOfTheScope) {
  test::TemporaryDirectory directory;
  for (int i = 0; i < 3; ++i) RunLock lock(directory.path());
  EXPECT_EQ(read_text_file(directory.path() / ".lock"), "");
}

TEST(RunLock, FileOfADeadProcessDoesNotBlock) {
  test::TemporaryDirectory directory;
  std::ofstream(directory.path() / ".lock") << "1 some-old-host-with-a-longer-name\n";
  RunLock lock(directory.path());
  EXPECT_THAT(read_text_file(directory.path() / ".lock"), testing::StartsWith(std::to_string(::getpid()) + " "));
}

TEST(RunLock, KilledProcessReleasesIt) {
  test::TemporaryDirectory directory;
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    RunLock lock(directory.path());
    if (::write(ready[1], "x", 1) != 1) ::_exit(1);
    ::pause();
    ::_exit(0);
  }
  char byte;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  EXPECT_THAT(error_of(ErrorKind::usage, [&] { RunLock lock(directory.path()); }),
              HasSubstr("process " + std::to_string(child)));
  ASSERT_EQ(::kill(child, SIGKILL), 0);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  EXPECT_NO_THROW(RunLock lock(directory.path()));
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST(RunLock, AbsentDirectoryIsAUsageError) {
  test::TemporaryDirectory directory;
  EXPECT_THAT(error_of(ErrorKind::usage, [&] { RunLock lock(directory.path() / "absent"); }),
              HasSubstr("check the path"));
}

}  // namespace
}  // namespace engine
