# Libraries that have no CMake package, as targets. Also part of the installed package, where libengine is static.
# oneDNN's on Debian asks for OpenCL headers that its CPU part does not need.
foreach(library dnnl spng xxhash)
  string(TOUPPER ${library} name)
  find_library(${name}_LIBRARY ${library})
  if(${name}_LIBRARY AND NOT TARGET engine_${library})
    add_library(engine_${library} UNKNOWN IMPORTED GLOBAL)
    set_target_properties(engine_${library} PROPERTIES IMPORTED_LOCATION ${${name}_LIBRARY})
  endif()
endforeach()
