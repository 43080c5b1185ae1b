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

# -O1: where it inlines less, reports name more precise lines.
add_library(engine_race_hooks INTERFACE)
target_compile_options(engine_race_hooks INTERFACE -O1 -g1 -fsanitize=thread)

set(ENGINE_CUDA AUTO CACHE STRING "Build libengine_cuda.so with nvcc: AUTO (if there is one), ON or OFF")
set_property(CACHE ENGINE_CUDA PROPERTY STRINGS AUTO ON OFF)
if(NOT ENGINE_CUDA MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "ENGINE_CUDA=${ENGINE_CUDA} has to be AUTO, ON or OFF.")
endif()
set(ENGINE_WITH_CUDA OFF)
set(oldest_nvcc 12.5)  # cudaGetDriverEntryPointByVersion

if(NOT ENGINE_CUDA STREQUAL "OFF")
  if(ENGINE_SANITIZE)
    set(reason "ENGINE_SANITIZE=${ENGINE_SANITIZE} is for host code")
  else()
    include(CheckLanguage)
    if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
      find_program(ENGINE_NVCC nvcc PATHS /usr/local/cuda/bin)
      if(ENGINE_NVCC)
        set(ENV{CUDACXX} ${ENGINE_NVCC})
      endif()
    endif()
    check_language(CUDA)
    if(CMAKE_CUDA_COMPILER)
      set(CMAKE_CUDA_ARCHITECTURES ${ENGINE_CUDA_ARCHITECTURES} CACHE STRING "GPUs that libengine_cuda.so has machine code for")
      enable_language(CUDA)
      if(CMAKE_CUDA_COMPILER_VERSION VERSION_LESS ${oldest_nvcc})
        set(reason "${CMAKE_CUDA_COMPILER} is version ${CMAKE_CUDA_COMPILER_VERSION}, it has to be ${oldest_nvcc} or newer")
      else()
        set(ENGINE_WITH_CUDA ON)
      endif()
    else()
      set(reason "no nvcc that works in PATH, /usr/local/cuda/bin or CUDACXX")
    endif()
  endif()
endif()

if(ENGINE_WITH_CUDA)
  if(PROJECT_IS_TOP_LEVEL AND CCACHE AND NOT CMAKE_CUDA_COMPILER_LAUNCHER)
    set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE})
  endif()
  list(JOIN CMAKE_CUDA_ARCHITECTURES ", " architectures)
  message(STATUS "CUDA: libengine_cuda.so by nvcc ${CMAKE_CUDA_COMPILER_VERSION} for ${architectures}")
elseif(ENGINE_CUDA STREQUAL "OFF")
  message(STATUS "CUDA: no libengine_cuda.so, ENGINE_CUDA=OFF")
elseif(ENGINE_CUDA STREQUAL "AUTO")
  message(STATUS "CUDA: no libengine_cuda.so, ${reason}")
else()
  message(FATAL_ERROR "ENGINE_CUDA=${ENGINE_CUDA} cannot be met: ${reason}. Install the CUDA toolkit, or configure with ENGINE_CUDA=OFF.")
endif()
