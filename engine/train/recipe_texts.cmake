# Makes ${CMAKE_CURRENT_BINARY_DIR}/recipe_texts.cpp of recipes/*.json here when the build is configured; it is configured again
# when one of them changes, comes or goes.
file(GLOB files CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/recipes/*.json)
set(entries "")
foreach(file ${files})
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${file})
  get_filename_component(name ${file} NAME_WLE)
  file(READ ${file} text)
  string(APPEND entries "      {\"${name}\", R\"recipe(${text})recipe\"},\n")
endforeach()
file(CONFIGURE OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/recipe_texts.cpp @ONLY CONTENT
"#include \"engine/train/recipe_texts.h\"

namespace engine {

std::vector<std::pair<std::string_view, std::string_view>> recipe_texts() {
  return {
@entries@  };
}

}  // namespace engine
")
target_sources(engine PRIVATE ${CMAKE_CURRENT_BINARY_DIR}/recipe_texts.cpp)
