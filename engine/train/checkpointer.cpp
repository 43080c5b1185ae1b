#include "engine/train/checkpointer.h"

#include <cstring>
#include <span>

#include "engine/error.h"
#include "engine/io/checkpoint.h"
#include "engine/nn/weights.h"
#include "engine/train/log.h"

namespace engine {
namespace {

constexpr int kMaxFailures = 3;

bool is_finite(std::span<const std::byte> data) {
  // Of the bits, so that it is one pass of integer arithmetic whatever the compiler knows about NaN.
  constexpr uint32_t kExponent = 0x7f800000u;
  bool finite = true;
  for (size_t at = 0; at + sizeof(uint32_t) <= data.size(); at += sizeof(uint32_t)) {
    uint32_t bits;
    std::memcpy(&bits, data.data() + at, sizeof bits);
    finite &= (bits & kExponent) != kExponent;
  }
  return finite;
}

void check_saved(const std::vector<TensorView>& views, int64_t step) {
  for (const TensorView& view : views)
    if (view.dtype == SafetensorsDType::f32 && !is_finite(view.data))
      fail(ErrorKind::diverged, "checkpoint: ", view.name, " is not finite after step ", step,
           "; nothing was saved, go on from the last checkpoint with a lower --lr");
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
  for (const HostState* state : {&model, &trainer}) check_saved(state->views(), saved.state.step);
  std::optional<HostState> averaged;
  if (average != nullptr) averaged.emplace(average->state());
  if (averaged) check_saved(averaged->views(), saved.state.step);
  const CheckpointContents contents{.step = saved.state.step,
                                    .model = model.views(),
                                    .trainer = trainer.views(),
                                    .average = averaged ? averaged->views() : std::vector<TensorView>{},
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

void check_finite(const std::vector<NamedTensor>& state, const std::string& origin, bool allowed) {
  if (allowed) return;
  const HostState host(state);
  for (const TensorView& view : host.views())
    if (view.dtype == SafetensorsDType::f32 && !is_finite(view.data))
      fail(ErrorKind::diverged, origin, ": ", view.name,
           " is not finite, so nothing can be learnt from it; take another checkpoint, or --allow-nonfinite");
}

uint64_t estimate_checkpoint_bytes(Module& module, const TrainConfig& config) {
  uint64_t weights = 0, trained = 0;
  for (const NamedTensor& entry : module.state()) weights += entry.tensor.bytes();
  for (const NamedParameter& parameter : module.parameters()) trained += parameter.tensor.bytes();
  const uint64_t buffers = config.opt == "adamw" || config.opt == "lamb" ? 2 : 1;
  return weights * (config.model_ema ? 2 : 1) + trained * buffers;
}

}  // namespace engine
