// resnet-predict: what a trained net takes pictures for.
#include <unistd.h>

#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <functional>
#include <iostream>
#include <map>
#include <new>
#include <optional>
#include <set>
#include <sstream>
#include <string>
#include <thread>

#include "engine/autograd.h"
#include "engine/data/batch_tensors.h"
#include "engine/data/loader.h"
#include "engine/data/picture_list.h"
#include "engine/data/png_encode.h"
#include "engine/error.h"
#include "engine/io/file.h"
#include "engine/nn/weights.h"
#include "engine/text.h"
#include "engine/train/device_choice.h"
#include "engine/train/grad_cam.h"
#include "engine/train/log.h"
#include "engine/train/prediction_page.h"
#include "engine/train/progress.h"
#include "engine/train/resume.h"
#include "engine/train/trainable.h"
#include "engine/train/version.h"
#include "engine/train/weights_info.h"
#include "models/resnet.h"
#include "tools/prediction_text.h"

namespace engine::tools {
namespace {

namespace fs = std::filesystem;
using models::ResNet;
using models::Specification;

constexpr uint64_t kMaxNamesBytes = 64 << 20;
constexpr int kSmallPicture = 64;                  // what training takes as it is, without resizing
constexpr int kLeastView = 256, kMostView = 1024;  // longer side of a picture with a heat map

struct Arguments {
  std::vector<std::string> paths;
  TrainConfig settings;  // of the flags that resnet-train has, too
  bool interpolation_given = false;
  std::string classes, html, cam, cam_class;
  int64_t top_k = 5;
  bool json = false;
};

// The flags that resnet-train has, too, with its names, values and messages.
struct SharedFlag {
  const char* key;
  const char* help;
};
constexpr SharedFlag kShared[] = {
    {"weights", "a run, a checkpoint, or a safetensors file; what trains here knows its model, classes and size"},
    {"model", "for weights that do not name it: see resnet-train --list-models"},
    {"num_classes", "of such weights (what the file has)"},
    {"val_resize_size", "short side before the crop (as in training; 256; 0: as it is)"},
    {"val_crop_size", "side of what the net sees (as in training; 224, 32)"},
    {"interpolation", "filter of resizing: bilinear, bicubic (as in training)"},
    {"batch_size", "pictures at once (32)"},
    {"workers", "threads that decode pictures (half the cores, at most 16)"},
    {"device", "what computes: auto, cpu, cuda, cuda:N, emulated (auto)"},
    {"precision", "of activations: fp32, tf32, bf16, fp16 (fp32)"},
    {"threads", "that compute (the cores)"}};

struct Network {
  WeightsInfo info;
  std::vector<std::string> class_names;  // of all classes
  std::string origin;
  ResNet net;
  InputFormat input;
};

std::vector<std::string> lines_of(const std::string& path) {
  std::istringstream text(read_text_file(path, {.kind = ErrorKind::usage, .max_bytes = kMaxNamesBytes}));
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);) {
    if (line.ends_with('\r')) line.pop_back();
    lines.push_back(line);
  }
  while (!lines.empty() && lines.back().empty()) lines.pop_back();
  return lines;
}

std::vector<std::string> class_names(const Arguments& arguments, const WeightsInfo& info, int64_t classes) {
  std::vector<std::string> names = info.class_names;
  const auto count = static_cast<size_t>(classes);
  if (!arguments.classes.empty()) {
    names = lines_of(arguments.classes);
    check(names.size() == count, "--classes: ", printable(arguments.classes), " has ", names.size(),
          " names, one a line, but the net has ", classes, " classes");
  }
  names.resize(std::min(names.size(), count));
  while (names.size() < count) names.push_back(std::to_string(names.size()));
  return names;
}

// How pictures have to look for weights that do not say it.
WeightsInfo info_of(const Specification& specification) {
  const auto size = static_cast<int>(specification.default_image_size());
  const bool small = specification.for_small_images();
  return {.model = specification.name,
          .class_names = {},
          .transform = {.resize = small ? 0 : size * 256 / 224, .size = size},
          .normalization = small ? kCifar10Normalization : kImageNetNormalization};
}

Network open_network(const Arguments& arguments, Device device) {
  const TrainConfig& settings = arguments.settings;
  const SafetensorsFile file = SafetensorsFile::open(find_weights(settings.weights));
  WeightsInfo info = weights_info(file.metadata(), printable(file.origin()));
  check(!info.model.empty() || settings.model, "--weights: ", printable(file.origin()),
        " does not say which model it belongs to; add --model NAME, one of resnet-train --list-models");
  const Specification& specification = models::find_specification(settings.model.value_or(info.model));
  if (info.model != specification.name) info = info_of(specification);
  EvalTransform& transform = info.transform;
  if (settings.val_crop_size) transform.size = static_cast<int>(*settings.val_crop_size);
  if (settings.val_resize_size) transform.resize = static_cast<int>(*settings.val_resize_size);
  if (arguments.interpolation_given) {
    transform.interpolation = settings.interpolation == "bicubic" ? Interpolation::bicubic : Interpolation::bilinear;
  }

  std::optional<int64_t> classes = settings.num_classes;
  const TensorView* const head = file.find("fc.weight");
  if (!classes && head != nullptr && !head->shape.empty()) classes = head->shape[0];
  ResNet net = models::make_resnet(specification.name, {.num_classes = classes, .initialize = false});
  load_weights(file, net);
  net.to(device);
  net.eval();
  for (NamedParameter& parameter : net.parameters()) parameter.tensor.set_requires_grad(false);
  const std::string& precision = *settings.precision;
  const DType dtype = precision == "bf16" ? DType::bf16 : precision == "fp16" ? DType::f16 : DType::f32;
  std::vector<std::string> names = class_names(arguments, info, net.num_classes());
  return {.info = info,
          .class_names = std::move(names),
          .origin = file.origin(),
          .net = std::move(net),
          .input = {.device = device, .dtype = dtype, .normalization = info.normalization}};
}

// Training on small pictures resizes none of them. Here somebody may show such a net a photograph, whose centre of 32
// pixels would say nothing.
EvalTransform fitted(EvalTransform transform, int width, int height) {
  const bool photograph = std::max(width, height) > kSmallPicture && transform.size <= kSmallPicture;
  if (transform.resize == 0 && photograph) transform.resize = transform.size;
  return transform;
}

SampleTransform sample_transform_of(const EvalTransform& transform) {
  return [transform](const Picture& picture, RandomStream&, std::span<uint8_t> out) {
    const Image image = decode_image(picture.file, picture.name);
    transform_image(fitted(transform, image.width, image.height), image, out);
  };
}

// Where the heat map of each picture goes: its name below the folder that it was found in, as .png.
std::vector<std::string> heat_map_files(const std::string& folder, const std::vector<FoundPicture>& pictures) {
  std::set<std::string> taken;
  std::vector<std::string> files;
  for (const FoundPicture& picture : pictures) {
    const std::string stem = (fs::path(folder) / fs::path(picture.name).replace_extension()).string();
    std::string file = stem + ".png";
    for (int i = 2; !taken.insert(file).second; ++i) file = stem + "-" + std::to_string(i) + ".png";
    files.push_back(file);
  }
  return files;
}

// Neither so small that the map cannot be seen nor larger than a screen.
Image sized_for_view(Image image) {
  const int longer = std::max(image.width, image.height), side = std::clamp(longer, kLeastView, kMostView);
  if (side == longer) return image;
  const auto scaled = [&](int extent) {
    return std::max(1, static_cast<int>(static_cast<int64_t>(extent) * side / longer));
  };
  return resize(image, {.width = scaled(image.width), .height = scaled(image.height)});
}

// Which class the heat is of: that of a name or number, or, without either, each picture's most probable one.
std::optional<int64_t> heat_class(const Arguments& arguments, const Network& network) {
  const std::string& wanted = arguments.cam_class;
  if (wanted.empty()) return std::nullopt;
  const auto& names = network.class_names;
  if (const auto named = std::find(names.begin(), names.end(), wanted); named != names.end())
    return named - names.begin();
  const bool number = wanted.size() < 10 && wanted.find_first_not_of("0123456789") == std::string::npos;
  const int64_t index = number ? std::stoll(wanted) : -1;
  check(index >= 0 && index < static_cast<int64_t>(names.size()), "--cam-class: '", printable(wanted),
        "' is neither a class of the net, such as '", printable(nearest(wanted, names)), "', nor a number from 0 to ",
        names.size() - 1);
  return index;
}

class Predictor {
 public:
  Predictor(const Arguments& arguments, Network& network, std::vector<FoundPicture> pictures)
      : arguments_(arguments),
        network_(network),
        stages_(network.net.stages()),
        heat_class_(heat_class(arguments, network)),
        pictures_(std::move(pictures)),
        dataset_(open_pictures(pictures_)) {
    std::vector<std::string> paths;
    for (const FoundPicture& picture : pictures_) paths.push_back(picture.path);
    width_ = table_width(paths);
    if (!arguments.cam.empty()) heat_maps_ = heat_map_files(arguments.cam, pictures_);
  }

  void run() {
    const auto start = std::chrono::steady_clock::now();
    const TrainConfig& settings = arguments_.settings;
    const auto total = static_cast<int64_t>(pictures_.size());
    const int size = network_.info.transform.size;
    Loader loader(dataset_, sample_transform_of(network_.info.transform),
                  {.mode = LoaderMode::evaluate,
                   .batch_size = std::min(*settings.batch_size, total),
                   .height = size,
                   .width = size,
                   .workers = static_cast<int>(std::min(*settings.workers, total)),
                   .bad_images = BadImages::skip,
                   .max_bad_fraction = 1,
                   .on_stall = [](const std::string& message) { log_warning(message); }});
    if (!arguments_.json) std::cout << table_head(width_);
    const bool progress = ::isatty(STDOUT_FILENO) == 0;
    Batch batch;
    loader.start(0);
    while (loader.next(batch)) {
      predict(batch, loader.bad_images());
      flush();
      if (progress) set_status_line(count_bar("predicting", batch.indices.back() + 1, total, terminal_width()));
    }
    set_status_line("");
    report_unreadable(loader.bad_images(), total);
    flush();
    if (unreadable_ == total) fail(ErrorKind::data, "not one of ", total, " pictures could be read");
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    if (total == 1) return;
    const std::string left = unreadable_ > 0 ? ", " + with_thousands(unreadable_) + " more could not be read" : "";
    log_info(with_thousands(total - unreadable_) + " pictures in " + duration_text(seconds.count()) + ", " +
             rate_text(static_cast<double>(total - unreadable_) / seconds.count()) + " img/s, " +
             std::to_string(std::lround(100 * loader.wait_seconds() / seconds.count())) + "% waiting for data" + left);
  }

  const PredictionPage& page() const { return page_; }

 private:
  void predict(const Batch& batch, const std::vector<BadImage>& bad) {
    Tensor features;
    std::vector<std::vector<ClassProbability>> top;
    {
      const NoGrad no_grad;
      features = image_tensor(batch, network_.input.normalization, network_.input.tensor());
      for (size_t i = 0; i + 1 < stages_.size(); ++i) features = stages_[i](features);
      top = top_classes(stages_.back()(features), arguments_.top_k);
    }
    std::vector<HeatMap> maps;
    if (!heat_maps_.empty()) {
      std::vector<int64_t> classes;
      for (const auto& one : top) classes.push_back(heat_class_.value_or(one.front().label));
      maps = grad_cam(features, stages_.back(), classes);
    }
    for (size_t i = 0; i < top.size(); ++i) {
      report_unreadable(bad, batch.indices[i]);
      report(batch.indices[i], std::move(top[i]), maps.empty() ? nullptr : &maps[i]);
    }
  }

  void report(int64_t index, std::vector<ClassProbability> top, const HeatMap* map) {
    Prediction prediction = {.path = pictures_[static_cast<size_t>(index)].path, .top = std::move(top), .heat_map = {}};
    if (map != nullptr || !arguments_.html.empty()) {
      PredictedPicture shown = {.source = prediction.path,
                                .image = dataset_->load(index),
                                .heat = {},
                                .top = prediction.top,
                                .class_names = &network_.class_names};
      if (map != nullptr) {
        const int width = shown.image.width, height = shown.image.height;
        const EvalTransform transform = fitted(network_.info.transform, width, height);
        shown.image = sized_for_view(std::move(shown.image));
        shown.heat = draw_heat(shown.image, eval_window(transform, width, height), *map);
        prediction.heat_map = heat_maps_[static_cast<size_t>(index)];
        fs::create_directories(fs::path(prediction.heat_map).parent_path());
        const std::vector<uint8_t> png = encode_png(*shown.heat);
        write_file_atomically(prediction.heat_map, std::as_bytes(std::span(png)), ErrorKind::usage);
      }
      if (!arguments_.html.empty()) page_.add(shown);
    }
    std::cout << (arguments_.json ? prediction_json(prediction, network_.class_names) + "\n"
                                  : table_lines(prediction, network_.class_names, width_));
  }

  // Those before `index`, in their order, each once: by then they have been tried.
  void report_unreadable(const std::vector<BadImage>& by_index, int64_t index) {
    for (const BadImage& bad : by_index) {
      if (bad.index < next_) continue;
      if (bad.index >= index) break;
      ++unreadable_;
      log_warning(bad.message);
      if (!arguments_.html.empty()) page_.add_unreadable(bad.message);
      if (arguments_.json) {
        std::cout << unreadable_json(pictures_[static_cast<size_t>(bad.index)].path, bad.message) << '\n';
      }
    }
    next_ = index;
  }

  static void flush() {
    std::cout.flush();
    check(std::cout.good(), "stdout cannot be written to; is the disk full?");
  }

  const Arguments& arguments_;
  Network& network_;
  std::vector<std::function<Tensor(const Tensor&)>> stages_;
  std::optional<int64_t> heat_class_;
  std::vector<FoundPicture> pictures_;
  DatasetPtr dataset_;
  std::vector<std::string> heat_maps_;  // files; empty: none are asked for
  size_t width_ = 0;
  PredictionPage page_;
  int64_t next_ = 0;  // up to here unreadable pictures have been reported
  int64_t unreadable_ = 0;
};

int predict(Arguments& arguments) {
  TrainConfig& settings = arguments.settings;
  check(!arguments.paths.empty(), "give pictures, or folders of pictures: resnet-predict --weights RUN PICTURES");
  check(!settings.weights.empty(), "give the net with --weights: a run, a checkpoint, or a safetensors file");
  check(arguments.cam_class.empty() || !arguments.cam.empty(), "--cam-class is the class whose heat --cam DIR draws");
  check_config(settings);
  if (!settings.batch_size) settings.batch_size = 32;
  if (!settings.workers) {
    settings.workers = std::clamp<int64_t>(static_cast<int64_t>(std::thread::hardware_concurrency()) / 2, 1, 16);
  }
  if (!settings.threads) settings.threads = num_threads();
  if (!settings.precision) settings.precision = "fp32";

  std::vector<FoundPicture> pictures = find_pictures(arguments.paths);
  const Device device = choose_device(settings.device).device;
  check_precision(settings, device);
  set_up_device(device, settings);
  Network network = open_network(arguments, device);
  if (!arguments.html.empty()) make_writable_directory(fs::absolute(arguments.html).parent_path());
  if (!arguments.cam.empty()) make_writable_directory(arguments.cam);
  const EvalTransform& transform = network.info.transform;
  const std::vector<std::string> facts = {
      network.info.model, std::to_string(network.class_names.size()) + " classes",
      std::to_string(transform.size) + "x" + std::to_string(transform.size) + " pixels", printable(network.origin),
      device_description(device)};
  std::string opening;
  for (const std::string& fact : facts) opening += (opening.empty() ? "" : ", ") + fact;
  log_info(opening);
  Predictor predictor(arguments, network, std::move(pictures));
  predictor.run();
  if (!arguments.html.empty()) {
    write_file_atomically(arguments.html, predictor.page().html(facts), ErrorKind::usage);
  }
  return 0;
}

// The long one, for messages.
std::string main_name(const Setting& setting) {
  const std::string_view flags = setting.flags;
  const size_t begin = flags.find("--");
  return std::string(flags.substr(begin, flags.find(',', begin) - begin));
}

void parse(int argc, char** argv, CLI::App& app, Arguments& arguments) {
  std::map<const Setting*, std::string> values;
  app.add_option("pictures", arguments.paths, "files, and folders of any depth");
  for (const SharedFlag& flag : kShared) {
    const Setting* setting = find_setting(flag.key);
    app.add_option(setting->flags, values[setting], flag.help)->type_name(setting->value);
  }
  app.add_option("--classes", arguments.classes, "a file with the names of the classes, one a line")->type_name("FILE");
  app.add_option("-k,--top-k", arguments.top_k, "classes of each picture (5)")
      ->check(CLI::Range(int64_t{1}, int64_t{1000000}).description(""))
      ->type_name("N");
  app.add_flag("--json", arguments.json, "one JSON object a line instead of the table");
  app.add_option("--html", arguments.html, "also a page with the pictures")->type_name("FILE");
  app.add_option("--cam", arguments.cam, "also heat maps over the pictures (Grad-CAM), as PNG")->type_name("DIR");
  app.add_option("--cam-class", arguments.cam_class, "name or number of the class that they show (the most probable)")
      ->type_name("CLASS");
  app.set_version_flag("--version", std::string("resnet-predict ") + version());
  app.footer(
      "Exit codes: 0 done, 1 internal error, 2 usage, 3 not one picture could be read, 4 weights, 5 device, 6 memory,\n"
      "7 results that are not finite");
  app.parse(argc, argv);
  for (const auto& [setting, value] : values) {
    if (value.empty()) continue;
    if (std::string_view(setting->key) == "interpolation") arguments.interpolation_given = true;
    const std::string flags = setting->flags;
    assign_setting(arguments.settings, *setting, value, main_name(*setting));
  }
}

int report_error(int code, const char* message) {
  set_status_line("");
  std::cerr << "resnet-predict: " << message << '\n';
  return code;
}

int run(int argc, char** argv) {
  CLI::App app("Says what a trained net takes pictures for: resnet-predict --weights RUN PICTURES", "resnet-predict");
  Arguments arguments;
  try {
    try {
      parse(argc, argv, app, arguments);
    } catch (const CLI::ParseError& error) {
      return app.exit(error) == 0 ? 0 : static_cast<int>(ErrorKind::usage);
    }
    return predict(arguments);
  } catch (const Error& error) {
    return report_error(static_cast<int>(error.kind()), error.what());
  } catch (const std::bad_alloc&) {
    return report_error(static_cast<int>(ErrorKind::memory), "out of memory; use a smaller --batch-size");
  } catch (const std::exception& error) {
    return report_error(static_cast<int>(ErrorKind::internal), error.what());
  }
}

}  // namespace
}  // namespace engine::tools

int main(int argc, char** argv) {
  return engine::tools::run(argc, argv);
}
