// Arrays by MPI: each rank adds one part of the array up, and all parts go to all. Every rank sends and receives
// 2*(N-1)/N times the array, whatever the number of ranks, and the order of addition is that of the ranks.
#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <vector>

#include "engine/dist/communicator.h"
#include "engine/dist/mpi_module.h"
#include "engine/dist/transport.h"
#include "engine/error.h"
#include "engine/module_file.h"

namespace engine::dist {
namespace {

constexpr const char* kFile = "libengine_mpi.so";
constexpr int64_t kBusyTurns = 200;
constexpr size_t kMostFloats = size_t{1} << 26;  // of a transfer, which counts its bytes in an int

// Null if it cannot be used; `reason` then says why and what to do.
const MpiModule* load_module(std::string* reason) {
  std::string searched;
  const std::string path =
      find_module(kFile, "ENGINE_MPI_MODULE", reinterpret_cast<const void*>(&start_mpi), &searched);
  // Open MPI's own plug-ins look for its symbols among the global ones. A bare name: along the run path, too.
  void* const handle = dlopen(path.empty() ? kFile : path.c_str(), RTLD_NOW | RTLD_GLOBAL);
  if (handle == nullptr && path.empty()) {
    *reason = std::string(kFile) + " is missing (searched: " + searched +
              " and the system's library path): install libopenmpi-dev and build again, or start ranks with RANK, "
              "WORLD_SIZE, MASTER_ADDR and MASTER_PORT";
    return nullptr;
  }
  if (handle == nullptr) {
    const char* error = dlerror();
    *reason =
        path + " cannot be loaded: " + (error ? error : "no reason given") + "; install the MPI that it was built with";
    return nullptr;
  }
  auto* const entry = reinterpret_cast<EngineMpiModule*>(dlsym(handle, "engine_mpi_module"));
  const MpiModule* const module = entry ? entry() : nullptr;
  if (module != nullptr && module->abi == kMpiModuleAbi) return module;
  *reason = path + " belongs to another version of this library; build or install both together";
  return nullptr;
}

const MpiModule& module_for_mpirun() {
  std::string reason;
  const MpiModule* const module = load_module(&reason);
  if (module == nullptr) fail(ErrorKind::device, "ranks: mpirun started this process, but ", reason);
  return *module;
}

class Mpi final : public Transport {
 public:
  explicit Mpi(const Launch& launch) : module_(module_for_mpirun()) {
    check("starting", module_.init(&rank_, &size_));
    if (rank_ != launch.rank || size_ != launch.size) {
      fail(ErrorKind::device, "ranks: this process was started as rank ", launch.rank, " of ", launch.size, ", but ",
           module_.library, " takes it for rank ", rank_, " of ", size_,
           "; use the mpirun of the MPI that libengine_mpi.so was built with");
    }
  }

  const char* name() const override { return "MPI"; }

  void sum(std::span<float> values, const KeepWaitingFor& keep_waiting) override {
    for (size_t at = 0; at < values.size(); at += kMostFloats)
      sum_piece(values.subspan(at, std::min(kMostFloats, values.size() - at)), keep_waiting);
  }

  void all_gather(std::span<const float> mine, std::span<float> all, const KeepWaitingFor& keep_waiting) override {
    std::vector<Transfer> transfers;
    for (int rank = 0; rank < size_; ++rank) {
      const std::span<float> place = all.subspan(static_cast<size_t>(rank) * mine.size(), mine.size());
      if (rank == rank_) {
        std::copy(mine.begin(), mine.end(), place.begin());
        continue;
      }
      transfers.push_back(receive(place, rank));
      transfers.push_back(send(mine, rank));
    }
    wait(transfers, keep_waiting);
  }

  std::string broadcast(const std::string& text) override {
    size_t size = text.size();
    check("broadcasting", module_.broadcast(&size, sizeof size));
    std::string result = text;
    result.resize(size);
    check("broadcasting", module_.broadcast(result.data(), size));
    return result;
  }

  void finish() override { check("ending", module_.finish()); }

 private:
  struct Transfer {
    MpiTransfer* handle = nullptr;  // null: over
    int rank = 0;
  };

  void check(const char* what, int error) const {
    if (error == 0) return;
    char text[256] = {};
    module_.error_text(error, text, sizeof text);
    fail(ErrorKind::peer, "ranks: ", what, " by MPI failed: ", text);
  }

  std::span<float> part(std::span<float> values, int rank) const {
    const size_t count = values.size(), ranks = static_cast<size_t>(size_), r = static_cast<size_t>(rank);
    return values.subspan(count * r / ranks, count * (r + 1) / ranks - count * r / ranks);
  }

  Transfer send(std::span<const float> data, int to) const {
    Transfer transfer{.rank = to};
    check("sending", module_.send(data.data(), data.size_bytes(), to, &transfer.handle));
    return transfer;
  }
  Transfer receive(std::span<float> data, int from) const {
    Transfer transfer{.rank = from};
    check("receiving", module_.receive(data.data(), data.size_bytes(), from, &transfer.handle));
    return transfer;
  }

  void wait(std::vector<Transfer>& transfers, const KeepWaitingFor& keep_waiting) const {
    for (int64_t turn = 0;; ++turn) {
      const Transfer* waiting = nullptr;
      for (Transfer& transfer : transfers) {
        if (transfer.handle == nullptr) continue;
        int done = 0;
        check("a transfer", module_.test(transfer.handle, &done));
        if (done != 0) transfer.handle = nullptr;
        if (done == 0 && waiting == nullptr) waiting = &transfer;
      }
      if (waiting == nullptr) return;
      keep_waiting(waiting->rank);
      // MPI moves data while it is asked only; after a while the processor is better left to a rank that computes.
      if (turn > kBusyTurns) std::this_thread::sleep_for(std::chrono::microseconds(50));
    }
  }

  void sum_piece(std::span<float> values, const KeepWaitingFor& keep_waiting) {
    const std::span<float> own = part(values, rank_);
    received_.resize(own.size() * static_cast<size_t>(size_));
    const auto from = [&](int rank) {
      return std::span(received_).subspan(own.size() * static_cast<size_t>(rank), own.size());
    };
    std::vector<Transfer> transfers;
    for (int rank = 0; rank < size_; ++rank) {
      if (rank == rank_) continue;
      transfers.push_back(receive(from(rank), rank));
      transfers.push_back(send(part(values, rank), rank));
    }
    std::copy(own.begin(), own.end(), from(rank_).begin());
    wait(transfers, keep_waiting);
    std::copy_n(from(0).begin(), own.size(), own.begin());
    for (int rank = 1; rank < size_; ++rank)
      for (size_t i = 0; i < own.size(); ++i) own[i] += from(rank)[i];
    transfers.clear();
    for (int rank = 0; rank < size_; ++rank) {
      if (rank == rank_) continue;
      transfers.push_back(receive(part(values, rank), rank));
      transfers.push_back(send(own, rank));
    }
    wait(transfers, keep_waiting);
  }

  const MpiModule& module_;
  int rank_ = 0, size_ = 1;
  std::vector<float> received_;
};

}  // namespace

std::unique_ptr<Transport> start_mpi(const Launch& launch) {
  return std::make_unique<Mpi>(launch);
}

}  // namespace engine::dist

namespace engine {

std::string describe_mpi() {
  std::string reason;
  const dist::MpiModule* const module = dist::load_module(&reason);
  if (module == nullptr) return "not used: " + reason;
  const std::string library = module->library;
  return library.substr(0, library.find(',')) + ", for ranks that mpirun starts";
}

}  // namespace engine
