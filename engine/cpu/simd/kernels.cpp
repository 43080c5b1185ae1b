#include "engine/cpu/simd/kernels.h"

#include "engine/cpu/simd/fill.h"

namespace engine::cpu {
namespace {

Kernels choose() {
  Kernels table{};
#if defined(ENGINE_CPU_X86_64)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl")) {
    table.isa = "AVX-512";
    avx512::fill_norm(table);
    avx512::fill_pool(table);
    avx512::fill_flat(table);
    avx512::fill_optimizer(table);
    return table;
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    table.isa = "AVX2";
    avx2::fill_norm(table);
    avx2::fill_pool(table);
    avx2::fill_flat(table);
    avx2::fill_optimizer(table);
    return table;
  }
#endif
  table.isa = "baseline";
  baseline::fill_norm(table);
  baseline::fill_pool(table);
  baseline::fill_flat(table);
  baseline::fill_optimizer(table);
  return table;
}

}  // namespace

const Kernels& kernels_for_this_cpu() {
  static const Kernels table = choose();
  return table;
}

}  // namespace engine::cpu
