# engine_warn_of_conda(FILE...): warns of those files found that come from the active conda environment while the
# compiler does not. conda stands first in PATH: the system's compiler then calls conda's `ld`, and CMake finds conda's
# libraries, made for another C++ library. Either fails at the link, in words that do not say so.
function(engine_warn_of_conda)
  set(conda $ENV{CONDA_PREFIX})
  if(NOT conda)
    return()
  endif()
  execute_process(COMMAND ${CMAKE_CXX_COMPILER} -print-prog-name=ld OUTPUT_VARIABLE linker OUTPUT_STRIP_TRAILING_WHITESPACE)
  if(linker STREQUAL "ld")  # the compiler takes the first in PATH
    find_program(first ld NO_CACHE)
    set(linker ${first})
  endif()
  set(mixed "")
  foreach(file IN LISTS CMAKE_CXX_COMPILER linker ARGN)
    cmake_path(IS_PREFIX conda "${file}" NORMALIZE from_conda)
    if(from_conda AND file STREQUAL CMAKE_CXX_COMPILER)
      return()
    elseif(from_conda)
      list(APPEND mixed ${file})
    endif()
  endforeach()
  if(mixed)
    list(REMOVE_DUPLICATES mixed)
    list(JOIN mixed ", " mixed)
    message(WARNING "The compiler is ${CMAKE_CXX_COMPILER}, but the active conda environment adds ${mixed}, and the link may "
      "fail: run `conda deactivate` and configure in an empty folder.")
  endif()
endfunction()
