#include "engine/train/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "engine/backend.h"
#include "engine/dist/communicator.h"
#include "engine/dist/gradient_exchange.h"
#include "engine/error.h"
#include "engine/fallback.h"
#include "engine/io/atomic_directory.h"
#include "engine/io/file.h"
#include "engine/nn/weights.h"
#include "engine/optim/model_average.h"
#include "engine/text.h"
#include "engine/train/accuracy.h"
#include "engine/train/checkpointer.h"
#include "engine/train/device_choice.h"
#include "engine/train/device_data.h"
#include "engine/train/evaluate.h"
#include "engine/train/log.h"
#include "engine/train/opening_text.h"
#include "engine/train/pipeline.h"
#include "engine/train/ranks.h"
#include "engine/train/run_files.h"
#include "engine/train/run_log.h"
#include "engine/train/run_report.h"
#include "engine/train/signals.h"
#include "engine/train/train_step.h"
#include "engine/train/version.h"
#include "engine/train/weights_info.h"

namespace engine {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

constexpr int64_t kMaxMistakes = 24;
constexpr std::chrono::minutes kReportInterval{1};  // a long run can be looked at while it goes on

StepOptions with(StepOptions options, const std::optional<DeviceData>& data) {
  if (data) options.pictures = data->pictures;
  return options;
}

LoaderOptions with(LoaderOptions options, const std::optional<DeviceData>& data) {
  if (data) options.place = data->place;
  return options;
}

class Trainer {
 public:
  explicit Trainer(const TrainSetup& setup);
  TrainOutcome run();

 private:
  enum class Stop { none, signal, max_steps };

  void begin_average();
  void restore();
  Stop train_epoch();
  void one_step();
  void hint_at_bound() const;
  bool validate();  // false: interrupted
  void validate_here();
  TrainOutcome finish(Stop stop);

  bool resumed() const { return setup_.resume.checkpoint.has_value(); }
  bool max_steps_reached() const { return setup_.config.max_steps && state_.step >= *setup_.config.max_steps; }
  bool concluded() const;
  bool writes() const { return setup_.ranks == nullptr || setup_.ranks->is_first(); }
  void average_weights();
  Evaluation evaluate_now(const TrainableModel& model);
  // Into `result`, which tells of the weights themselves; false: interrupted.
  bool evaluate_average(ValidationResult& result);
  SavedState saved_state();
  bool save(bool required = false);
  Progress progress() const;
  double seconds_left() const;
  void note_left_out(const std::string& why);
  RunDescription description() const;
  void report(const RunSummary& summary);
  RunSummary summary(int exit_code, const std::string& reason, const std::string& message = {});

  const TrainSetup& setup_;
  const int64_t steps_per_epoch_, epochs_;
  const Schedule schedule_;
  const Clock::time_point start_ = Clock::now();
  double seconds_before_ = 0;  // of earlier processes

  RankLinks links_;
  std::unique_ptr<Optimizer> optimizer_;
  std::optional<ModelAverage> average_;
  std::optional<DeviceData> device_data_;
  TrainStep train_step_;
  Loader train_loader_, val_loader_;
  Batch batch_;
  RunIdentity identity_;
  RunEnvironment environment_;
  Checkpointer checkpointer_;
  std::optional<RunLog> log_;

  RunState state_;
  std::optional<ValidationResult> mid_epoch_;  // a validation that is not part of the run's course
  Evaluation last_evaluation_;
  Clock::time_point last_report_ = Clock::now();
  IntervalTimes interval_;
  SettledSteps settled_steps_;
  int stop_signal_ = 0;     // that all ranks know of
  bool first_step_ = true;  // of this process: measures algorithms, so its time says nothing
  int64_t epoch_started_ = -1;
  double last_validation_seconds_ = 0;
  Clock::time_point last_save_ = Clock::now();
};

Trainer::Trainer(const TrainSetup& setup)
    : setup_(setup),
      steps_per_epoch_(steps_per_epoch(setup.config, setup.facts.train_samples)),
      epochs_(*setup.config.epochs),
      schedule_(make_schedule(setup.config, steps_per_epoch_)),
      links_(link_ranks(setup.ranks, setup.device, setup.config.sync_bn)),
      optimizer_(make_optimizer(setup.config, setup.model.module->parameters())),
      device_data_(keep_on_device(setup.config, *setup.data.train, setup.device)),
      train_step_(setup.model, *optimizer_, with(step_options(setup, &links_), device_data_)),
      train_loader_(setup.data.train, train_sample(setup.config),
                    with(train_loader_options(setup.config, setup.data.train->size(), rank_of(setup)), device_data_)),
      val_loader_(setup.data.val, val_sample(setup.config),
                  val_loader_options(setup.config, setup.data.val->size(), rank_of(setup))),
      identity_(run_identity(setup.config, setup.data)),
      environment_{.device = device_description(setup.device), .version = version(), .threads = *setup.config.threads},
      checkpointer_(setup.run_dir,
                    {.keep_older = setup.config.checkpoint_hist,
                     .min_free = static_cast<uint64_t>(setup.config.min_free),
                     .metadata = to_metadata(weights_info(setup.config, setup.facts, *setup.data.train))}) {
  if (setup.average) begin_average();
}

void Trainer::begin_average() {
  const TrainConfig& c = setup_.config;
  average_.emplace(*setup_.model.module, *setup_.average->module,
                   model_average_decay(c.model_ema_decay, global_batch(c), c.model_ema_steps, epochs_));
}

void Trainer::restore() {
  const SavedState& saved = *setup_.resume.saved;
  const std::string origin = setup_.resume.checkpoint->directory.string();
  check_identity(saved.identity, identity_, origin);
  const std::vector<std::string> changes = describe_changes(saved, setup_.config, environment_);
  if (setup_.config.strict_resume && !changes.empty()) {
    fail(ErrorKind::checkpoint, "--strict-resume: ", printable(origin),
         " would go on with other bits: ", fmt::format("{}", fmt::join(changes, "; ")),
         "; restore these, or leave --strict-resume out");
  }
  for (const std::string& change : changes) {
    log_warning("resumed with another setting, so the result differs from that of the unbroken run: " + change);
  }
  load_weights(setup_.resume.checkpoint->model, *setup_.model.module);
  const std::vector<NamedTensor> kept = read_state(setup_.resume.checkpoint->trainer);
  check_finite(kept, origin, setup_.config.allow_nonfinite);
  optimizer_->load_state(kept);
  backend(setup_.device).import_plans(saved.environment.plans);
  check_finite(setup_.model.module->state(), origin, setup_.config.allow_nonfinite);
  state_ = saved.state;
  train_step_.restore(state_.loss_scale, state_.steps_left_out);
  seconds_before_ = state_.seconds;
  if (average_) {
    begin_average();  // of the weights that were loaded, if the run had none
    if (setup_.resume.checkpoint->average) load_weights(*setup_.resume.checkpoint->average, *setup_.average->module);
    average_->set_num_updates(state_.average_updates);
  }
  log_info(fmt::format("resumed  step {} of epoch {} from {}", state_.step, state_.epoch + 1, printable(origin)));
}

SavedState Trainer::saved_state() {
  state_.seconds = seconds_before_ + seconds_since(start_);
  environment_.plans = backend(setup_.device).export_plans();
  state_.loss_scale = train_step_.loss_scale();
  state_.steps_left_out = train_step_.left_out();
  return {.state = state_,
          .identity = identity_,
          .environment = environment_,
          .config = config_json(setup_.config),
          .schedule = schedule_json(setup_.config, schedule_)};
}

bool Trainer::save(bool required) {
  last_save_ = Clock::now();
  if (!writes()) return true;
  log_->sync();
  return checkpointer_.save(*setup_.model.module, *optimizer_, saved_state(), required,
                            average_ ? &average_->average() : nullptr);
}

double Trainer::seconds_left() const {
  if (state_.train_images == 0) return 0;
  const double per_step = state_.train_seconds / static_cast<double>(state_.train_images) *
                          static_cast<double>(global_batch(setup_.config));
  return per_step * static_cast<double>(schedule_.total_steps - state_.step) +
         last_validation_seconds_ * static_cast<double>(epochs_ - state_.epoch);
}

Progress Trainer::progress() const {
  const double seconds = interval_.seconds;
  return {.epoch = std::min(state_.epoch + 1, epochs_),
          .epochs = epochs_,
          .step = state_.step,
          .total_steps = schedule_.total_steps,
          .step_in_epoch = state_.step_in_epoch,
          .steps_per_epoch = steps_per_epoch_,
          .loss = state_.interval.count > 0 ? state_.interval.mean_loss() : 0,
          .acc1 = state_.interval.count > 0 ? state_.interval.acc1() : 0,
          .grad_norm = state_.unusual.last_norm,
          .loss_z = state_.unusual.loss_z,
          .norm_z = state_.unusual.norm_z,
          .lr = schedule_.at(state_.step - 1),
          .img_per_s = seconds > 0 ? static_cast<double>(interval_.images) / seconds : 0,
          .data_wait = seconds > 0 ? interval_.times.data / seconds : 0,
          .bound = bound_by(interval_.times),
          .seconds_left = seconds_left(),
          .peak_memory = memory_stats(setup_.device).peak};
}

void Trainer::one_step() {
  const auto start = Clock::now();
  const StepTimes before = train_step_.times();
  const auto [own, left_out] =
      train_step_.run(train_loader_, *setup_.data.train, batch_, state_.step, schedule_.at(state_.step));
  if (!left_out.empty()) note_left_out(left_out);
  const auto [sums, signal] = share_step_end(setup_.ranks, {.sums = own, .stop_signal = stop_signal()});
  stop_signal_ = signal;
  ++state_.step;
  ++state_.step_in_epoch;
  state_.interval.add(sums);
  average_weights();
  state_.epoch_sums.add(sums);
  if (left_out.empty()) state_.unusual.add(sums.mean_loss(), train_step_.grad_norm());
  const double seconds = seconds_since(start);
  interval_.seconds += seconds;
  interval_.times.add(train_step_.times().since(before));
  interval_.images += sums.count;
  if (!std::exchange(first_step_, false)) {
    state_.train_seconds += seconds;
    state_.train_images += sums.count;
  }
  if (settled_steps_.add(seconds, train_step_.times().since(before), sums.count)) hint_at_bound();
  const Progress now = progress();
  if (state_.step % *setup_.config.print_freq == 0) {
    if (log_) log_->train(now, interval_);
    state_.interval = {};
    state_.unusual.start_line();
    interval_ = {};
  }
  if (log_) log_->step(now);
}

// What the steps wait for, and what would help.
void Trainer::hint_at_bound() const {
  const TrainConfig& c = setup_.config;
  const std::string hint =
      bound_hint(settled_steps_.times(), {.device = to_string(setup_.device),
                                          .precision = *c.precision,
                                          .native_bf16 = environment_.device.find("with bf16") != std::string::npos,
                                          .workers = *c.workers,
                                          .threads = *c.threads,
                                          .cores = std::max<int64_t>(1, std::thread::hardware_concurrency()),
                                          .batch = *c.batch_size,
                                          .img_per_s = settled_steps_.img_per_s()});
  if (!hint.empty()) log_info(fmt::format("hint: bound={}: {}", bound_by(settled_steps_.times()), hint));
}

void Trainer::note_left_out(const std::string& why) {
  const int64_t counted = train_step_.left_out();
  set_status_line("");
  if (counted == state_.steps_left_out)  // an overflow, which is part of fp16
    return log_info(
        fmt::format("step {} left out: {}; the scale is now {:g}", state_.step, why, train_step_.loss_scale().scale));
  state_.steps_left_out = counted;
  log_warning(fmt::format("step {} left out: {} ({} of the {} steps that --skip-nonfinite allows)", state_.step, why,
                          counted, setup_.config.skip_nonfinite));
}

// torchvision's times: every so many steps of an epoch from its first one, and anew after each while the rate warms up.
void Trainer::average_weights() {
  if (!average_ || (state_.step_in_epoch - 1) % setup_.config.model_ema_steps != 0) return;
  average_->update();
  if (static_cast<double>(state_.epoch) < *setup_.config.lr_warmup_epochs) average_->restart();
  state_.average_updates = average_->num_updates();
}

// Trains to the end of the epoch in progress, or to a stop.
Trainer::Stop Trainer::train_epoch() {
  if (max_steps_reached() && state_.step_in_epoch < steps_per_epoch_) return Stop::max_steps;
  if (epoch_started_ != state_.epoch && state_.step_in_epoch < steps_per_epoch_) {
    train_loader_.start(state_.epoch, state_.step_in_epoch * batches_a_step(setup_.config));
    epoch_started_ = state_.epoch;
  }
  while (state_.step_in_epoch < steps_per_epoch_) {
    one_step();
    if (stop_signal_ != 0) return Stop::signal;
    if (max_steps_reached() && state_.step_in_epoch < steps_per_epoch_) return Stop::max_steps;
    const bool by_steps = setup_.config.checkpoint_steps && state_.step % *setup_.config.checkpoint_steps == 0;
    const double minutes = setup_.config.checkpoint_minutes;
    const bool by_time = minutes > 0 && seconds_since(last_save_) > 60 * minutes;
    if (state_.step_in_epoch < steps_per_epoch_ && (by_steps || by_time)) save();
  }
  return Stop::none;
}

Evaluation Trainer::evaluate_now(const TrainableModel& model) {
  const int64_t total = setup_.data.val->size();
  Evaluation evaluation = evaluate(model, val_loader_,
                                   {.input = input_format(setup_.config, setup_.facts, setup_.device),
                                    .ranks = setup_.ranks,
                                    .max_mistakes = kMaxMistakes,
                                    .interrupted = [&](int64_t samples) {
                                      if (log_) log_->validating(samples, total);
                                      return stop_signal() != 0;
                                    }});
  last_validation_seconds_ = evaluation.seconds;
  return evaluation;
}

bool Trainer::evaluate_average(ValidationResult& result) {
  if (!average_) return true;
  const double seconds = last_validation_seconds_;
  const Evaluation evaluation = evaluate_now(*setup_.average);
  last_validation_seconds_ += seconds;
  if (!evaluation.complete) return false;
  result.average = {evaluation.sums.mean_loss(), evaluation.sums.acc1(), evaluation.sums.acc5()};
  return true;
}

// The end of an epoch: validation, the line about it, and the checkpoint that goes with it, in this order, so that what
// belongs to a step is in the logs before its checkpoint says that the step is done.
bool Trainer::validate() {
  const Evaluation evaluation = evaluate_now(setup_.model);
  if (!evaluation.complete) return false;
  ValidationResult result = to_result(evaluation, state_, state_.epoch + 1);
  if (!evaluate_average(result)) return false;
  last_evaluation_ = evaluation;
  const bool is_best = !state_.best || result.best_acc1() > state_.best->best_acc1();
  if (is_best) state_.best = result;
  state_.last = result;
  ++state_.epoch;
  state_.step_in_epoch = 0;
  if (log_) log_->validation(result, progress(), last_validation_seconds_, is_best);
  state_.epoch_sums = {};
  if (save(state_.epoch == epochs_) && is_best && writes()) checkpointer_.mark_best();
  if (state_.epoch < epochs_ && Clock::now() - last_report_ > kReportInterval) report(summary(0, "running"));
  return true;
}

// In the middle of an epoch, where max_steps ends the process: for the summary only. The unbroken run has no validation
// here, so metrics.jsonl and the state stay without it.
void Trainer::validate_here() {
  const Evaluation evaluation = evaluate_now(setup_.model);
  ValidationResult result = to_result(evaluation, state_, state_.epoch);
  const bool complete = evaluation.complete && evaluate_average(result);
  set_status_line("");
  if (!complete) return;
  last_evaluation_ = evaluation;
  mid_epoch_ = result;
  log_info(fmt::format("step {}  val acc1 {:.2f}{}  acc5 {:.2f}  loss {:.4f}  ({} pictures in {:.1f} s)", state_.step,
                       mid_epoch_->acc1, average_text(result), mid_epoch_->acc5, mid_epoch_->loss,
                       with_thousands(mid_epoch_->count), evaluation.seconds));
}

RunDescription Trainer::description() const {
  return {.config = setup_.config,
          .data = setup_.facts,
          .data_summary = setup_.data.summary,
          .model = setup_.model,
          .environment = environment_,
          .command_line = setup_.command_line,
          .first_step = state_.step};
}

RunSummary Trainer::summary(int exit_code, const std::string& reason, const std::string& message) {
  state_.seconds = seconds_before_ + seconds_since(start_);
  const auto bad = train_loader_.bad_images().size() + val_loader_.bad_images().size();
  const std::optional<ValidationResult>& last = mid_epoch_ ? mid_epoch_ : state_.last;
  return {.model = setup_.model.name,
          .data = setup_.data.summary,
          .state = state_,
          .plus_minus = last ? wilson_half_width(last->acc1, last->count) : 0,
          .not_paper_comparable = last ? not_paper_comparable(setup_.config, setup_.facts, last->count,
                                                              static_cast<int64_t>(val_loader_.bad_images().size()))
                                       : "",
          .final_validation = last,
          .bad_images = static_cast<int64_t>(bad),
          .peak_memory = memory_stats(setup_.device).peak,
          .exit_code = exit_code,
          .reason = reason,
          .message = message};
}

void Trainer::report(const RunSummary& summary) {
  if (!writes()) return;
  last_report_ = Clock::now();
  write_run_report(setup_.run_dir, description(), summary, last_evaluation_, *setup_.data.val);
}

TrainOutcome Trainer::finish(Stop stop) {
  set_status_line("");
  TrainOutcome outcome;
  if (stop == Stop::signal) {
    save(/*required=*/true);
    outcome.exit_code = kExitStopped;
    outcome.reason = signal_name(stop_signal_ != 0 ? stop_signal_ : stop_signal());
    log_info(fmt::format("stopped by {} after step {}; the state is saved. To go on: --output-dir {} --resume auto",
                         outcome.reason, state_.step, printable(setup_.run_dir.string())));
  } else if (stop == Stop::max_steps) {
    // A signal during this validation only ends it sooner: the state is saved first.
    save(/*required=*/true);
    if (state_.step_in_epoch > 0) validate_here();
    if (!state_.best && writes()) checkpointer_.mark_best();
    outcome.reason = "max_steps";
  } else {
    outcome.reason = "finished";
  }
  for (const Loader* loader : {&train_loader_, &val_loader_}) {
    const std::vector<BadImage> bad = loader->bad_images();
    if (!bad.empty()) log_warning(fmt::format("{} pictures could not be read and were skipped:", bad.size()));
    for (const BadImage& image : bad) log_warning("  " + image.message);
  }
  for (const auto& [reason, count] : fallbacks())
    log_warning(fmt::format("slower than intended {} times: {}", count, reason));
  const RunSummary result = summary(outcome.exit_code, outcome.reason);
  if (writes()) write_summary_json(setup_.run_dir, result);
  if (stop != Stop::signal && last_evaluation_.sums.count > 0) report(result);
  const auto& final = mid_epoch_ ? mid_epoch_ : state_.last;
  if (final) outcome.final_val_acc1 = final->acc1;
  if (final && final->average) outcome.final_ema_acc1 = final->average->acc1;
  outcome.epochs = state_.epoch;
  outcome.plus_minus = result.plus_minus;
  outcome.not_comparable = result.not_paper_comparable;
  if (state_.best) outcome.best_val_acc1 = state_.best->acc1;
  return outcome;
}

// Whether the process before came to its end, too, not only to its last checkpoint.
bool Trainer::concluded() const {
  const bool here = writes() && is_concluded(setup_.run_dir, state_);
  return setup_.ranks == nullptr ? here : setup_.ranks->broadcast(here ? "concluded" : "") == "concluded";
}

TrainOutcome Trainer::run() {
  for (const std::string& line :
       opening_lines(setup_, schedule_, environment_.device, /*data_on_device=*/device_data_.has_value())) {
    log_info(line);
  }
  std::optional<SharedStatistics> shared;
  if (links_.statistics) shared.emplace(*links_.statistics);
  if (resumed()) restore();
  const bool done = state_.epoch >= epochs_ || (max_steps_reached() && resumed());
  if (done && concluded()) {
    log_info(fmt::format("nothing to do: this run is finished after {} epochs and {} steps{}; raise {} to go on",
                         state_.epoch, state_.step,
                         state_.best ? fmt::format(", best val acc1 {:.2f}", state_.best->acc1) : "",
                         state_.epoch >= epochs_ ? "--epochs" : "--max-steps"));
    TrainOutcome outcome{.reason = "already finished"};
    if (state_.best) outcome.best_val_acc1 = state_.best->acc1;
    if (state_.last) outcome.final_val_acc1 = state_.last->acc1;
    return outcome;
  }
  if (writes()) {
    write_run_json(setup_.run_dir, description(), resumed());
    log_.emplace(RunLogOptions{.run_dir = setup_.run_dir,
                               .resume_step = resumed() ? std::optional(state_.step) : std::nullopt,
                               .print_freq = *setup_.config.print_freq});
  }
  try {
    // A process killed between `last` and `best` left the better one unmarked.
    if (writes() && state_.best && state_.best->step == state_.step &&
        setup_.resume.checkpoint->directory.filename() == "last") {
      checkpointer_.mark_best();
    }
    while (state_.epoch < epochs_) {
      stop_signal_ = share_step_end(setup_.ranks, {.stop_signal = stop_signal()}).stop_signal;
      if (stop_signal_ != 0) return finish(Stop::signal);
      if (const Stop stop = train_epoch(); stop != Stop::none) return finish(stop);
      if (!validate()) return finish(Stop::signal);
    }
    // Killed between the last checkpoint and the report: only the report is missing.
    if (last_evaluation_.sums.count == 0) last_evaluation_ = evaluate_now(setup_.model);
    if (!last_evaluation_.complete) return finish(Stop::signal);
    return finish(Stop::none);
  } catch (const Error& error) {
    set_status_line("");
    if (writes()) write_summary_json(setup_.run_dir, summary(static_cast<int>(error.kind()), "error", error.what()));
    throw;
  } catch (const std::bad_alloc&) {
    set_status_line("");
    if (writes())
      write_summary_json(setup_.run_dir, summary(static_cast<int>(ErrorKind::memory), "error", "out of memory"));
    throw;
  }
}

}  // namespace

TrainOutcome train(const TrainSetup& setup) {
  set_up_device(setup.device, setup.config);
  return Trainer(setup).run();
}

}  // namespace engine
