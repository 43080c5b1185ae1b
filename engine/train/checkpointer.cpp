#include "engine/train/checkpointer.h"

#include "engine/error.h"
#include "engine/io/checkpoint.h"
#include "engine/nn/weights.h"
#include "engine/train/log.h"

namespace engine {
namespace {

constexpr int kMaxFailures = 3;

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

bool Checkpointer::save(Module& module, const Optimizer& optimizer, const SavedState& saved, bool required) {
  const HostState model(module.state()), trainer(optimizer.state());
  const CheckpointContents contents{.step = saved.state.step,
                                    .model = model.views(),
                                    .trainer = trainer.views(),
                                    .state_json = saved_state_json(saved)};
  return attempt(
      [&] {
        write_checkpoint(run_dir_, "last", contents);
        if (keep_older_ == 0) return;
        copy_checkpoint(run_dir_, "last", step_checkpoint_name(saved.state.step));
        prune_step_checkpoints(run_dir_ / "checkpoints", static_cast<size_t>(keep_older_));
      },
      required);
}

void Checkpointer::mark_best() {
  attempt([&] { copy_checkpoint(run_dir_, "last", "best"); }, false);
}

uint64_t estimate_checkpoint_bytes(Module& module) {
  uint64_t bytes = 0;
  for (const NamedTensor& entry : module.state()) bytes += entry.tensor.bytes();
  for (const NamedParameter& parameter : module.parameters()) bytes += parameter.tensor.bytes();
  return bytes;
}

}  // namespace engine
