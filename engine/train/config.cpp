#include "engine/train/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "engine/data/augment.h"
#include "engine/error.h"
#include "engine/text.h"

namespace engine {
namespace {

using C = TrainConfig;
constexpr SettingScope kSession = SettingScope::session;

constexpr const char* kRecipe = "Recipe";
constexpr const char* kModel = "Model";
constexpr const char* kData = "Data";
constexpr const char* kAugmentation = "Augmentation";
constexpr const char* kOptimisation = "Optimisation (times in epochs)";
constexpr const char* kDevice = "Device";
constexpr const char* kRanks = "Ranks";
constexpr const char* kOutput = "Output";

const std::vector<Setting> kSettings = {
    {"recipe", "--recipe", &C::recipe, kRecipe, "NAME",
     "a published way to train (--list-recipes), or FILE.json; flags go before it"},
    {"budget", "--budget", &C::budget, kRecipe, "X", "minutes: as many epochs as this device does in them", "", 0.01,
     1e6, kSession},
    {"compare_to", "--compare-to", &C::compare_to, kRecipe, "NAME",
     "draw the curve of a recipe, or of the run in a folder, beside that of this run", "", 0, 0, kSession},

    {"model", "-a,--model,--arch", &C::model, kModel, "NAME",
     "one of --list-models (that of --weights; resnet18; resnet20 for small pictures)"},
    {"num_classes", "--num-classes", &C::num_classes, kModel, "K", "outputs (the data set's)", "", 2, 1e6},
    {"zero_init_residual", "--zero-init-residual", &C::zero_init_residual, kModel, "",
     "last batch norm of each block starts at 0"},
    {"weights", "--weights", &C::weights, kModel, "PATH",
     "start from a safetensors file or checkpoint; another --num-classes gets a new head"},
    {"partial", "--partial", &C::partial, kModel, "", "take of --weights what fits, leave the rest as it begins"},

    {"data_path", "--data-path,--data-dir", &C::data_path, kData, "PATH",
     "train/ and val/ with a folder a class, CIFAR, a packed file, tars; without it shapes, built in"},
    {"val_path", "--val-path", &C::val_path, kData, "PATH", "validation pictures that lie elsewhere"},
    {"dataset", "--dataset", &C::dataset, kData, "KIND", "kind of data that PATH has to hold",
     "auto,imagefolder,cifar10,cifar100,packed,tar,shapes"},
    {"val_split", "--val-split", &C::val_split, kData, "X", "hold out a fraction < 1 or X training pictures", "", 0,
     1e9},
    {"batch_size", "-b,--batch-size", &C::batch_size, kData, "N", "pictures a step (32; 128 for small ones)", "", 1,
     1e6},
    {"val_batch_size", "--val-batch-size", &C::val_batch_size, kData, "N", "in evaluation (as -b)", "", 1, 1e6},
    {"workers", "-j,--workers", &C::workers, kData, "N", "threads that prepare pictures (half the cores, at most 16)",
     "", 0, 1024},
    {"crop", "--crop,--augment", &C::crop, kData, "KIND", "random resized, or shifted (by picture size)",
     "rrc|random-resized,pad-crop|pad,none|center"},
    {"no_flip", "--no-flip", &C::no_flip, kData, "", "no random mirroring"},
    {"train_crop_size", "--train-crop-size", &C::train_crop_size, kData, "N", "side in training (224, 32)", "", 8,
     4096},
    {"val_resize_size", "--val-resize-size", &C::val_resize_size, kData, "N",
     "short side before the crop (256; 0: as it is)", "", 0, 8192},
    {"val_crop_size", "--val-crop-size", &C::val_crop_size, kData, "N", "side in evaluation (224, 32)", "", 8, 4096},
    {"interpolation", "--interpolation", &C::interpolation, kData, "KIND", "filter of resizing", "bilinear,bicubic"},
    {"cache_bytes", "--cache-bytes", &C::cache_bytes, kData, "N", "memory for decoded pictures, in bytes", "", 0, 1e15},
    {"data_timeout", "--data-timeout", &C::data_timeout, kData, "X",
     "seconds that one picture may take before the run ends (0: any)", "", 0, 1e9},
    {"data_on_device", "--data-on-device", &C::data_on_device, kData, "WHEN",
     "keep a small training set in the memory of the device", "auto,on,off", 0, 0, kSession},
    {"bad_images", "--bad-images", &C::bad_images, kData, "WHAT", "what happens to unreadable pictures",
     "fail,skip,use-partial"},
    {"max_bad", "--max-bad", &C::max_bad, kData, "N", "most that skip allows (0.1%, at least 10)", "", 0, 1e9},
    {"limit_train", "--limit-train", &C::limit_train, kData, "N", "train on N pictures only, spread evenly", "", 1,
     1e9},
    {"limit_val", "--limit-val", &C::limit_val, kData, "N", "evaluate on N pictures only, spread evenly", "", 1, 1e9},
    {"shapes_train", "--shapes-train", &C::shapes_train, kData, "N", "pictures of the built-in set", "", 10, 1e8},
    {"shapes_val", "--shapes-val", &C::shapes_val, kData, "N", "its validation pictures", "", 10, 1e8},

    {"train_interpolation", "--train-interpolation", &C::train_interpolation, kAugmentation, "KIND",
     "filter of resizing in training (as --interpolation)", "bilinear,bicubic,random"},
    {"color_jitter", "--color-jitter", &C::color_jitter, kAugmentation, "X,X,..",
     "range of brightness, contrast, saturation and hue; a single X is that of the first three", "", 0, 100},
    {"auto_augment", "--auto-augment,--aa", &C::auto_augment, kAugmentation, "POLICY",
     "ta_wide, ra, imagenet, cifar10, svhn, or timm's rand-m7-mstd0.5-inc1"},
    {"ra_magnitude", "--ra-magnitude", &C::ra_magnitude, kAugmentation, "N", "strength of --auto-augment ra", "", 0,
     30},
    {"random_erase", "--random-erase,--reprob", &C::random_erase, kAugmentation, "P",
     "probability that a box of a picture is erased", "", 0, 1},
    {"mixup_alpha", "--mixup-alpha,--mixup", &C::mixup_alpha, kAugmentation, "X", "mixup with lambda ~ Beta(X, X)", "",
     0, 1000},
    {"cutmix_alpha", "--cutmix-alpha,--cutmix", &C::cutmix_alpha, kAugmentation, "X", "cutmix, likewise", "", 0, 1000},
    {"mixup_prob", "--mixup-prob", &C::mixup_prob, kAugmentation, "P", "probability that a batch is mixed", "", 0, 1},
    {"mixup_switch_prob", "--mixup-switch-prob", &C::mixup_switch_prob, kAugmentation, "P",
     "probability of cutmix where both are on", "", 0, 1},
    {"mixup_off_epoch", "--mixup-off-epoch", &C::mixup_off_epoch, kAugmentation, "E",
     "no batch is mixed from epoch E on", "", 0, 1e6},
    {"ra_sampler", "--ra-sampler", &C::ra_sampler, kAugmentation, "", "repeated augmentation"},
    {"ra_reps", "--ra-reps,--aug-repeats", &C::ra_reps, kAugmentation, "N",
     "how often an epoch draws a picture (1; 3 with --ra-sampler)", "", 1, 1000},

    {"epochs", "--epochs", &C::epochs, kOptimisation, "N", "to train for (90; 30 for small pictures, 6 for shapes)", "",
     1, 1e6},
    {"max_steps", "--max-steps", &C::max_steps, kOptimisation, "N", "stop here; the schedule stays that of --epochs",
     "", 1, 1e12},
    {"opt", "--opt,--optimizer", &C::opt, kOptimisation, "NAME", "optimiser",
     "sgd,sgd_nesterov|nesterov,adamw,lars,lamb"},
    {"momentum", "--momentum", &C::momentum, kOptimisation, "X", "of SGD and LARS", "", 0, 0.999999},
    {"nesterov", "--nesterov", &C::nesterov, kOptimisation, "",
     "the same as --opt sgd_nesterov; with lars its Nesterov form"},
    {"beta1", "--beta1", &C::beta1, kOptimisation, "X", "of AdamW and LAMB", "", 0, 0.999999},
    {"beta2", "--beta2", &C::beta2, kOptimisation, "X", "of AdamW and LAMB", "", 0, 0.9999999},
    {"opt_eps", "--opt-eps", &C::opt_eps, kOptimisation, "X", "of AdamW, LARS (1e-8) and LAMB (1e-6)", "", 1e-30, 1},
    {"trust_coefficient", "--trust-coefficient", &C::trust_coefficient, kOptimisation, "X", "of LARS", "", 1e-9, 1e3},
    {"clip_grad_norm", "--clip-grad-norm,--clip-grad,--max-grad-norm", &C::clip_grad_norm, kOptimisation, "X",
     "longest gradient, all parameters together (1 with lamb, else 0: any)", "", 0, 1e9},
    {"lr", "--lr,--learning-rate", &C::lr, kOptimisation, "X",
     "peak rate (0.1; 0.25 for small pictures; adamw 1e-3, lamb 5e-3, lars 1)", "", 0, 1e6},
    {"lr_base", "--lr-base", &C::lr_base, kOptimisation, "X", "instead of --lr: for --lr-base-size pictures a step", "",
     0, 1e6},
    {"lr_base_size", "--lr-base-size", &C::lr_base_size, kOptimisation, "N", "see --lr-base", "", 1, 1e9},
    {"lr_scheduler", "--lr-scheduler,--sched,--lr-schedule", &C::lr_scheduler, kOptimisation, "NAME",
     "how the rate changes (steplr; onecycle for small pictures)",
     "steplr|step,multistep|multisteplr,cosineannealinglr|cosine,linear,poly|polynomial,onecycle|one-cycle|onecyclelr,"
     "constant|none"},
    {"lr_step_size", "--lr-step-size,--decay-epochs", &C::lr_step_size, kOptimisation, "E",
     "between two falls of steplr", "", 1e-6, 1e6},
    {"lr_gamma", "--lr-gamma,--decay-rate", &C::lr_gamma, kOptimisation, "X", "factor of steplr and multistep", "", 0,
     1},
    {"lr_milestones", "--lr-milestones,--decay-milestones", &C::lr_milestones, kOptimisation, "E,E,..",
     "where multistep falls, for instance 30,60,80", "", 0, 1e6},
    {"lr_min", "--lr-min,--min-lr,--end-lr", &C::lr_min, kOptimisation, "X",
     "where cosine, linear, poly and onecycle end", "", 0, 1e6},
    {"lr_power", "--lr-power", &C::lr_power, kOptimisation, "X", "exponent of poly", "", 0.01, 100},
    {"lr_warmup_epochs", "--lr-warmup-epochs,--warmup-epochs,--warmup", &C::lr_warmup_epochs, kOptimisation, "E",
     "linear warm-up, fractions allowed (0)", "", 0, 1e6},
    {"lr_warmup_decay", "--lr-warmup-decay", &C::lr_warmup_decay, kOptimisation, "X",
     "the warm-up starts at X times the rate", "", 0, 1},
    {"weight_decay", "--wd,--weight-decay", &C::weight_decay, kOptimisation, "X",
     "decay (1e-4; 5e-4 for small pictures; adamw 0.01, lamb 0.02)", "", 0, 10},
    {"norm_weight_decay", "--norm-weight-decay,--bn-weight-decay", &C::norm_weight_decay, kOptimisation, "X",
     "of batch norms (as --wd; with lars and lamb 0)", "", 0, 10},
    {"bias_weight_decay", "--bias-weight-decay", &C::bias_weight_decay, kOptimisation, "X",
     "of biases (as --wd; with lars and lamb 0)", "", 0, 10},
    {"loss", "--loss", &C::loss, kOptimisation, "NAME", "bce: a yes-or-no question for each class",
     "cross_entropy|ce,bce|binary_cross_entropy"},
    {"bce_loss", "--bce-loss", &C::bce_loss, kOptimisation, "", "the same as --loss bce"},
    {"bce_sum", "--bce-sum", &C::bce_sum, kOptimisation, "", "bce: sum over the classes, not their mean"},
    {"bce_target_thresh", "--bce-target-thresh", &C::bce_target_thresh, kOptimisation, "X",
     "bce: targets above X count as 1, others as 0 (default: as they are)", "", 0, 1},
    {"label_smoothing", "--label-smoothing,--smoothing", &C::label_smoothing, kOptimisation, "X",
     "share of the label spread over all classes (0)", "", 0, 0.999999},
    {"model_ema", "--model-ema", &C::model_ema, kOptimisation, "",
     "average the weights over the steps, and evaluate the average beside them"},
    {"model_ema_steps", "--model-ema-steps", &C::model_ema_steps, kOptimisation, "N",
     "steps between two of its updates", "", 1, 1e9},
    {"model_ema_decay", "--model-ema-decay", &C::model_ema_decay, kOptimisation, "X",
     "its decay, as torchvision's: for one picture a step in one epoch", "", 0, 1},
    {"accum_bn", "--accum-bn", &C::accum_bn, kOptimisation, "KIND",
     "statistics of batch norms over each batch, or exactly over all of a step, with --recompute's memory and time",
     "batch,exact"},
    {"recompute", "--recompute", &C::recompute, kOptimisation, "",
     "compute each block again in the backward pass instead of keeping its activations"},
    {"auto_batch", "--auto-batch", &C::auto_batch, kOptimisation, "",
     "halve -b and double --grad-accum-steps until a step fits into the memory"},
    {"grad_accum_steps", "--grad-accum-steps", &C::grad_accum_steps, kOptimisation, "N", "batches a step", "", 1, 1e6},

    {"device", "--device", &C::device, kDevice, "NAME", "what computes: auto, cpu, cuda, cuda:N, emulated"},
    {"precision", "--precision,--amp-dtype", &C::precision, kDevice, "TYPE", "of activations (fp32)",
     "fp32|float32|f32,tf32,bf16|bfloat16,fp16|float16|f16|half"},
    {"skip_nonfinite", "--skip-nonfinite", &C::skip_nonfinite, kDevice, "K",
     "steps to leave out where the loss or a gradient is not finite, before the run ends", "", 0, 1e9},
    {"threads", "--threads", &C::threads, kDevice, "N", "that compute (the cores)", "", 1, 4096},
    {"seed", "--seed", &C::seed, kDevice, "N", "of everything random", "", 0, 9e15},
    {"deterministic", "--deterministic,--use-deterministic-algorithms", &C::deterministic, kDevice, "",
     "algorithms by rule, not by measuring"},
    {"force_impl", "--force-impl", &C::force_impl, kDevice, "KIND",
     "implementation of GPU convolutions; without it the faster one", "own,cudnn"},

    {"ranks", "--ranks", &C::ranks, kRanks, "N",
     "refuse to start unless the launcher has started N (as many as it has)", "", 1, 65536},
    {"sync_bn", "--sync-bn", &C::sync_bn, kRanks, "", "batch norms take the statistics of all ranks' pictures"},
    {"comm_timeout", "--comm-timeout", &C::comm_timeout, kRanks, "S", "seconds of silence after which a rank is lost",
     "", 0.1, 1e6, kSession},

    {"output_dir", "--output-dir,--output", &C::output_dir, kOutput, "DIR", "folder of the run; without it runs/NAME",
     "", 0, 0, kSession},
    {"name", "--name,--experiment", &C::name, kOutput, "NAME", "of the run; without it model, data and time", "", 0, 0,
     kSession},
    {"resume", "--resume", &C::resume, kOutput, "[auto|DIR]",
     "go on: the newest checkpoint of --output-dir, or that of DIR", "", 0, 0, kSession},
    {"strict_resume", "--strict-resume", &C::strict_resume, kOutput, "",
     "refuse to go on if a setting, thread count, device or version would change the bits", "", 0, 0, kSession},
    {"overwrite", "--overwrite", &C::overwrite, kOutput, "", "replace the run that is in --output-dir", "", 0, 0,
     kSession},
    {"test_only", "-e,--test-only,--evaluate", &C::test_only, kOutput, "",
     "evaluate --weights or --resume, no training", "", 0, 0, kSession},
    {"replay", "--replay", &C::replay, kOutput, "FILE",
     "compute again what a diverged run saved, and show the largest values of each layer", "", 0, 0, kSession},
    {"export", "--export", &C::export_file, kOutput, "FILE",
     "write --weights or --resume to FILE.onnx or FILE.safetensors, no training", "", 0, 0, kSession},
    {"export_bn", "--export-bn", &C::export_bn, kOutput, "HOW",
     "batch norms in FILE.onnx: part of the convolutions, or as they are", "fold,keep", 0, 0, kSession},
    {"export_dtype", "--export-dtype", &C::export_dtype, kOutput, "TYPE", "of the weights in FILE.safetensors",
     "fp32|float32|f32,bf16|bfloat16,fp16|float16|f16|half", 0, 0, kSession},
    {"allow_nonfinite", "--allow-nonfinite", &C::allow_nonfinite, kOutput, "", "load weights that are not finite", "",
     0, 0, kSession},
    {"selftest", "--selftest", &C::selftest, kOutput, "WHAT",
     "resume: a few steps of this configuration, interrupted and not, compared bit by bit", "resume", 0, 0, kSession},
    {"print_freq", "-p,--print-freq,--log-interval", &C::print_freq, kOutput, "N", "steps between two lines (10)", "",
     1, 1e9},
    {"log_format", "--log-format", &C::log_format, kOutput, "KIND", "on stderr, or as objects on stdout", "text,jsonl",
     0, 0, kSession},
    {"color", "--color", &C::color, kOutput, "WHEN", "colours", "auto,always,never", 0, 0, kSession},
    {"checkpoint_steps", "--checkpoint-steps", &C::checkpoint_steps, kOutput, "N",
     "save every N steps besides each epoch", "", 1, 1e12},
    {"checkpoint_minutes", "--checkpoint-minutes", &C::checkpoint_minutes, kOutput, "X",
     "and every X minutes; 0: never", "", 0, 1e6},
    {"checkpoint_hist", "--checkpoint-hist", &C::checkpoint_hist, kOutput, "N", "older checkpoints to keep", "", 0,
     1e6},
    {"min_free", "--min-free", &C::min_free, kOutput, "N", "bytes of the disk to leave free", "", 0, 1e18, kSession},
};

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (size_t begin = 0;;) {
    const size_t end = std::min(text.find(separator, begin), text.size());
    parts.emplace_back(text.substr(begin, end - begin));
    if (end == text.size()) return parts;
    begin = end + 1;
  }
}

// The stored word for `word` among `choices`.
std::string choose(const Setting& setting, std::string_view word, const std::string& origin) {
  if (setting.choices[0] == '\0') return std::string(word);
  std::vector<std::string> all, main;
  for (const std::string& group : split(setting.choices, ',')) {
    const std::vector<std::string> words = split(group, '|');
    if (std::find(words.begin(), words.end(), word) != words.end()) return words.front();
    all.insert(all.end(), words.begin(), words.end());
    main.push_back(words.front());
  }
  const std::string near = nearest(word, all);
  fail(ErrorKind::usage, origin, ": unknown value '", printable(word), "'; did you mean '", near,
       "'? Known: ", fmt::format("{}", fmt::join(main, ", ")));
}

double parse_number(const Setting& setting, std::string_view text, const std::string& origin, bool integer) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc() && end == text.data() + text.size() && std::isfinite(value);
  check(whole && (!integer || value == std::floor(value)), origin, ": '", printable(text), "' is not a ",
        integer ? "whole number" : "number");
  check(value >= setting.minimum && value <= setting.maximum, origin, ": ", text, " is out of range, expected ",
        fmt::format("{} to {}", setting.minimum, setting.maximum));
  return value;
}

struct Assign {
  TrainConfig& config;
  const Setting& setting;
  std::string_view text;
  const std::string& origin;

  void operator()(bool TrainConfig::*member) const {
    check(text == "true" || text == "false", origin, ": '", printable(text), "' is neither true nor false");
    config.*member = text == "true";
  }
  int64_t integer() const { return static_cast<int64_t>(parse_number(setting, text, origin, true)); }
  double number() const { return parse_number(setting, text, origin, false); }
  void operator()(int64_t TrainConfig::*member) const { config.*member = integer(); }
  void operator()(double TrainConfig::*member) const { config.*member = number(); }
  void operator()(std::string TrainConfig::*member) const { config.*member = choose(setting, text, origin); }
  void operator()(std::optional<int64_t> TrainConfig::*member) const { config.*member = integer(); }
  void operator()(std::optional<double> TrainConfig::*member) const { config.*member = number(); }
  void operator()(std::optional<std::string> TrainConfig::*member) const {
    config.*member = choose(setting, text, origin);
  }
  void operator()(std::vector<double> TrainConfig::*member) const {
    std::vector<double> values;
    for (const std::string& part : split(text, ',')) values.push_back(parse_number(setting, part, origin, false));
    check(std::is_sorted(values.begin(), values.end()), origin, ": ", text, " is not in ascending order");
    config.*member = values;
  }
};

}  // namespace

const std::vector<Setting>& settings() {
  return kSettings;
}

const Setting* find_setting(std::string_view key) {
  const auto found =
      std::find_if(kSettings.begin(), kSettings.end(), [&](const Setting& setting) { return setting.key == key; });
  return found == kSettings.end() ? nullptr : &*found;
}

bool is_switch(const Setting& setting) {
  return std::holds_alternative<bool TrainConfig::*>(setting.member);
}

std::string default_text(const Setting& setting) {
  static const TrainConfig defaults;
  return std::visit(
      [](auto member) -> std::string {
        const auto& value = defaults.*member;
        using T = std::decay_t<decltype(value)>;
        if constexpr (std::is_same_v<T, std::string>) return value;
        if constexpr (std::is_same_v<T, int64_t> || std::is_same_v<T, double>) return fmt::format("{}", value);
        return "";
      },
      setting.member);
}

void assign_setting(TrainConfig& config, const Setting& setting, std::string_view text, const std::string& origin) {
  check(!text.empty(), origin, ": the value is empty");
  std::visit(Assign{config, setting, text, origin}, setting.member);
}

void copy_setting(TrainConfig& config, const Setting& setting, const TrainConfig& other) {
  std::visit([&](auto member) { config.*member = other.*member; }, setting.member);
}

void check_config(const TrainConfig& config) {
  check(!(config.lr && config.lr_base), "--lr and --lr-base both set the learning rate; give one of them");
  check(config.val_split < 1 || config.val_split == std::floor(config.val_split), "--val-split: ", config.val_split,
        " is neither a fraction below 1 nor a whole number of pictures");
  check(!(config.nesterov || config.opt == "sgd_nesterov") || config.momentum > 0,
        "--nesterov needs a --momentum above 0");
  check(!(config.nesterov && (config.opt == "adamw" || config.opt == "lamb")),
        "--nesterov is a form of sgd and lars, not of ", config.opt, "; leave it out");
  check(config.loss == "bce" || config.bce_loss || (!config.bce_sum && !config.bce_target_thresh),
        config.bce_sum ? "--bce-sum" : "--bce-target-thresh", " belongs to --loss bce; add it");
  parse_policy(config.auto_augment, config.ra_magnitude, "--auto-augment");
  check(
      config.color_jitter.size() <= 4 && (config.color_jitter.size() < 4 || config.color_jitter[3] <= 0.5),
      "--color-jitter: expected up to four numbers, for brightness, contrast, saturation and hue, the last one at most "
      "0.5");
  check(!(config.dataset == "shapes" && !config.data_path.empty() && config.data_path != "shapes"),
        "--dataset shapes is drawn by the program and has no folder; leave out --data-path ",
        printable(config.data_path));
  const std::string_view dataset = config.dataset;
  check(dataset == "auto" || dataset == "shapes" || !config.data_path.empty(), "--dataset ", dataset,
        " needs the folder with the data: add --data-path DIR");
  check(config.val_path.empty() || (config.val_split == 0 && !config.data_path.empty()),
        "--val-path goes with --data-path and without --val-split");
  check(!(config.test_only && config.weights.empty() && config.resume.empty()),
        "--test-only needs something to test: add --weights PATH, or --resume with a run or checkpoint");
  if (const std::string_view file = config.export_file; !file.empty()) {
    check(file.ends_with(".onnx") || file.ends_with(".safetensors"), "--export: ", printable(file),
          " ends neither in .onnx nor in .safetensors");
    check(config.weights.empty() != config.resume.empty(),
          "--export needs what it is to write: add --weights PATH, or --resume with a run or checkpoint");
    check(config.export_dtype == "fp32" || file.ends_with(".safetensors"),
          "--export-dtype is of FILE.safetensors; ONNX files hold fp32");
  }
  check(!config.partial || !config.weights.empty(), "--partial is about --weights; add --weights PATH");
  check(!config.strict_resume || !config.resume.empty(), "--strict-resume is about --resume; add --resume auto");
  check(config.selftest.empty() || (config.resume.empty() && !config.overwrite && !config.test_only),
        "--selftest makes runs of its own; leave --resume, --overwrite and --test-only out");
  check(!(config.overwrite && !config.resume.empty()),
        "--overwrite replaces a run and --resume continues it; give one");
  check(config.lr_milestones.empty() || !config.lr_scheduler || *config.lr_scheduler == "multistep",
        "--lr-milestones belongs to --lr-scheduler multistep, not to ", config.lr_scheduler.value_or(""));
  check(config.name.find('/') == std::string::npos, "--name: '", printable(config.name),
        "' holds a slash; use --output-dir for a path");
  const std::string& device = config.device;
  const bool numbered = device.starts_with("cuda:") && device.size() > 5 && device.size() < 9 &&
                        device.find_first_not_of("0123456789", 5) == std::string::npos;
  if (!numbered && device != "auto" && device != "cpu" && device != "cuda" && device != "emulated") {
    fail(ErrorKind::usage, "--device: unknown value '", printable(device), "'; did you mean '",
         nearest(device, {"auto", "cpu", "cuda", "emulated"}), "'? Known: auto, cpu, cuda, cuda:N, emulated");
  }
}

}  // namespace engine
