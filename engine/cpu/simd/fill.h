#pragma once
// Each file of kernels fills its entries of the table, once per instruction set: ENGINE_SIMD is the namespace of the
// one that this translation unit is compiled for.
#include "engine/cpu/simd/kernels.h"

namespace engine::cpu {

namespace baseline {
void fill_norm(Kernels& table);
void fill_pool(Kernels& table);
void fill_flat(Kernels& table);
void fill_optimizer(Kernels& table);
}  // namespace baseline

namespace avx2 {
void fill_norm(Kernels& table);
void fill_pool(Kernels& table);
void fill_flat(Kernels& table);
void fill_optimizer(Kernels& table);
}  // namespace avx2

namespace avx512 {
void fill_norm(Kernels& table);
void fill_pool(Kernels& table);
void fill_flat(Kernels& table);
void fill_optimizer(Kernels& table);
}  // namespace avx512

}  // namespace engine::cpu
