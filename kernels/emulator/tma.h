#pragma once
// The tensor memory accelerator of sm_90: copies of boxes between tensors in global memory and shared memory.
#include <algorithm>

#include "kernels/emulator/thread_view.h"
#include "kernels/gpu/tensor_map.h"

namespace engine::kernels::gpu {

// The encoded form of either tensor; opaque on a GPU.
struct alignas(64) TensorMap {
  bool im2col = false;
  int rank = 0;
  int element_bytes = 2;
  Swizzle swizzle = Swizzle::none;
  char* base = nullptr;
  int64_t dims[5] = {}, stride_bytes[5] = {};
  int box[5] = {};  // im2col: channels, pixels
  int lower[2] = {}, upper[2] = {}, step = 1;
};

// False where the driver refuses the tensor.
bool make_tensor_map(TensorMap* map, const TiledTensor& tensor);
bool make_tensor_map(TensorMap* map, const Im2colTensor& tensor);

}  // namespace engine::kernels::gpu

namespace engine::kernels::emulator {

void tma_load_box(const gpu::TensorMap* map, uint64_t* barrier, void* shared, const int* coordinates, int rank,
                  Site site);
void tma_load_column(const gpu::TensorMap* map, uint64_t* barrier, void* shared, const int* coordinates,
                     const int* offset, Site site);
void tma_store_box(const gpu::TensorMap* map, const void* shared, const int* coordinates, int rank, Site site);
void tma_commit_stores();
void tma_wait_stores(int pending_groups, Site site);

}  // namespace engine::kernels::emulator

namespace engine::kernels::gpu {

template <int RANK>
void tma_load(const TensorMap* map, uint64_t* barrier, void* shared, const int (&c)[RANK],
              emulator::Site site = emulator::Site::current()) {
  static_assert(RANK >= 1 && RANK <= 5, "a tensor map has 1 to 5 dimensions");
  emulator::tma_load_box(map, barrier, shared, c, RANK, site);
}

// One column of an Im2colTensor: from channel c and the position (w, h, n), each pixel moved by `offset`.
inline void tma_load_im2col(const TensorMap* map, uint64_t* barrier, void* shared, const int (&cwhn)[4],
                            const int (&offset_wh)[2], emulator::Site site = emulator::Site::current()) {
  emulator::tma_load_column(map, barrier, shared, cwhn, offset_wh, site);
}

template <int RANK>
void tma_store(const TensorMap* map, const void* shared, const int (&c)[RANK],
               emulator::Site site = emulator::Site::current()) {
  static_assert(RANK >= 1 && RANK <= 5, "a tensor map has 1 to 5 dimensions");
  emulator::tma_store_box(map, shared, c, RANK, site);
}
inline void tma_store_commit() {
  emulator::tma_commit_stores();
}
// Until all but the last N groups have been read from shared memory; no block may end before.
template <int N>
void tma_store_wait_read(emulator::Site site = emulator::Site::current()) {
  emulator::tma_wait_stores(N, site);
}

}  // namespace engine::kernels::gpu
