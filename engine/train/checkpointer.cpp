#include "engine/train/checkpointer.h"

#include "engine/error.h"
#include "engine/io/checkpoint.h"
#include "engine/io/file.h"
#include "engine/io/finite.h"
#include "engine/nn/weights.h"
#include "engine/text.h"
#include "engine/train/log.h"

namespace engine {
namespace {

constexpr int kMaxFailures = 3;

void check_saved(const CheckpointContents& contents) {
  for (const auto* views : {&contents.model, &contents.trainer, &contents.average}) {
    if (const auto name = first_not_finite(*views)) {
      fail(ErrorKind::diverged, "checkpoint: ", *name, " is not finite after step ", contents.step,
           "; nothing was saved, go on from the last checkpoint with a lower --lr");
    }
  }
}

// A disk that has to keep some room for others is full earlier.
void check_free(const std::filesystem::path& run_dir, const CheckpointContents& contents, uint64_t min_free) {
  if (min_free == 0) return;
  const int64_t free = FileOps::real().free_bytes(run_dir);
  const uint64_t needed = checkpoint_bytes(contents);
  if (free >= 0 && static_cast<uint64_t>(free) < needed + min_free) {
    fail(ErrorKind::checkpoint, "checkpoint last of step ", contents.step, " (", human_bytes(needed),
         ") was not saved: only ", human_bytes(static_cast<uint64_t>(free)), " are free, --min-free keeps ",
         human_bytes(min_free));
  }
}

}  // namespace

// Calls `write` and counts what it throws.
template <class Write>
bool Checkpointer::attempt(const Write& write, bool required) {
  try {
    write();
    failures_ = 0;
    return true;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::checkpoint || required) throw;
    if (++failures_ >= kMaxFailures) {
      fail(ErrorKind::checkpoint, error.what(), " (the ", failures_, "rd failure in a row; the training stops)");
    }
    log_warning(std::string(error.what()) + "; the training goes on without it");
    return false;
  }
}

bool Checkpointer::save(Module& module, const Optimizer& optimizer, const SavedState& saved, bool required,
                        Module* average) {
  const HostState model(module.state()), trainer(optimizer.state());
  std::optional<HostState> averaged;
  if (average != nullptr) averaged.emplace(average->state());
  const CheckpointContents contents{.step = saved.state.step,
                                    .model = model.views(),
                                    .trainer = trainer.views(),
                                    .average = averaged ? averaged->views() : std::vector<TensorView>{},
                                    .state_json = saved_state_json(saved),
                                    .metadata = options_.metadata};
  check_saved(contents);
  return attempt(
      [&] {
        check_free(run_dir_, contents, options_.min_free);
        write_checkpoint(run_dir_, "last", contents);
        if (options_.keep_older == 0) return;
        copy_checkpoint(run_dir_, "last", step_checkpoint_name(saved.state.step));
        prune_step_checkpoints(run_dir_ / "checkpoints", static_cast<size_t>(options_.keep_older));
      },
      required);
}

void Checkpointer::mark_best() {
  attempt([&] { copy_checkpoint(run_dir_, "last", "best"); }, false);
}

void check_finite(const std::vector<NamedTensor>& state, const std::string& origin, bool allowed) {
  if (allowed) return;
  const HostState host(state);
  if (const auto name = first_not_finite(host.views())) {
    fail(ErrorKind::diverged, origin, ": ", *name,
         " is not finite, so nothing can be learnt from it; take another checkpoint, or --allow-nonfinite");
  }
}

uint64_t estimate_checkpoint_bytes(Module& module, const TrainConfig& config) {
  uint64_t weights = 0, trained = 0;
  for (const NamedTensor& entry : module.state()) weights += entry.tensor.bytes();
  for (const NamedParameter& parameter : module.parameters()) trained += parameter.tensor.bytes();
  const uint64_t buffers = config.opt == "adamw" || config.opt == "lamb" ? 2 : 1;
  return weights * (config.model_ema ? 2 : 1) + trained * buffers;
}

}  // namespace engine
