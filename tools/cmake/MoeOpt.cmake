# Helpers of this project's CMake files.

set(MOE_SANITIZE "" CACHE STRING "Sanitizers, as -fsanitize= takes them")

# Flags that every target of ours gets. Debian's LLVM has assertions off; ours
# stay on (NDEBUG is not part of LLVM's binary interface).
add_library(moe_flags INTERFACE)
target_compile_options(moe_flags INTERFACE -Wall -Wextra
                       -Wno-unused-parameter -Wno-comment)
if(MOE_ENABLE_ASSERTIONS)
  target_compile_options(moe_flags INTERFACE -UNDEBUG)
endif()
if(MOE_SANITIZE)
  target_compile_options(moe_flags INTERFACE -fsanitize=${MOE_SANITIZE}
                         -fno-sanitize=vptr -fno-omit-frame-pointer)
  target_link_options(moe_flags INTERFACE -fsanitize=${MOE_SANITIZE})
endif()

# moe_library(NAME SOURCES... [LINK LIBS...] [DEPENDS TARGETS...])
#   A static library of compiler code: MLIR's headers, libMLIR.so.
function(moe_library name)
  cmake_parse_arguments(ARG "" "" "LINK;DEPENDS" ${ARGN})
  add_library(${name} STATIC ${ARG_UNPARSED_ARGUMENTS})
  target_include_directories(${name} SYSTEM PUBLIC ${LLVM_INCLUDE_DIRS}
                             ${MLIR_INCLUDE_DIRS})
  target_link_libraries(${name} PUBLIC moe_flags ${ARG_LINK} MLIR LLVM)
  target_link_directories(${name} PUBLIC ${LLVM_LIBRARY_DIR})
  if(ARG_DEPENDS)
    add_dependencies(${name} ${ARG_DEPENDS})
  endif()
endfunction()

# moe_tool(NAME SOURCES... [LINK LIBS...]): a program linked against libMLIR.so.
function(moe_tool name)
  cmake_parse_arguments(ARG "" "" "LINK" ${ARGN})
  add_executable(${name} ${ARG_UNPARSED_ARGUMENTS})
  target_include_directories(${name} SYSTEM PRIVATE ${LLVM_INCLUDE_DIRS}
                             ${MLIR_INCLUDE_DIRS})
  target_link_libraries(${name} PRIVATE moe_flags ${ARG_LINK} MLIR LLVM)
  target_link_directories(${name} PRIVATE ${LLVM_LIBRARY_DIR})
  set_target_properties(${name} PROPERTIES BUILD_RPATH ${LLVM_LIBRARY_DIR}
                        INSTALL_RPATH ${LLVM_LIBRARY_DIR})
  install(TARGETS ${name} RUNTIME DESTINATION bin)
endfunction()
