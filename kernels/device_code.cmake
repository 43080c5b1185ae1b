# How device code (.cu files) is compiled: by g++ for the emulator, and by nvcc where ENGINE_CUDA finds it.

# Makes the .cu files among the sources C++ in the calling directory.
function(engine_emulated_sources)
  set(sources ${ARGN})
  list(FILTER sources INCLUDE REGEX "\\.cu$")
  set_source_files_properties(${sources} PROPERTIES LANGUAGE CXX)
endfunction()

# What runs on the emulator, and what is device code.
engine_device_code_options()
add_library(engine_emulated_code INTERFACE)
target_compile_options(engine_emulated_code INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:${ENGINE_EMULATED_OPTIONS}>")
add_library(engine_device_code INTERFACE)
target_compile_options(engine_device_code INTERFACE
  "$<$<COMPILE_LANGUAGE:CXX>:${ENGINE_DEVICE_OPTIONS_CXX}>"
  "$<$<COMPILE_LANGUAGE:CUDA>:${ENGINE_DEVICE_OPTIONS_CUDA}>"
  "$<$<COMPILE_LANGUAGE:CUDA>:SHELL:-Werror all-warnings>"
  "$<$<COMPILE_LANGUAGE:CUDA>:SHELL:-Xptxas -warn-spills>")

add_library(engine_race_hooks INTERFACE)
target_compile_options(engine_race_hooks INTERFACE ${ENGINE_RACE_OPTIONS})

include(${CMAKE_CURRENT_LIST_DIR}/../cmake/cuda_compiler.cmake)
engine_enable_cuda()
