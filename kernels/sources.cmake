# Device code and its launchers. Each file is compiled by g++ for the emulator (twice: plain, and with the race
# detector's hooks) and, where there is nvcc, for GPUs.
set(ENGINE_KERNEL_SOURCES
  table.cpp
)
list(TRANSFORM ENGINE_KERNEL_SOURCES PREPEND ${CMAKE_CURRENT_LIST_DIR}/)

# The emulator itself, and what only its race build has.
set(ENGINE_EMULATOR_SOURCES
  context.cpp
  origin.cpp
  report.cpp
  settings.cpp
  stacks.cpp
)
set(ENGINE_EMULATOR_RACE_SOURCES
)
list(TRANSFORM ENGINE_EMULATOR_SOURCES PREPEND ${CMAKE_CURRENT_LIST_DIR}/emulator/)
list(TRANSFORM ENGINE_EMULATOR_RACE_SOURCES PREPEND ${CMAKE_CURRENT_LIST_DIR}/emulator/)
