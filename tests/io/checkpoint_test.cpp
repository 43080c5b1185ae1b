#include "engine/io/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "engine/io/atomic_directory.h"
#include "engine/io/manifest.h"
#include "tests/io/checkpoint_sample.h"
#include "tests/io/io_testing.h"
#include "tests/io/simulated_disk.h"

namespace engine {
namespace {

using test::bytes_of;
using test::disk_with_run;
using test::error_of;
using test::Fault;
using test::FaultyFileOps;
using test::names_in;
using test::Sample;
using test::save;
using test::SimulatedDisk;
using test::step_of;
using testing::HasSubstr;

TEST(Checkpoint, RoundTrip) {
  test::TemporaryDirectory directory;
  const auto path = write_checkpoint(directory.path(), "last", Sample(7).contents());
  EXPECT_EQ(path, directory.path() / "checkpoints" / "last");
  EXPECT_EQ(names_in(FileOps::real(), path),
            (std::vector<std::string>{"MANIFEST.json", "model.safetensors", "state.json", "trainer.safetensors"}));
  EXPECT_EQ(validate_checkpoint(path), std::nullopt);
  EXPECT_EQ(step_of(path, FileOps::real()), 7);
}

TEST(Checkpoint, ReplacesTheOldOneAndLeavesNothingElse) {
  test::TemporaryDirectory directory;
  for (const std::int64_t step : {1, 2, 3}) write_checkpoint(directory.path(), "last", Sample(step).contents());
  EXPECT_EQ(names_in(FileOps::real(), directory.path() / "checkpoints"), std::vector<std::string>{"last"});
  EXPECT_EQ(step_of(directory.path() / "checkpoints" / "last", FileOps::real()), 3);
}

TEST(Checkpoint, BestSharesTheFilesOfLast) {
  test::TemporaryDirectory directory;
  write_checkpoint(directory.path(), "last", Sample(1).contents());
  const auto best = copy_checkpoint(directory.path(), "last", "best");
  struct stat status;
  ASSERT_EQ(::stat((best / "model.safetensors").c_str(), &status), 0);
  EXPECT_EQ(status.st_nlink, 2u);
  write_checkpoint(directory.path(), "last", Sample(2).contents());
  EXPECT_EQ(step_of(best, FileOps::real()), 1);
  copy_checkpoint(directory.path(), "last", "best");
  EXPECT_EQ(step_of(best, FileOps::real()), 2);
}

TEST(Checkpoint, BestIsCopiedWhereLinksAreImpossible) {
  SimulatedDisk disk = disk_with_run();
  disk.link_supported = false;
  save(disk, "last", 1);
  copy_checkpoint("/run", "last", "best", disk);
  save(disk, "last", 2);
  EXPECT_EQ(step_of("/run/checkpoints/best", disk), 1);
}

TEST(Checkpoint, NewestIsByStepAndFallsBackPastDamage) {
  SimulatedDisk disk = disk_with_run();
  save(disk, "step-00000300", 300);
  save(disk, "best", 200);
  save(disk, "last", 100);  // written later than the others: time does not count
  disk.flip_bit("/run/checkpoints/step-00000300/trainer.safetensors", 99);
  const NewestCheckpoint newest = newest_valid_checkpoint("/run/checkpoints", disk);
  EXPECT_EQ(newest.directory, "/run/checkpoints/best");
  EXPECT_EQ(newest.step, 200);
  ASSERT_EQ(newest.skipped.size(), 1u);
  EXPECT_THAT(newest.skipped[0],
              HasSubstr("/run/checkpoints/step-00000300/trainer.safetensors does not match the XXH3-128"));
}

TEST(Checkpoint, AmongEqualsLastIsTaken) {
  SimulatedDisk disk = disk_with_run();
  save(disk, "last", 5);
  copy_checkpoint("/run", "last", "best", disk);
  EXPECT_EQ(newest_valid_checkpoint("/run/checkpoints", disk).directory, "/run/checkpoints/last");
}

TEST(Checkpoint, NoneIsFoundWhereThereIsNone) {
  SimulatedDisk disk = disk_with_run();
  EXPECT_EQ(newest_valid_checkpoint("/run/checkpoints", disk).directory, std::nullopt);
  disk.make_directory("/run/checkpoints");
  disk.make_directory("/run/checkpoints/last");
  const NewestCheckpoint newest = newest_valid_checkpoint("/run/checkpoints", disk);
  EXPECT_EQ(newest.directory, std::nullopt);
  EXPECT_EQ(newest.skipped,
            std::vector<std::string>{"checkpoint /run/checkpoints/last has no MANIFEST.json; it was never completed"});
}

TEST(Checkpoint, EveryFlippedBitNamesItsFile) {
  SimulatedDisk disk = disk_with_run();
  save(disk, "last", 1);
  for (const char* name : {"model.safetensors", "trainer.safetensors", "state.json", "MANIFEST.json"}) {
    const std::filesystem::path path = std::filesystem::path("/run/checkpoints/last") / name;
    for (std::size_t bit = 0; bit < 8 * disk.file_size(path); ++bit) {
      disk.flip_bit(path, bit);
      const auto problem = validate_checkpoint("/run/checkpoints/last", disk);
      ASSERT_TRUE(problem) << name << " bit " << bit;
      EXPECT_THAT(*problem, HasSubstr(path.string())) << "bit " << bit;
      EXPECT_THROW(read_checkpoint("/run/checkpoints/last", disk), Error) << name << " bit " << bit;
      disk.flip_bit(path, bit);
    }
  }
  EXPECT_EQ(validate_checkpoint("/run/checkpoints/last", disk), std::nullopt);
}

TEST(Checkpoint, MissingTruncatedAndLongerFilesAreNamed) {
  test::TemporaryDirectory directory;
  const auto path = write_checkpoint(directory.path(), "last", Sample(1).contents());
  const auto size = std::filesystem::file_size(path / "model.safetensors");
  std::filesystem::resize_file(path / "model.safetensors", size - 1);
  EXPECT_EQ(validate_checkpoint(path), "checkpoint file " + (path / "model.safetensors").string() + " holds " +
                                           std::to_string(size - 1) + " bytes, its manifest says " +
                                           std::to_string(size) + "; it is damaged, use another checkpoint");
  std::filesystem::resize_file(path / "model.safetensors", size + 1);
  EXPECT_THAT(error_of(ErrorKind::checkpoint, [&] { read_checkpoint(path); }),
              HasSubstr("holds " + std::to_string(size + 1) + " bytes"));
  std::filesystem::remove(path / "model.safetensors");
  EXPECT_THAT(*validate_checkpoint(path),
              HasSubstr("open " + (path / "model.safetensors").string() + ": No such file"));
}

TEST(Checkpoint, FullDiskKeepsTheOldOneAndSaysHowMuchIsNeeded) {
  SimulatedDisk disk = disk_with_run();
  save(disk, "last", 1);
  FaultyFileOps full(disk, Fault::fail_once, 5, ENOSPC);
  const std::string message = error_of(ErrorKind::checkpoint, [&] { save(full, "last", 2); });
  EXPECT_THAT(message, testing::MatchesRegex("checkpoint last of step 2 \\(3[0-9].[0-9] kB\\) was not saved: .*"
                                             "No space left on device \\(12.0 MB free\\).*"));
  EXPECT_EQ(names_in(disk, "/run/checkpoints"), std::vector<std::string>{"last"});
  EXPECT_EQ(step_of("/run/checkpoints/last", disk), 1);
}

TEST(Checkpoint, PruneKeepsTheNewest) {
  SimulatedDisk disk = disk_with_run();
  for (const std::int64_t step : {5, 99999999, 100000000, 20}) save(disk, step_checkpoint_name(step), step);
  save(disk, "last", 1);
  prune_step_checkpoints("/run/checkpoints", 2, disk);
  EXPECT_EQ(names_in(disk, "/run/checkpoints"), (std::vector<std::string>{"last", "step-100000000", "step-99999999"}));
}

TEST(Checkpoint, InterruptedRemovalLeavesNoCheckpoint) {
  for (int at = 0;; ++at) {
    SimulatedDisk disk = disk_with_run();
    save(disk, "step-00000009", 9);
    disk.sync_everything();
    FaultyFileOps ops(disk, Fault::fail_for_good, at);
    try {
      remove_checkpoint("/run/checkpoints/step-00000009", ops);
    } catch (const Error&) {
    }
    const auto newest = newest_valid_checkpoint("/run/checkpoints", disk);
    EXPECT_EQ(newest.directory.has_value(), at == 0) << at;
    if (!ops.reached()) break;
  }
}

TEST(Checkpoint, KilledProcessesLeaveWhatTheyHadSaved) {
  test::TemporaryDirectory directory;
  const auto checkpoints = directory.path() / "checkpoints";
  std::mt19937 random(23);
  std::int64_t saved = 0;
  for (int trial = 0; trial < 20; ++trial) {
    int acknowledged[2];
    ASSERT_EQ(::pipe(acknowledged), 0);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      for (std::int64_t step = saved + 1;; ++step) {
        write_checkpoint(directory.path(), "last", Sample(step).contents());
        if (::write(acknowledged[1], &step, sizeof step) != sizeof step) ::_exit(1);
      }
    }
    ::close(acknowledged[1]);
    ASSERT_EQ(::read(acknowledged[0], &saved, sizeof saved), static_cast<ssize_t>(sizeof saved));
    ::usleep(static_cast<useconds_t>(random() % 10000));
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    ASSERT_EQ(::waitpid(child, nullptr, 0), child);
    while (::read(acknowledged[0], &saved, sizeof saved) == sizeof saved) {
    }
    ::close(acknowledged[0]);

    remove_leftovers(checkpoints);
    const NewestCheckpoint newest = newest_valid_checkpoint(checkpoints);
    EXPECT_TRUE(newest.skipped.empty());
    const std::int64_t found = newest.directory ? step_of(*newest.directory, FileOps::real()) : 0;
    EXPECT_TRUE(found == saved || found == saved + 1) << "saved " << saved << ", found " << found;
    saved = found;
  }
  EXPECT_GE(saved, 20);
}

// A write that is not synced before the rename must be caught by the simulation, or the tests above prove nothing.
TEST(SimulatedDisk, FindsAMissingSync) {
  SimulatedDisk disk = disk_with_run();
  {
    OpenFile file("/run/new", O_WRONLY | O_CREAT, ErrorKind::checkpoint, disk);
    file.write_all(bytes_of("new content"));
  }
  ASSERT_EQ(disk.rename("/run/new", "/run/a"), 0);
  fsync_directory("/run", ErrorKind::checkpoint, disk);
  std::mt19937 random(3);
  bool torn = false;
  for (int i = 0; i < 100; ++i) torn |= disk.after_power_loss(random).text_of("/run/a") != "new content";
  EXPECT_TRUE(torn);
}

TEST(Leftovers, AreRemovedAndReported) {
  SimulatedDisk disk = disk_with_run();
  save(disk, "last", 1);
  disk.make_directory("/run/checkpoints/.last.tmp-123-4");
  write_file_atomically("/run/checkpoints/.last.tmp-123-4/model.safetensors", "half", ErrorKind::checkpoint, disk);
  write_file_atomically("/run/checkpoints/.report.html.tmp-9-0", "half", ErrorKind::checkpoint, disk);
  write_file_atomically("/run/checkpoints/.hidden", "kept", ErrorKind::checkpoint, disk);
  EXPECT_EQ(
      remove_leftovers("/run/checkpoints", disk),
      (std::vector<std::string>{"removed /run/checkpoints/.last.tmp-123-4, left unfinished by a killed process",
                                "removed /run/checkpoints/.report.html.tmp-9-0, left unfinished by a killed process"}));
  EXPECT_EQ(names_in(disk, "/run/checkpoints"), (std::vector<std::string>{".hidden", "last"}));
  EXPECT_TRUE(remove_leftovers("/absent", disk).empty());
}

TEST(Leftovers, NamesAreRecognised) {
  EXPECT_EQ(leftover_target(".last.tmp-12-0", "tmp"), "last");
  EXPECT_EQ(leftover_target(".a.tmp-b.tmp-12-0", "tmp"), "a.tmp-b");
  EXPECT_EQ(leftover_target(".last.old-12-0", "tmp"), "");
  EXPECT_EQ(leftover_target("last.tmp-12-0", "tmp"), "");
  EXPECT_EQ(leftover_target(".last.tmp-", "tmp"), "");
  EXPECT_EQ(leftover_target(".last.tmp-12x", "tmp"), "");
  EXPECT_EQ(leftover_target("", "tmp"), "");
}

TEST(Manifest, RoundTripAndRefusals) {
  const Manifest manifest{.step = 12345, .files = {{"model.safetensors", {10, "ab"}}}};
  const std::string text = manifest_json(manifest);
  const Manifest again = parse_manifest(text, "m");
  EXPECT_EQ(again.step, 12345);
  EXPECT_EQ(again.files.at("model.safetensors").bytes, 10u);
  EXPECT_EQ(again.files.at("model.safetensors").xxh3_128, "ab");

  const auto refusal = [](const std::string& bad) {
    return error_of(ErrorKind::checkpoint, [&] { parse_manifest(bad, "m"); });
  };
  EXPECT_THAT(refusal(""), HasSubstr("manifest m: it is not a JSON object"));
  EXPECT_THAT(refusal("[1]"), HasSubstr("not a JSON object"));
  EXPECT_THAT(refusal("{}"), HasSubstr("\"format\" is not a string"));
  std::string other_step = text;
  other_step.replace(other_step.find("12345"), 5, "12346");
  EXPECT_THAT(refusal(other_step), HasSubstr("its own checksum does not match; the file is damaged"));
  EXPECT_THAT(refusal(manifest_json({.step = 1, .files = {{"../evil", {1, ""}}}})),
              HasSubstr("a name that is not plain"));
  EXPECT_THAT(refusal(manifest_json({.step = -1, .files = {}})), HasSubstr("\"step\" is not a non-negative integer"));
}

TEST(Manifest, VersionOfTheFutureIsRefusedByNumber) {
  // The sum below is of this object without it: a later program's manifest is undamaged, and still not ours to read.
  const std::string without_sum = R"({"files":{},"format":"engine-checkpoint","step":1,"version":2})";
  const std::string text =
      without_sum.substr(0, without_sum.size() - 1) + ",\"xxh3_128\":\"" + xxh3_128_hex(bytes_of(without_sum)) + "\"}";
  EXPECT_THAT(error_of(ErrorKind::checkpoint, [&] { parse_manifest(text, "m"); }),
              HasSubstr("format version 2, this program reads version 1; use the program that wrote it"));
}

}  // namespace
}  // namespace engine
