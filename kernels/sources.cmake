# Device code and its launchers. Each file is compiled by g++ for the emulator (twice: plain, and with the race
# detector's hooks) and, where there is nvcc, for GPUs.
set(ENGINE_KERNEL_SOURCES
  batch_norm.cu
  batch_norm_backward.cu
  batch_norm_finalize.cu
  batch_norm_pool.cu
  column_sum.cu
  convert.cu
  convolution_dgrad.cu
  convolution_dgrad_bf16.cu
  convolution_dgrad_f16.cu
  convolution_dgrad_f32.cu
  convolution_fprop.cu
  convolution_fprop_bf16.cu
  convolution_fprop_f16.cu
  convolution_fprop_f32.cu
  convolution_wgrad.cu
  convolution_wgrad_bf16.cu
  convolution_wgrad_f16.cu
  convolution_wgrad_f32.cu
  elementwise.cu
  global_pool.cu
  gradient_norm.cu
  images.cu
  layout.cu
  linear.cu
  linear_half.cu
  loss.cu
  model_average.cu
  non_finite.cu
  optimizer.cu
  pooling.cu
  table.cpp
)
list(TRANSFORM ENGINE_KERNEL_SOURCES PREPEND ${CMAKE_CURRENT_LIST_DIR}/)

# The emulator itself, and what only its race build has.
set(ENGINE_EMULATOR_SOURCES
  arena.cpp
  atomics.cpp
  barrier.cpp
  context.cpp
  cp_async.cpp
  global_access.cpp
  launch.cpp
  matrix.cpp
  mbarrier.cpp
  multiply.cpp
  origin.cpp
  pool.cpp
  report.cpp
  runtime.cpp
  settings.cpp
  shared_memory.cpp
  stacks.cpp
  store_matrix.cpp
  stream.cpp
  tensor_map.cpp
  tma.cpp
  tma_box.cpp
  warp.cpp
  wgmma.cpp
  wgmma_product.cpp
  worker.cpp
)
set(ENGINE_EMULATOR_RACE_SOURCES
  race/clock.cpp
  race/global_memory.cpp
  race/hooks.cpp
  race/shared_shadow.cpp
)
list(TRANSFORM ENGINE_EMULATOR_SOURCES PREPEND ${CMAKE_CURRENT_LIST_DIR}/emulator/)
list(TRANSFORM ENGINE_EMULATOR_RACE_SOURCES PREPEND ${CMAKE_CURRENT_LIST_DIR}/emulator/)
