# Debian's cross compiler for 64-bit ARM, and the headers of Python in LTX2CPP_SYSROOT (tools/checks/aarch64.sh).
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
# Debian's header of Python includes another one by its folder, for each kind of processor.
set(CMAKE_CXX_FLAGS_INIT "-idirafter ${LTX2CPP_SYSROOT}/usr/include")
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES LTX2CPP_SYSROOT)
