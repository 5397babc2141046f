# Writes OUTPUT, which defines the commit that SOURCE is at; "" where SOURCE is no checkout of its own.
# Run with every build, because a checkout moves without anything being configured; it touches OUTPUT only where that changes.
set(ENV{GIT_OPTIONAL_LOCKS} 0)
set(commit "")
find_program(git NAMES git)
if(git)
  # Sources inside the checkout of something else have a prefix.
  execute_process(COMMAND ${git} -C ${SOURCE} rev-parse --show-prefix
                  OUTPUT_VARIABLE prefix OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE status ERROR_QUIET)
  if(status EQUAL 0 AND prefix STREQUAL "")
    execute_process(COMMAND ${git} -C ${SOURCE} describe --always --abbrev=12 --exclude=* --dirty
                    OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  endif()
endif()
file(CONFIGURE OUTPUT ${OUTPUT} CONTENT
"#include \"runtime/build_facts.h\"\n\nconst char * const ltx::commit = \"${commit}\";\n")
