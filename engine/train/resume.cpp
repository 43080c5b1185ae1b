#include "engine/train/resume.h"

#include "engine/error.h"
#include "engine/io/atomic_directory.h"
#include "engine/io/file.h"
#include "engine/text.h"

namespace engine {
namespace {

namespace fs = std::filesystem;

constexpr const char* kManifest = "MANIFEST.json";
constexpr const char* kWeights = "model.safetensors";
constexpr uint64_t kMaxRunJsonBytes = 64 << 20;

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

// A checkpoint's folder, told by what it must hold.
bool is_checkpoint(const fs::path& path) {
  return is_there(path / kManifest) || is_there(path / kWeights);
}

ResumePoint open_checkpoint(const fs::path& directory, const fs::path& run_dir) {
  ResumePoint point;
  point.run_dir = run_dir;
  point.checkpoint = read_checkpoint(directory);
  point.saved = parse_saved_state(point.checkpoint->state_json, (directory / "state.json").string());
  point.config = point.saved->config;
  return point;
}

// The settings in a run's run.json, for a run that ended before its first checkpoint.
std::string run_config(const fs::path& run_dir) {
  const fs::path path = run_dir / "run.json";
  return is_there(path) ? read_text_file(path, {.kind = ErrorKind::usage, .max_bytes = kMaxRunJsonBytes}) : "";
}

}  // namespace

fs::path run_dir_of(const std::string& resume) {
  fs::path path = fs::path(resume).lexically_normal();
  if (!path.has_filename()) path = path.parent_path();
  if (!is_checkpoint(path)) return path;
  return path.parent_path().filename() == "checkpoints" ? path.parent_path().parent_path() : fs::path();
}

ResumePoint find_resume_point(const std::string& resume, const fs::path& output_dir, bool locked) {
  const bool automatic = resume == "auto";
  const fs::path path = automatic ? output_dir : fs::path(resume).lexically_normal();
  if (!automatic && is_checkpoint(path)) return open_checkpoint(path, run_dir_of(resume));
  check(automatic || is_there(path / "checkpoints") || is_there(path / "run.json"),
        "--resume: ", printable(path.string()),
        " is neither a run nor a checkpoint; a run has run.json and checkpoints/ in it");

  std::vector<std::string> notes;
  if (locked && path == output_dir.lexically_normal()) notes = remove_leftovers(path / "checkpoints");
  const NewestCheckpoint newest = newest_valid_checkpoint(path / "checkpoints");
  for (const std::string& sentence : newest.skipped) notes.push_back("passed over: " + sentence);
  if (!newest.directory && !newest.skipped.empty()) {
    fail(ErrorKind::checkpoint, "--resume: ", printable(path.string()),
         " has no valid checkpoint: ", newest.skipped.front(), "; start again with --overwrite");
  }
  if (!newest.directory) {
    if (!automatic) {
      fail(ErrorKind::checkpoint, "--resume: ", printable(path.string()),
           " has no checkpoint yet; with --resume auto and --output-dir the run starts afresh");
    }
    return {.run_dir = path, .checkpoint = {}, .saved = {}, .config = run_config(path), .notes = notes};
  }
  ResumePoint point = open_checkpoint(*newest.directory, path);
  point.notes = std::move(notes);
  return point;
}

fs::path find_weights(const fs::path& path) {
  std::error_code ignored;
  if (!fs::is_directory(path, ignored)) {
    if (!is_there(path)) fail(ErrorKind::checkpoint, "--weights: ", printable(path.string()), " does not exist");
    return path;
  }
  for (const fs::path& candidate :
       {path / kWeights, path / "checkpoints" / "best" / kWeights, path / "checkpoints" / "last" / kWeights}) {
    if (is_there(candidate)) return candidate;
  }
  fail(ErrorKind::checkpoint, "--weights: ", printable(path.string()), " holds no ", kWeights,
       "; give a safetensors file, a checkpoint or a run");
}

}  // namespace engine
