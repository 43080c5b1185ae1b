# engine_add_kernels(TARGET [RACE] FILE.cu...): device code of your own, written as docs/writing-kernels.md says.
#
# Each file is compiled twice and added to the target: as C++ for the emulator, and, where the project has enabled the
# language CUDA, by nvcc for GPUs. The target and what links it then have ENGINE_KERNELS_BY_NVCC defined. Both are in one
# program, so a launcher is declared `template <kernels::Platform>`: kernels/platform.h. Part of the package, too.
#
# With RACE it is compiled once, for the emulator with the race detector. That is for tests that link no other emulator,
# neither engine::engine nor engine::kernels_emulated.

# Sets the options of device code in the caller, by compiler, and the GPUs that it is for unless others are named.
macro(engine_device_code_options)
  # On x86-64, what runs on the emulator needs AVX2 and F16C, as every processor since 2013 has.
  set(ENGINE_EMULATED_OPTIONS "")
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64)$")
    set(ENGINE_EMULATED_OPTIONS -march=x86-64-v3)
  endif()
  # #pragma unroll is nvcc's; a tensor map as a parameter is aligned to 64 bytes.
  set(ENGINE_DEVICE_OPTIONS_CXX -Wno-unknown-pragmas -Wno-psabi)
  # The race detector learns of each access. -O1: where it inlines less, reports name more precise lines.
  set(ENGINE_RACE_OPTIONS -O1 -g1 -fsanitize=thread)
  set(ENGINE_DEVICE_OPTIONS_CUDA -std=c++20 -lineinfo)  # CMake 3.25 knows no CUDA_STANDARD above 17
  # Machine code for both, and PTX of the first, which the driver of every newer GPU compiles.
  set(ENGINE_CUDA_ARCHITECTURES 80 90a-real)
endmacro()

function(engine_add_kernels target)
  cmake_parse_arguments(PARSE_ARGV 1 ARG RACE "" "")
  if(NOT TARGET ${target} OR NOT ARG_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "engine_add_kernels(${target} ${ARGN}): expected a target of this project and its .cu files.")
  endif()
  engine_device_code_options()
  set(emulator engine::emulator)
  set(options ${ENGINE_EMULATED_OPTIONS} ${ENGINE_DEVICE_OPTIONS_CXX})
  if(ARG_RACE)
    set(emulator engine::emulator_race)
    list(APPEND options ${ENGINE_RACE_OPTIONS})
    if(NOT TARGET ${emulator})
      message(FATAL_ERROR "engine_add_kernels(${target} RACE ...): this engine has no emulator with the race detector. "
        "Build the target engine_emulator_race before the installation; a build with sanitizers has none.")
    endif()
  endif()
  set(with_cuda OFF)
  if(CMAKE_CUDA_COMPILER_LOADED AND NOT ARG_RACE)  # enabled here, and not only inside of engine
    set(with_cuda ON)
  endif()
  foreach(file IN LISTS ARG_UNPARSED_ARGUMENTS)
    cmake_path(ABSOLUTE_PATH file BASE_DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR} NORMALIZE)
    if(NOT EXISTS ${file})
      message(FATAL_ERROR "engine_add_kernels(${target} ...): there is no file ${file}.")
    endif()
    # A .cu file is of one language in a directory; the emulator's is a .cpp file that includes it.
    cmake_path(GET file STEM LAST_ONLY name)
    set(unit ${CMAKE_CURRENT_BINARY_DIR}/${target}_emulated/${name}.cpp)
    file(CONFIGURE OUTPUT ${unit} CONTENT "#include \"${file}\"\n" @ONLY)
    set_source_files_properties(${unit} PROPERTIES COMPILE_OPTIONS "${options}")
    target_sources(${target} PRIVATE ${unit})
    if(with_cuda)
      set_source_files_properties(${file} PROPERTIES LANGUAGE CUDA COMPILE_OPTIONS "${ENGINE_DEVICE_OPTIONS_CUDA}")
      target_sources(${target} PRIVATE ${file})
    endif()
  endforeach()

  # Properties rather than target_link_libraries(), which could not be mixed with a call of the other signature.
  set_property(TARGET ${target} APPEND PROPERTY LINK_LIBRARIES ${emulator})
  set_property(TARGET ${target} APPEND PROPERTY INTERFACE_LINK_LIBRARIES ${emulator})
  if(with_cuda)
    target_compile_definitions(${target} PUBLIC ENGINE_KERNELS_BY_NVCC)
    # 52 and 75 are what CMake takes if nobody has chosen. The kernels' language begins with sm_80.
    if(CMAKE_CUDA_ARCHITECTURES MATCHES "^(52|75)?$")
      set_property(TARGET ${target} PROPERTY CUDA_ARCHITECTURES ${ENGINE_CUDA_ARCHITECTURES})
    endif()
  endif()
endfunction()
