#include "engine/train/ranks.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <thread>

#include "engine/backend.h"
#include "engine/error.h"
#include "engine/io/checksum.h"
#include "engine/nn/module.h"
#include "engine/text.h"
#include "engine/train/log.h"
#include "engine/train/run_state.h"
#include "engine/train/signals.h"
#include "engine/train/trainer.h"
#include "engine/train/version.h"

namespace engine {
namespace {

// What may differ from rank to rank without changing a result.
bool is_own_affair(const std::string& key) {
  static const std::set<std::string> keys = {"data_path", "device", "workers", "threads", "cache_bytes", "weights"};
  return keys.contains(key);
}

std::string hash_of_weights(Module& module) {
  std::string hashes;
  for (const NamedTensor& entry : module.state()) {
    const Tensor host = entry.tensor.detach().to(Device{});
    hashes += xxh3_128_hex(std::as_bytes(std::span(static_cast<const char*>(host.raw()), host.bytes())));
  }
  return xxh3_128_hex(std::as_bytes(std::span(hashes)));
}

}  // namespace

Launch current_launch() {
  return read_launch([](const char* name) { return std::getenv(name); });
}

std::unique_ptr<Communicator> connect_ranks(const TrainConfig& config) {
  const Launch launch = current_launch();
  check(!config.ranks || *config.ranks == launch.size, "--ranks ", config.ranks.value_or(0), ": ", launch.size,
        launch.size == 1 ? " was started" : " were started",
        "; start them with mpirun -n, srun -n or torchrun --nproc-per-node");
  if (!launch.distributed()) return nullptr;
  log_rank(launch.rank);
  return Communicator::connect(launch, {.timeout_seconds = config.comm_timeout,
                                        .build = version(),
                                        .stop_signal = stop_signal,
                                        .stop =
                                            [](int signal) {
                                              if (stop_signal() == 0) set_stop_signal(signal);
                                            },
                                        .last_words =
                                            [](const std::string& sentence) {
                                              std::fprintf(stderr, "\nresnet-train: %s\n", printable(sentence).c_str());
                                            }});
}

void share_host(TrainConfig& config) {
  const int local_size = current_launch().local_size;
  if (local_size <= 1) return;
  const auto cores = static_cast<int64_t>(std::thread::hardware_concurrency());
  // A launcher that binds ranks to cores has divided them already.
  if (!config.threads && num_threads() * 2 > cores) config.threads = std::max<int64_t>(1, num_threads() / local_size);
  if (!config.workers) config.workers = std::clamp<int64_t>(cores / 2 / local_size, 1, 16);
}

void share_batch(TrainConfig& config, int ranks) {
  const int64_t before = config.ranks.value_or(1);
  config.ranks.reset();
  if (before == ranks || !config.batch_size) return;
  const int64_t all = *config.batch_size * before;
  if (all % ranks != 0) return;
  config.batch_size = all / ranks;
  log_info("resumed by " + std::to_string(ranks) + " ranks instead of " + std::to_string(before) + ": batches of " +
           std::to_string(*config.batch_size) + " on each keep " + std::to_string(all) + " pictures together");
}

ResumePoint share_resume_point(Communicator& ranks, ResumePoint mine) {
  const std::string directory = ranks.broadcast(mine.checkpoint ? mine.checkpoint->directory.string() : std::string());
  const std::string config = ranks.broadcast(mine.config);
  if (ranks.is_first()) return mine;
  if (directory.empty()) return {.run_dir = {}, .checkpoint = {}, .saved = {}, .config = config, .notes = {}};
  return find_resume_point(directory, "", false);
}

void expect_same_run(Communicator& ranks, const TrainSetup& setup) {
  std::vector<std::pair<std::string, std::string>> facts;
  const auto settings = nlohmann::ordered_json::parse(config_json(setup.config));
  for (const auto& [key, value] : settings.items())
    if (!is_own_affair(key)) facts.emplace_back(key, value.dump());
  for (const auto& [key, value] : run_identity(setup.config, setup.data)) facts.emplace_back(key, value);
  if (setup.resume.checkpoint) {
    facts.emplace_back("checkpoint", setup.resume.checkpoint->state_json);
  } else {
    facts.emplace_back("weights (XXH3)", hash_of_weights(*setup.model.module));
  }
  expect_same(ranks, facts);
}

RankLinks::RankLinks() = default;
RankLinks::RankLinks(RankLinks&&) = default;
RankLinks::~RankLinks() = default;

RankLinks link_ranks(Communicator* ranks, Device device, bool sync_bn) {
  RankLinks links;
  if (ranks == nullptr) return links;
  std::string reason;
  links.devices = backend(device).join_ranks(*ranks, &reason);
  if (links.devices) {
    links.gradients = device_exchange(*ranks, *links.devices);
    if (sync_bn) links.statistics = device_statistics(*links.devices);
    return links;
  }
  if (device.type == DeviceType::cuda)
    log_warning("gradients go from rank to rank through the host's memory: " + reason);
  links.gradients = host_exchange(*ranks);
  if (sync_bn) links.statistics = host_statistics(*ranks);
  return links;
}

StepEnd share_step_end(Communicator* ranks, const StepEnd& mine) {
  if (ranks == nullptr) return mine;
  static_assert(std::is_trivially_copyable_v<StepEnd>);
  const auto encode = [](const StepEnd& end) {
    std::string bytes(sizeof end, '\0');
    std::memcpy(bytes.data(), &end, sizeof end);
    return bytes;
  };
  const auto decode = [](const std::string& text) {
    StepEnd end;
    if (text.size() != sizeof end) fail(ErrorKind::internal, "ranks: a message of ", text.size(), " bytes");
    std::memcpy(&end, text.data(), sizeof end);
    return end;
  };
  StepEnd all;
  for (const std::string& text : ranks->gather(encode(mine))) {
    const StepEnd one = decode(text);
    all.sums.add(one.sums);
    if (all.stop_signal == 0) all.stop_signal = one.stop_signal;
  }
  return decode(ranks->broadcast(encode(all)));
}

}  // namespace engine
