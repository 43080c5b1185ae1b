# cmake --install, the CMake package, pkg-config, and Debian packages by `cpack -G DEB`. docs/install.md shows the use.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(headers DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/libengine COMPONENT development)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/engine)
set(docs_dir ${CMAKE_INSTALL_DATAROOTDIR}/doc/libengine)
file(RELATIVE_PATH up_from_bin ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})
file(RELATIVE_PATH up_from_pc ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})

# Each export is a file of targets. The kernels need nothing that is not theirs, so that they can be used alone.
function(engine_install export)
  install(TARGETS ${ARGN} EXPORT ${export}
    ARCHIVE COMPONENT development
    LIBRARY COMPONENT runtime NAMELINK_COMPONENT development
    FILE_SET HEADERS ${headers})
  install(EXPORT ${export} NAMESPACE engine:: DESTINATION ${package_dir} COMPONENT development)
endfunction()
engine_install(engine-kernels engine_kernels engine_emulator engine_kernels_emulated)
engine_install(engine-libraries engine engine_models)
set_target_properties(engine engine_models engine_kernels_emulated PROPERTIES INSTALL_RPATH $ORIGIN)
if(TARGET engine_emulator_race)  # where it has been built, as the tests do
  install(TARGETS engine_emulator_race EXPORT engine-race ARCHIVE COMPONENT development OPTIONAL)
  install(EXPORT engine-race NAMESPACE engine:: DESTINATION ${package_dir} COMPONENT development)
endif()
if(TARGET engine_kernels_cuda)
  engine_install(engine-cuda engine_kernels_cuda)
endif()

# Commands, and the modules that they and the programs of others load. All find them along their run path.
foreach(command resnet-train resnet-predict resnet-bench resnet-pack)
  if(TARGET ${command})
    set_target_properties(${command} PROPERTIES INSTALL_RPATH $ORIGIN/${up_from_bin})
    if(NOT BUILD_SHARED_LIBS)
      # In the build, too, where CMake would fill up the run path with colons for the installation to replace it. An
      # empty folder in it is the working directory.
      set_target_properties(${command} PROPERTIES BUILD_WITH_INSTALL_RPATH ON)
    endif()
    install(TARGETS ${command} RUNTIME COMPONENT runtime)
  endif()
endforeach()
if(ENGINE_TOOLS)
  install(PROGRAMS tools/pth_to_safetensors.py TYPE BIN COMPONENT runtime)
endif()
foreach(module mpi cuda)
  if(TARGET engine_${module})
    install(TARGETS engine_${module} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT ${module})
  endif()
endforeach()

set(config ${PROJECT_BINARY_DIR}/package/engine-config.cmake)
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/engine-config.cmake.in ${config}
  INSTALL_DESTINATION ${package_dir} PATH_VARS CMAKE_INSTALL_LIBDIR NO_CHECK_REQUIRED_COMPONENTS_MACRO)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/package/engine-config-version.cmake COMPATIBILITY SameMinorVersion)
set(pc_libraries "")
if(NOT BUILD_SHARED_LIBS)
  set(pc_libraries " -ldnnl -lfmt -lspdlog -ljpeg -larchive -lspng -lxxhash -fopenmp -pthread -ldl")
endif()
configure_file(${CMAKE_CURRENT_LIST_DIR}/engine.pc.in ${PROJECT_BINARY_DIR}/package/engine.pc @ONLY)
install(
  FILES ${config} ${PROJECT_BINARY_DIR}/package/engine-config-version.cmake
        ${CMAKE_CURRENT_LIST_DIR}/engine_add_kernels.cmake ${CMAKE_CURRENT_LIST_DIR}/engine_dependencies.cmake
  DESTINATION ${package_dir} COMPONENT development)
install(FILES ${PROJECT_BINARY_DIR}/package/engine.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT development)

install(FILES LICENSE README.md CHANGELOG.md CONTRIBUTING.md DESTINATION ${docs_dir} COMPONENT runtime)
install(DIRECTORY docs DESTINATION ${docs_dir} COMPONENT runtime)
install(FILES bench/README.md bench/results.schema.json DESTINATION ${docs_dir}/bench COMPONENT runtime)
install(DIRECTORY bench/results DESTINATION ${docs_dir}/bench COMPONENT runtime)
install(FILES kernels/README.md DESTINATION ${docs_dir}/kernels COMPONENT runtime)
install(FILES kernels/emulator/README.md DESTINATION ${docs_dir}/kernels/emulator COMPONENT runtime)

# Debian packages: what runs, what is compiled against, and a module each, so that only who wants MPI installs MPI.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME libengine)
set(CPACK_PACKAGE_VENDOR "The engine authors")
set(CPACK_PACKAGE_CONTACT "The engine authors <maintainers@users.noreply.example>")
set(CPACK_RESOURCE_FILE_LICENSE ${PROJECT_SOURCE_DIR}/LICENSE)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_COMPONENTS_ALL runtime development)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_ENABLE_COMPONENT_DEPENDS ON)
set(CPACK_DEBIAN_RUNTIME_PACKAGE_NAME libengine)
set(CPACK_COMPONENT_RUNTIME_DESCRIPTION "Trains residual networks on CPUs and GPUs: commands and libraries")
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_NAME libengine-dev)
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_SECTION libdevel)
set(CPACK_COMPONENT_DEVELOPMENT_DESCRIPTION "Headers and libraries for programs that use libengine")
set(CPACK_COMPONENT_DEVELOPMENT_DEPENDS runtime)
if(BUILD_SHARED_LIBS)
  get_target_property(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS engine BINARY_DIR)
else()
  set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS
    "libdnnl-dev, libfmt-dev, libspdlog-dev, libjpeg-dev, libarchive-dev, libspng-dev, libxxhash-dev")
endif()
foreach(module mpi cuda)
  if(TARGET engine_${module})
    string(TOUPPER ${module} name)
    list(APPEND CPACK_COMPONENTS_ALL ${module})
    set(CPACK_DEBIAN_${name}_PACKAGE_NAME libengine-${module})
    set(CPACK_COMPONENT_${name}_DEPENDS runtime)
  endif()
endforeach()
set(CPACK_COMPONENT_MPI_DESCRIPTION "libengine's ranks that mpirun starts")
set(CPACK_COMPONENT_CUDA_DESCRIPTION "libengine's kernels for NVIDIA GPUs")
include(CPack)
