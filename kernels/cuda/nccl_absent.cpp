// NCCL where its header was not there to compile against.
#include "kernels/cuda/libraries.h"

namespace engine::kernels::cuda {

const RankLibrary& nccl() {
  static constexpr Status kAbsent = {Problem::unsupported, 0,
                                     "this build was compiled without NCCL's header; install it (nccl.h) and configure "
                                     "again"};
  static const RankLibrary table = {
      .name = "NCCL",
      .load =
          [](const char** version) {
            *version = "";
            return kAbsent;
          },
      .unique_id = [](void*) { return kAbsent; },
      .join =
          [](const void*, int, int, LibraryRanks** out) {
            *out = nullptr;
            return kAbsent;
          },
      .begin_group = [] { return kAbsent; },
      .end_group = [] { return kAbsent; },
      .sum = [](LibraryRanks*, float*, size_t, Stream) { return kAbsent; },
      .all_gather = [](LibraryRanks*, const float*, float*, size_t, Stream) { return kAbsent; },
      .leave = [](LibraryRanks*) {},
  };
  return table;
}

}  // namespace engine::kernels::cuda
