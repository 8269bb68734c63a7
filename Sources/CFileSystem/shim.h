// What Glibc's Swift module leaves out: statfs(2).
#if defined(__linux__)
#include <sys/vfs.h>
#endif
