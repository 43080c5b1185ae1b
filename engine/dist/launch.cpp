#include "engine/dist/launch.h"

#include <charconv>
#include <optional>
#include <string_view>

#include "engine/error.h"
#include "engine/text.h"

namespace engine {
namespace {

constexpr int kMaxRanks = 1 << 16;
constexpr int kPortsAfterTheAgents = 8;
constexpr int kFirstSlurmPort = 20000, kSlurmPorts = 20000;
// Slurm numbers the steps that are no srun's (batch scripts, interactive shells) from here on.
constexpr int64_t kFirstReservedSlurmStep = 4294967290;

class Environment {
 public:
  explicit Environment(const std::function<const char*(const char*)>& get) : get_(get) {}

  std::optional<std::string> text(const char* name) const {
    const char* value = get_(name);
    if (value == nullptr || *value == '\0') return std::nullopt;
    return value;
  }
  bool has(const char* name) const { return text(name).has_value(); }

  std::optional<int64_t> number(const char* name, int64_t minimum, int64_t maximum) const {
    const std::optional<std::string> value = text(name);
    if (!value) return std::nullopt;
    int64_t result = 0;
    const auto [end, error] = std::from_chars(value->data(), value->data() + value->size(), result);
    check(error == std::errc() && end == value->data() + value->size() && result >= minimum && result <= maximum,
          "ranks: the environment variable ", name, " is '", printable(*value), "', expected a number from ", minimum,
          " to ", maximum);
    return result;
  }
  int required(const char* name, const char* beside, int64_t minimum, int64_t maximum) const {
    const std::optional<int64_t> value = number(name, minimum, maximum);
    check(value.has_value(), "ranks: the environment variable ", beside, " is set, but ", name,
          " is not; set both, or neither");
    return static_cast<int>(*value);
  }
  int optional(const char* name, int otherwise) const {
    return static_cast<int>(number(name, 0, kMaxRanks).value_or(otherwise));
  }

 private:
  const std::function<const char*(const char*)>& get_;
};

void check_rank(const Launch& launch, const char* rank, const char* size) {
  check(launch.rank < launch.size, "ranks: ", rank, "=", launch.rank, " of ", size, "=", launch.size,
        ", expected ranks from 0 to ", launch.size - 1);
}

Launch of_environment(const Environment& env) {
  Launch launch{.kind = LaunchKind::environment};
  launch.rank = env.required("RANK", "WORLD_SIZE", 0, kMaxRanks);
  launch.size = env.required("WORLD_SIZE", "RANK", 1, kMaxRanks);
  check_rank(launch, "RANK", "WORLD_SIZE");
  launch.local_rank = env.optional("LOCAL_RANK", launch.rank);
  launch.local_size = env.optional("LOCAL_WORLD_SIZE", launch.size);
  if (!launch.distributed()) return launch;
  const std::optional<std::string> address = env.text("MASTER_ADDR");
  check(address.has_value(),
        "ranks: RANK and WORLD_SIZE are set, but MASTER_ADDR is not; set it to the host of rank 0");
  launch.address = *address;
  const int port = env.required("MASTER_PORT", "MASTER_ADDR", 1, 65535 - kPortsAfterTheAgents);
  const bool agent_listens = env.text("TORCHELASTIC_USE_AGENT_STORE") == "True";
  launch.port = agent_listens ? port + 1 : port;
  launch.num_ports = agent_listens ? kPortsAfterTheAgents : 1;
  launch.run_id = env.text("TORCHELASTIC_RUN_ID").value_or(env.text("SLURM_JOB_ID").value_or(""));
  return launch;
}

// srun sets these for each task; a shell inside salloc, or a batch script, has only some of them.
bool is_task_of_srun(const Environment& env) {
  const std::optional<int64_t> step = env.number("SLURM_STEP_ID", 0, INT64_MAX);
  return step && *step < kFirstReservedSlurmStep && env.has("SLURM_PROCID") && env.has("SLURM_STEP_NUM_TASKS");
}

Launch of_slurm(const Environment& env) {
  Launch launch{.kind = LaunchKind::slurm};
  launch.rank = env.required("SLURM_PROCID", "SLURM_STEP_ID", 0, kMaxRanks);
  launch.size = env.required("SLURM_STEP_NUM_TASKS", "SLURM_PROCID", 1, kMaxRanks);
  check_rank(launch, "SLURM_PROCID", "SLURM_STEP_NUM_TASKS");
  launch.local_rank = env.optional("SLURM_LOCALID", 0);
  // "4(x2),3": four tasks on each of the first two hosts
  const std::string tasks = env.text("SLURM_STEP_TASKS_PER_NODE").value_or("1");
  std::from_chars(tasks.data(), tasks.data() + tasks.size(), launch.local_size);
  if (!launch.distributed()) return launch;
  launch.address = env.text("MASTER_ADDR").value_or(first_host(env.text("SLURM_STEP_NODELIST").value_or("")));
  check(!launch.address.empty(),
        "ranks: srun started this process, but SLURM_STEP_NODELIST names no host; set MASTER_ADDR to that of rank 0");
  const int64_t job = env.number("SLURM_JOB_ID", 0, INT64_MAX).value_or(0),
                step = env.number("SLURM_STEP_ID", 0, INT64_MAX).value_or(0);
  const int by_job = kFirstSlurmPort + static_cast<int>((job * 31 + step) % kSlurmPorts);
  launch.port = static_cast<int>(env.number("MASTER_PORT", 1, 65535).value_or(by_job));
  launch.run_id = std::to_string(job) + "." + std::to_string(step);
  return launch;
}

}  // namespace

Launch read_launch(const std::function<const char*(const char*)>& get) {
  const Environment env(get);
  Launch launch;
  if (env.has("RANK") || env.has("WORLD_SIZE")) {
    launch = of_environment(env);
  } else if (env.has("OMPI_COMM_WORLD_RANK")) {
    launch.kind = LaunchKind::mpi;
    launch.rank = env.required("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", 0, kMaxRanks);
    launch.size = env.required("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", 1, kMaxRanks);
    check_rank(launch, "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE");
    launch.local_rank = env.optional("OMPI_COMM_WORLD_LOCAL_RANK", 0);
    launch.local_size = env.optional("OMPI_COMM_WORLD_LOCAL_SIZE", 1);
  } else if (env.has("PMI_RANK") && env.has("PMI_SIZE")) {
    launch.kind = LaunchKind::mpi;
    launch.rank = env.required("PMI_RANK", "PMI_SIZE", 0, kMaxRanks);
    launch.size = env.required("PMI_SIZE", "PMI_RANK", 1, kMaxRanks);
    check_rank(launch, "PMI_RANK", "PMI_SIZE");
    launch.local_rank = env.optional("MPI_LOCALRANKID", 0);
    launch.local_size = env.optional("MPI_LOCALNRANKS", 1);
  } else if (is_task_of_srun(env)) {
    launch = of_slurm(env);
  }
  if (const auto port = env.number("ENGINE_PORT", 1, 65535); port && launch.kind != LaunchKind::mpi) {
    launch.port = static_cast<int>(*port);
    launch.num_ports = 1;
  }
  return launch;
}

std::string first_host(const std::string& list) {
  const size_t end = list.find_first_of(",[");
  std::string host = list.substr(0, end);
  if (end == std::string::npos || list[end] == ',') return host;
  const size_t stop = list.find_first_of(",-]", end + 1);
  return stop == std::string::npos ? "" : host + list.substr(end + 1, stop - end - 1);
}

}  // namespace engine
