// Several GPUs by NCCL.
#include <nccl.h>

#include <cstring>
#include <memory>
#include <string>

#include "kernels/cuda/libraries.h"
#include "kernels/cuda/shared_library.h"

namespace engine::kernels {

struct LibraryRanks {
  ncclComm_t communicator = nullptr;
};

}  // namespace engine::kernels

namespace engine::kernels::cuda {
namespace {

static_assert(RankLibrary::kIdBytes == sizeof(ncclUniqueId));

struct Api : LibraryState {
  decltype(&::ncclGetVersion) get_version = nullptr;
  decltype(&::ncclGetErrorString) error_string = nullptr;
  decltype(&::ncclGetUniqueId) unique_id = nullptr;
  decltype(&::ncclCommInitRank) init = nullptr;
  decltype(&::ncclCommAbort) abort = nullptr;
  decltype(&::ncclGroupStart) group_start = nullptr;
  decltype(&::ncclGroupEnd) group_end = nullptr;
  decltype(&::ncclAllReduce) all_reduce = nullptr;
  decltype(&::ncclAllGather) all_gather = nullptr;
};

Api load() {
  Api api;
  SharedLibrary library("ENGINE_NCCL", {"libnccl.so.2", "libnccl.so", "/usr/local/cuda/lib64/libnccl.so.2"});
  const bool complete = library.find("ncclGetVersion", api.get_version) &&
                        library.find("ncclGetErrorString", api.error_string) &&
                        library.find("ncclGetUniqueId", api.unique_id) && library.find("ncclCommInitRank", api.init) &&
                        library.find("ncclCommAbort", api.abort) && library.find("ncclGroupStart", api.group_start) &&
                        library.find("ncclGroupEnd", api.group_end) && library.find("ncclAllReduce", api.all_reduce) &&
                        library.find("ncclAllGather", api.all_gather);
  int version = 0;
  if (!complete || api.get_version(&version) != ncclSuccess) {
    api.problem = library.problem() + "; install NCCL, or name its file in ENGINE_NCCL";
    return api;
  }
  api.set_version(static_cast<size_t>(version));
  return api;
}

const Api& api() {
  static const Api instance = load();
  return instance;
}

Status status_of(ncclResult_t result) {
  if (result == ncclSuccess) return {};
  return {Problem::other, static_cast<int>(result), api().error_string(result)};
}

Status load_library(const char** version) {
  return api().loaded(version);
}

Status unique_id(void* id) {
  ncclUniqueId made;
  const Status status = status_of(api().unique_id(&made));
  if (status.ok()) std::memcpy(id, &made, sizeof made);
  return status;
}

Status join(const void* id, int rank, int size, LibraryRanks** out) {
  ncclUniqueId given;
  std::memcpy(&given, id, sizeof given);
  auto ranks = std::make_unique<LibraryRanks>();
  const Status status = status_of(api().init(&ranks->communicator, size, given, rank));
  *out = status.ok() ? ranks.release() : nullptr;
  return status;
}

void leave(LibraryRanks* ranks) {
  const std::unique_ptr<LibraryRanks> owned(ranks);
  (void)api().abort(owned->communicator);  // ncclCommDestroy would wait for ranks that may be gone
}

}  // namespace

const RankLibrary& nccl() {
  static const RankLibrary table = {
      .name = "NCCL",
      .load = load_library,
      .unique_id = unique_id,
      .join = join,
      .begin_group = [] { return status_of(api().group_start()); },
      .end_group = [] { return status_of(api().group_end()); },
      .sum =
          [](LibraryRanks* ranks, float* data, size_t count, Stream stream) {
            return status_of(api().all_reduce(data, data, count, ncclFloat32, ncclSum, ranks->communicator, stream));
          },
      .all_gather =
          [](LibraryRanks* ranks, const float* mine, float* all, size_t count, Stream stream) {
            return status_of(api().all_gather(mine, all, count, ncclFloat32, ranks->communicator, stream));
          },
      .leave = leave,
  };
  return table;
}

}  // namespace engine::kernels::cuda
