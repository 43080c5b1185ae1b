#pragma once
// Every launcher of the library in one table, as a module hands it out. Contracts stand in the families' headers.

namespace engine::kernels {

struct Kernels {};

// The kernels that this table's translation unit was linked with.
const Kernels& kernel_table();

}  // namespace engine::kernels
