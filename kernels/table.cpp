#include "kernels/table.h"

namespace engine::kernels {

const Kernels& kernel_table() {
  static const Kernels table = {};
  return table;
}

}  // namespace engine::kernels
