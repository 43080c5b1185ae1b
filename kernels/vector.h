#pragma once
// Private to kernels: what the memory-bound kernels share. Device code, for .cu files only.
//
// Such a kernel is a template over the stored type T and the vector width V: kVector<T> elements, 16 bytes, where the
// pointers and the channels allow it, else 1. The same code serves both.
#include <cstdint>

#include "kernels/gpu.h"
#include "kernels/types.h"

namespace engine::kernels {

inline constexpr int kThreads = 256;
// Enough to fill any GPU. A constant, not the number of multiprocessors: what a kernel computes depends on its
// arguments alone.
inline constexpr int64_t kMostBlocks = 4096;

template <class T>
inline constexpr int kVector = 16 / static_cast<int>(sizeof(T));

// True if every pointer is a multiple of 16 bytes (null is).
template <class... Pointers>
bool aligned16(const Pointers*... pointers) {
  return ((reinterpret_cast<uintptr_t>(pointers) % 16 == 0) && ...);
}

// f(T{}) for the stored type; false for a number that is none.
template <class F>
bool with_type(DataType type, const F& f) {
  switch (type) {
    case DataType::f32:
      return f(float{});
    case DataType::bf16:
      return f(bf16{});
    case DataType::f16:
      return f(f16{});
  }
  return false;
}

// The number of blocks that walk `units` units with `units_per_block` at a time.
inline unsigned blocks_for(int64_t units, int64_t units_per_block) {
  const int64_t blocks = (units + units_per_block - 1) / units_per_block;
  return static_cast<unsigned>(blocks < kMostBlocks ? blocks : kMostBlocks);
}

// V values as f32.
template <int V>
struct Floats {
  float v[V];
  GPU_DEVICE float& operator[](int i) { return v[i]; }
  GPU_DEVICE float operator[](int i) const { return v[i]; }
};

template <int V, class T>
GPU_DEVICE Floats<V> load(const T* from) {
  Floats<V> values;
  if constexpr (V == 1) {
    values[0] = gpu::to_float(*from);
  } else if constexpr (sizeof(T) == 4) {
#pragma unroll
    for (int i = 0; i < V; i += 4) {
      const float4 four = *reinterpret_cast<const float4*>(from + i);
      values[i] = four.x, values[i + 1] = four.y, values[i + 2] = four.z, values[i + 3] = four.w;
    }
  } else {
    static_assert(V == 8, "16 bytes of a half type");
    const uint4 bits = *reinterpret_cast<const uint4*>(from);
    const uint32_t pairs[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const float2 pair = gpu::unpack2<T>(pairs[i]);
      values[2 * i] = pair.x, values[2 * i + 1] = pair.y;
    }
  }
  return values;
}

template <int V, class T>
GPU_DEVICE void store(T* to, const Floats<V>& values) {
  if constexpr (V == 1) {
    *to = gpu::from_float<T>(values[0]);
  } else if constexpr (sizeof(T) == 4) {
#pragma unroll
    for (int i = 0; i < V; i += 4)
      *reinterpret_cast<float4*>(to + i) = make_float4(values[i], values[i + 1], values[i + 2], values[i + 3]);
  } else {
    static_assert(V == 8, "16 bytes of a half type");
    *reinterpret_cast<uint4*>(to) =
        make_uint4(gpu::pack2<T>(values[0], values[1]), gpu::pack2<T>(values[2], values[3]),
                   gpu::pack2<T>(values[4], values[5]), gpu::pack2<T>(values[6], values[7]));
  }
}

// V bytes, packed: 8, 4 or 1.
template <int V>
struct Bytes {
  uint32_t words[(V + 3) / 4];
  GPU_DEVICE int operator[](int i) const { return static_cast<int>(words[i / 4] >> (8 * (i % 4)) & 0xffu); }
};
template <int V>
GPU_DEVICE Bytes<V> load_bytes(const uint8_t* from) {
  if constexpr (V == 8) {
    const uint2 two = *reinterpret_cast<const uint2*>(from);
    return {{two.x, two.y}};
  } else if constexpr (V == 4) {
    return {{*reinterpret_cast<const uint32_t*>(from)}};
  } else {
    return {{*from}};
  }
}
template <int V>
GPU_DEVICE void store_bytes(uint8_t* to, const int (&values)[V]) {
  uint32_t words[(V + 3) / 4] = {};
#pragma unroll
  for (int i = 0; i < V; ++i) words[i / 4] |= static_cast<uint32_t>(values[i]) << (8 * (i % 4));
  if constexpr (V == 8) {
    *reinterpret_cast<uint2*>(to) = make_uint2(words[0], words[1]);
  } else if constexpr (V == 4) {
    *reinterpret_cast<uint32_t*>(to) = words[0];
  } else {
    *to = static_cast<uint8_t>(words[0]);
  }
}

// max(x, 0), but NaN stays NaN: it must reach the loss. (fmaxf would drop it.)
GPU_DEVICE float relu(float x) {
  return x < 0 ? 0.0f : x;
}

// x as it will be once stored.
template <class T>
GPU_DEVICE float rounded(float x) {
  return gpu::to_float(gpu::from_float<T>(x));
}

// How the threads of a block lie over [rows, channels]: `lanes` threads side by side, V channels each, the others in
// further rows. A power of two, so that a block reads whole sectors and can halve its rows to add them up. The grid is
// {blocks of rows, tiles of channels}.
inline int lanes_for(int64_t vectors) {
  int lanes = 1;
  while (lanes < 32 && vectors % (2 * lanes) == 0) lanes *= 2;
  while (lanes < 8 && lanes < vectors) lanes *= 2;
  return lanes;
}

struct ChannelThread {
  int64_t c;    // first of its V channels
  bool active;  // c < channels
  int row, rows;
};
template <int V>
GPU_DEVICE ChannelThread channel_thread(int lanes, int64_t channels) {
  const int lane = static_cast<int>(threadIdx.x) & (lanes - 1);
  const int64_t c = (static_cast<int64_t>(blockIdx.y) * lanes + lane) * V;
  return {c, c < channels, static_cast<int>(threadIdx.x) / lanes, kThreads / lanes};
}

struct ChannelGrid {
  int lanes;
  int64_t tiles;
  dim3 grid(int64_t row_blocks) const { return {static_cast<unsigned>(row_blocks), static_cast<unsigned>(tiles)}; }
  // Row blocks for a walk over all rows.
  int64_t row_blocks(int64_t rows) const {
    const int64_t most = tiles < kMostBlocks ? kMostBlocks / tiles : 1;
    const int64_t needed = (rows * lanes + kThreads - 1) / kThreads;
    return needed < most ? needed : most;
  }
  bool launchable() const { return tiles <= 65535; }
};
template <int V>
ChannelGrid channel_grid(int64_t channels) {
  const int64_t vectors = (channels + V - 1) / V;
  const int lanes = lanes_for(vectors);
  return {lanes, (vectors + lanes - 1) / lanes};
}

}  // namespace engine::kernels
