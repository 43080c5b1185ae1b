# cmake -DOUTPUT=FILE -DSOURCE_DIR=DIR -P write_commit.cmake: the definition of bench/commit.h, written only when it
# changes, so that a new commit compiles this one file.
cmake_minimum_required(VERSION 3.25)
set(ENV{GIT_OPTIONAL_LOCKS} 0)
execute_process(COMMAND git -C ${SOURCE_DIR} describe --always --abbrev=12 --dirty --exclude=*
  OUTPUT_VARIABLE commit RESULT_VARIABLE failed OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(failed)
  set(commit unknown)
endif()
file(CONFIGURE OUTPUT ${OUTPUT} CONTENT
"#include \"bench/commit.h\"

const char* engine::bench::commit() {
  return \"${commit}\";
}
")
