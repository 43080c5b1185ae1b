#pragma once
// Every setting of a training run, and one table that gives each its name, flags and meaning: flags, --config files and
// run.json are all read and written through it.
//
// An std::optional setting without a value is automatic: engine/train/recipe.h fills it once the data are known.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace engine {

struct TrainConfig {
  // Recipe
  std::string recipe;            // engine/train/recipe_book.h
  std::optional<double> budget;  // minutes
  std::string compare_to;        // a recipe or the folder of a run

  // Model
  std::optional<std::string> model;
  std::optional<int64_t> num_classes;  // the data set's
  bool zero_init_residual = false;
  std::string weights;   // a safetensors file or a checkpoint to start from
  bool partial = false;  // take of it what fits

  // Data
  std::string data_path;         // empty: the built-in shapes
  std::string val_path;          // validation pictures that lie elsewhere
  std::string dataset = "auto";  // auto, imagefolder, cifar10, cifar100, packed, tar, shapes
  double val_split = 0;          // a fraction below 1, or a number of pictures
  std::optional<int64_t> batch_size;
  std::optional<int64_t> val_batch_size;
  std::optional<int64_t> workers;
  std::optional<std::string> crop;  // rrc, pad-crop, none
  bool no_flip = false;
  std::optional<int64_t> train_crop_size, val_resize_size, val_crop_size;
  std::string interpolation = "bilinear";
  std::optional<std::string> train_interpolation;  // bilinear, bicubic, random
  std::string auto_augment = "none";
  int64_t ra_magnitude = 9;
  std::vector<double> color_jitter;
  double random_erase = 0;
  double mixup_alpha = 0, cutmix_alpha = 0;
  double mixup_prob = 1, mixup_switch_prob = 0.5;
  int64_t mixup_off_epoch = 0;
  bool ra_sampler = false;
  std::optional<int64_t> ra_reps;
  int64_t cache_bytes = int64_t{1} << 30;
  double data_timeout = 600;            // seconds that one picture may take; 0: any
  std::string data_on_device = "auto";  // auto, on, off
  std::string bad_images = "fail";      // fail, skip, use-partial
  std::optional<int64_t> max_bad;
  std::optional<int64_t> limit_train, limit_val;  // pictures, spread evenly over the data set
  int64_t shapes_train = 20000, shapes_val = 2000;

  // Optimisation. Rates and times as in torchvision's references: epochs, not steps.
  std::optional<int64_t> epochs;
  std::optional<int64_t> max_steps;
  std::string opt = "sgd";  // sgd, sgd_nesterov, adamw, lars, lamb
  double momentum = 0.9;
  bool nesterov = false;
  double beta1 = 0.9, beta2 = 0.999;
  std::optional<double> opt_eps;
  double trust_coefficient = 0.001;
  std::optional<double> clip_grad_norm;  // 0: no clipping
  std::optional<double> lr;
  std::optional<double> lr_base;
  double lr_base_size = 256;
  std::optional<std::string> lr_scheduler;  // steplr, multistep, cosineannealinglr, linear, poly, onecycle, constant
  double lr_step_size = 30;
  double lr_gamma = 0.1;
  std::vector<double> lr_milestones;
  double lr_min = 0;
  double lr_power = 2;
  std::optional<double> lr_warmup_epochs;
  double lr_warmup_decay = 0.01;
  std::optional<double> weight_decay, norm_weight_decay, bias_weight_decay;
  std::string loss = "cross_entropy";  // cross_entropy, bce
  bool bce_loss = false, bce_sum = false;
  std::optional<double> bce_target_thresh;
  std::optional<double> label_smoothing;
  int64_t grad_accum_steps = 1;
  bool model_ema = false;
  int64_t model_ema_steps = 32;
  double model_ema_decay = 0.99998;
  std::string accum_bn = "batch";  // batch, exact
  bool recompute = false;
  bool auto_batch = false;

  // Device
  std::string device = "auto";           // auto, cpu, cuda, cuda:N, emulated
  std::optional<std::string> precision;  // fp32, bf16, fp16
  int64_t skip_nonfinite = 0;
  std::optional<int64_t> threads;
  int64_t seed = 0;
  bool deterministic = false;
  std::string force_impl;  // own, cudnn; empty: what is faster

  // Ranks
  std::optional<int64_t> ranks;  // that have to be there; resolved: that are
  bool sync_bn = false;
  double comm_timeout = 600;

  // Output
  std::string output_dir;  // empty: runs/<name>
  std::string name;        // empty: <model>-<data>-<time>
  std::string resume;      // empty: a new run; auto, or the folder of a run or checkpoint
  bool strict_resume = false;
  bool overwrite = false;
  bool test_only = false;
  std::string replay;                 // the batch that a diverged run saved
  std::string export_file;            // .onnx or .safetensors; empty: none
  std::string export_bn = "fold";     // fold, keep
  std::string export_dtype = "fp32";  // fp32, bf16, fp16
  bool allow_nonfinite = false;
  std::string selftest;  // resume; empty: none
  std::optional<int64_t> print_freq;
  std::string log_format = "text";  // text, jsonl
  std::string color = "auto";       // auto, always, never
  std::optional<int64_t> checkpoint_steps;
  double checkpoint_minutes = 10;
  int64_t checkpoint_hist = 0;
  int64_t min_free = 0;  // bytes
};

using SettingMember =
    std::variant<bool TrainConfig::*, int64_t TrainConfig::*, double TrainConfig::*, std::string TrainConfig::*,
                 std::optional<int64_t> TrainConfig::*, std::optional<double> TrainConfig::*,
                 std::optional<std::string> TrainConfig::*, std::vector<double> TrainConfig::*>;

enum class SettingScope : uint8_t {
  experiment,  // belongs to the experiment: stands in run.json's "config" and may come from a --config file
  session,     // belongs to one start of the program
};

struct Setting {
  const char* key;    // in JSON
  const char* flags;  // comma-separated, the main one first: "--lr,--learning-rate"
  SettingMember member;
  const char* group;
  const char* value;  // stands for the value in the help; empty for a switch
  const char* help;
  // Accepted words, each with its aliases: "steplr|step,constant"; empty: any. The first of a group is stored.
  const char* choices = "";
  double minimum = 0, maximum = 1e15;  // of numbers, inclusive
  SettingScope scope = SettingScope::experiment;
};

const std::vector<Setting>& settings();

// nullptr if no setting has that key.
const Setting* find_setting(std::string_view key);

bool is_switch(const Setting& setting);

// The value of TrainConfig{}, as a user would type it: "0.9", "" for what is automatic, off or without a value.
std::string default_text(const Setting& setting);

// Assigns the value that `text` spells ("true" and "false" for switches). `origin` says where it was given: "--lr", or
// "lr in run.json". Throws Error(usage) with value, expectation and the nearest accepted word.
void assign_setting(TrainConfig& config, const Setting& setting, std::string_view text, const std::string& origin);

// Takes over the setting from `other`.
void copy_setting(TrainConfig& config, const Setting& setting, const TrainConfig& other);

// An object with all settings of a scope in the table's order; automatic ones are null.
std::string config_json(const TrainConfig& config, SettingScope scope = SettingScope::experiment);

// Assigns what the object `json` names: an object of settings, or a run.json with such an object under "config".
// Throws Error(usage) for text that is no JSON object, an unknown key (with the nearest), a setting that belongs to one
// start only, and for wrong types and values. `origin` is the file's name.
void apply_config_json(TrainConfig& config, std::string_view json, const std::string& origin);

// What can be said about a configuration before any file is opened. Throws Error(usage) for settings that contradict
// each other.
void check_config(const TrainConfig& config);

}  // namespace engine
