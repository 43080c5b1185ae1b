#include "engine/io/checkpoint.h"

#include <fcntl.h>

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "engine/io/atomic_directory.h"
#include "engine/io/manifest.h"

namespace engine {
namespace {

constexpr const char* kModel = "model.safetensors";
constexpr const char* kTrainer = "trainer.safetensors";
constexpr const char* kAverage = "model_ema.safetensors";  // not in every checkpoint
constexpr const char* kState = "state.json";
constexpr const char* kManifest = "MANIFEST.json";
constexpr const char* kStepPrefix = "step-";
constexpr std::uint64_t kMaxManifestBytes = 1 << 20;  // a few hundred bytes in truth
constexpr ErrorKind kKind = ErrorKind::checkpoint;

PathKind kind_of(const std::filesystem::path& path, FileOps& ops) {
  PathKind kind;
  if (ops.kind(path, kind) != 0) fail_with_errno(kKind, "stat", path, errno, ops);
  return kind;
}

std::vector<std::string> list(const std::filesystem::path& directory, FileOps& ops) {
  std::vector<std::string> names;
  if (ops.list(directory, names) != 0) fail_with_errno(kKind, "list", directory, errno, ops);
  return names;
}

void check_name(const std::string& name) {
  if (name.empty() || name.front() == '.' || name.find('/') != std::string::npos)
    fail(ErrorKind::internal, "checkpoint: \"", name, "\" cannot be the name of a checkpoint");
}

std::filesystem::path make_checkpoints_directory(const std::filesystem::path& run_dir, FileOps& ops) {
  std::filesystem::path directory = run_dir / "checkpoints";
  if (kind_of(directory, ops) == PathKind::absent) {
    if (ops.make_directory(directory) != 0 && errno != EEXIST)
      fail_with_errno(kKind, "create directory", directory, errno, ops);
    fsync_directory(run_dir, kKind, ops);
  }
  return directory;
}

FileDigest write_text(const std::filesystem::path& path, std::string_view text, FileOps& ops) {
  FileWriter writer(path, kKind, ops);
  writer.write(text);
  return writer.finish();
}

FileDigest write_tensors(const std::filesystem::path& path, std::span<const TensorView> views,
                         const SafetensorsMetadata& metadata, FileOps& ops) {
  FileWriter writer(path, kKind, ops);
  write_safetensors(writer, views, metadata);
  return writer.finish();
}

Manifest read_manifest(const std::filesystem::path& directory, FileOps& ops) {
  const std::filesystem::path path = directory / kManifest;
  if (kind_of(path, ops) == PathKind::absent)
    fail(kKind, "checkpoint ", directory.string(), " has no ", kManifest, "; it was never completed");
  Manifest manifest =
      parse_manifest(read_text_file(path, {.kind = kKind, .max_bytes = kMaxManifestBytes}, ops), path.string());
  for (const char* name : {kModel, kTrainer, kState})
    if (!manifest.files.contains(name)) fail(kKind, "manifest ", path.string(), " does not list ", name);
  return manifest;
}

void check_digest(const std::filesystem::path& path, const FileDigest& expected, const FileDigest& found) {
  if (found.bytes != expected.bytes)
    fail(kKind, "checkpoint file ", path.string(), " holds ", found.bytes, " bytes, its manifest says ", expected.bytes,
         "; it is damaged, use another checkpoint");
  if (found.xxh3_128 != expected.xxh3_128)
    fail(kKind, "checkpoint file ", path.string(), " does not match the XXH3-128 sum in its manifest (", found.xxh3_128,
         ", expected ", expected.xxh3_128, "); it is damaged, use another checkpoint");
}

std::vector<std::byte> read_checked(const std::filesystem::path& path, const FileDigest& expected, FileOps& ops) {
  std::vector<std::byte> bytes = read_file(path, {.kind = kKind}, ops);
  check_digest(path, expected, {bytes.size(), xxh3_128_hex(bytes)});
  return bytes;
}

// Whether a failed link() says that links are impossible here, rather than that the disk fails.
bool links_unsupported(int error) {
  return error == EPERM || error == EXDEV || error == EMLINK || error == ENOSYS || error == EOPNOTSUPP;
}

void link_or_copy(const std::filesystem::path& from, const std::filesystem::path& to, FileOps& ops) {
  if (ops.link(from, to) == 0) return;
  if (!links_unsupported(errno)) fail_with_errno(kKind, "link to", to, errno, ops);
  FileWriter writer(to, kKind, ops);
  writer.write(read_file(from, {.kind = kKind}, ops));
  writer.finish();
}

}  // namespace

std::string step_checkpoint_name(std::int64_t step) {
  return fmt::format("{}{:08d}", kStepPrefix, step);
}

std::uint64_t checkpoint_bytes(const CheckpointContents& contents) {
  constexpr std::uint64_t kBlocks = 8 * 4096;  // directory, manifest, and the last block of each file
  return safetensors_file_bytes(contents.model, contents.metadata) + safetensors_file_bytes(contents.trainer) +
         (contents.average.empty() ? 0 : safetensors_file_bytes(contents.average, contents.metadata)) +
         contents.state_json.size() + kBlocks;
}

std::filesystem::path write_checkpoint(const std::filesystem::path& run_dir, const std::string& name,
                                       const CheckpointContents& contents, FileOps& ops) {
  check_name(name);
  try {
    const std::filesystem::path target = make_checkpoints_directory(run_dir, ops) / name;
    AtomicDirectory staged(target, kKind, ops);
    Manifest manifest{.step = contents.step, .files = {}};
    manifest.files[kModel] = write_tensors(staged.directory() / kModel, contents.model, contents.metadata, ops);
    manifest.files[kTrainer] =
        write_tensors(staged.directory() / kTrainer, contents.trainer, default_safetensors_metadata(), ops);
    if (!contents.average.empty())
      manifest.files[kAverage] = write_tensors(staged.directory() / kAverage, contents.average, contents.metadata, ops);
    manifest.files[kState] = write_text(staged.directory() / kState, contents.state_json, ops);
    write_text(staged.directory() / kManifest, manifest_json(manifest), ops);
    staged.commit();
    return target;
  } catch (const Error& error) {
    fail(error.kind(), "checkpoint ", name, " of step ", contents.step, " (", human_bytes(checkpoint_bytes(contents)),
         ") was not saved: ", error.what());
  }
}

std::filesystem::path copy_checkpoint(const std::filesystem::path& run_dir, const std::string& from,
                                      const std::string& to, FileOps& ops) {
  check_name(from);
  check_name(to);
  const std::filesystem::path source = run_dir / "checkpoints" / from, target = run_dir / "checkpoints" / to;
  const Manifest manifest = read_manifest(source, ops);
  AtomicDirectory staged(target, kKind, ops);
  for (const auto& [name, digest] : manifest.files) link_or_copy(source / name, staged.directory() / name, ops);
  link_or_copy(source / kManifest, staged.directory() / kManifest, ops);
  staged.commit();
  return target;
}

std::optional<std::string> validate_checkpoint(const std::filesystem::path& directory, FileOps& ops) {
  try {
    for (const auto& [name, digest] : read_manifest(directory, ops).files) {
      const std::filesystem::path path = directory / name;
      const std::uint64_t bytes = OpenFile(path, O_RDONLY, kKind, ops).size();
      // The sum of a file of the wrong size would say less and take longer.
      check_digest(path, digest, {bytes, bytes == digest.bytes ? xxh3_128_hex_of_file(path, ops) : ""});
    }
    return std::nullopt;
  } catch (const Error& error) {
    return error.what();
  }
}

Checkpoint read_checkpoint(const std::filesystem::path& directory, FileOps& ops) {
  const Manifest manifest = read_manifest(directory, ops);
  const auto read = [&](const char* name) { return read_checked(directory / name, manifest.files.at(name), ops); };
  const auto read_tensors = [&](const char* name) {
    return SafetensorsFile::parse(read(name), (directory / name).string());
  };
  SafetensorsFile model = read_tensors(kModel);
  SafetensorsFile trainer = read_tensors(kTrainer);
  std::optional<SafetensorsFile> average;
  if (manifest.files.contains(kAverage)) average = read_tensors(kAverage);
  const std::vector<std::byte> state = read(kState);
  return {directory,          manifest.step,
          std::move(model),   std::move(trainer),
          std::move(average), std::string(reinterpret_cast<const char*>(state.data()), state.size())};
}

NewestCheckpoint newest_valid_checkpoint(const std::filesystem::path& checkpoints_dir, FileOps& ops) {
  struct Candidate {
    std::filesystem::path directory;
    std::int64_t step;
    bool is_last;
  };
  NewestCheckpoint newest;
  if (kind_of(checkpoints_dir, ops) == PathKind::absent) return newest;
  std::vector<Candidate> candidates;
  for (const std::string& name : list(checkpoints_dir, ops)) {
    const std::filesystem::path directory = checkpoints_dir / name;
    // What stepped aside for a successor that never arrived is still a checkpoint; what was being written is not.
    const bool eligible = name.front() != '.' || !leftover_target(name, "old").empty();
    if (!eligible || kind_of(directory, ops) != PathKind::directory) continue;
    try {
      candidates.push_back({directory, read_manifest(directory, ops).step, name == "last"});
    } catch (const Error& error) {
      newest.skipped.push_back(error.what());
    }
  }
  std::stable_sort(candidates.begin(), candidates.end(), [](const Candidate& a, const Candidate& b) {
    return a.step != b.step ? a.step > b.step : a.is_last > b.is_last;
  });
  for (const Candidate& candidate : candidates) {
    if (auto problem = validate_checkpoint(candidate.directory, ops)) {
      newest.skipped.push_back(*std::move(problem));
      continue;
    }
    newest.directory = candidate.directory;
    newest.step = candidate.step;
    break;
  }
  return newest;
}

void remove_checkpoint(const std::filesystem::path& directory, FileOps& ops) {
  const std::filesystem::path doomed = temporary_sibling(directory, "tmp");
  if (ops.rename(directory, doomed) != 0) fail_with_errno(kKind, "rename for removal", directory, errno, ops);
  fsync_directory(doomed.parent_path(), kKind, ops);
  const std::filesystem::path manifest = doomed / kManifest;
  if (ops.unlink(manifest) != 0 && errno != ENOENT) fail_with_errno(kKind, "remove", manifest, errno, ops);
  remove_flat_directory(doomed, kKind, ops);
}

void prune_step_checkpoints(const std::filesystem::path& checkpoints_dir, std::size_t keep, FileOps& ops) {
  std::vector<std::pair<std::int64_t, std::string>> steps;
  for (const std::string& name : list(checkpoints_dir, ops)) {
    const std::string digits = name.starts_with(kStepPrefix) ? name.substr(std::string_view(kStepPrefix).size()) : "";
    if (!digits.empty() && digits.size() < 19 && digits.find_first_not_of("0123456789") == std::string::npos)
      steps.emplace_back(std::stoll(digits), name);
  }
  std::sort(steps.rbegin(), steps.rend());
  for (std::size_t i = keep; i < steps.size(); ++i) remove_checkpoint(checkpoints_dir / steps[i].second, ops);
}

}  // namespace engine
