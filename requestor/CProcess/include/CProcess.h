#ifndef CPROCESS_H
#define CPROCESS_H

#include <sys/types.h>

/// A started process and our ends of its pipes.
struct child_process {
    pid_t process;
    int output;  // its stdout: to read, does not block, close-on-exec
    int errors;  // its stderr, likewise
};

/// Starts a program as a child of the calling thread.
///
/// The child has a process group of its own, an empty environment, /dev/null as stdin, the two pipes as stdout and stderr,
/// no other open file, default signal handling and no blocked signal. On Linux it is killed when the calling thread
/// ends, which must therefore stay until the child has ended.
///
/// executable: an absolute path; arguments: argv, with argv[0] and a final NULL; directory: its working directory.
/// Returns 0, or an errno, of starting as of exec.
int child_process_start(
    const char *executable, char *const *arguments, const char *directory, struct child_process *child);

/// Starts a program that outlives this one: in a session of its own, so that neither the end of this process nor Ctrl-C in
/// its terminal reaches it.
///
/// It has /dev/null as stdin, `output` as stdout and stderr, no other open file, default signal handling and no blocked
/// signal. It is a child of this process as long as that lives, which is to wait for it (waitpid).
///
/// executable: an absolute path; arguments: argv, with argv[0] and a final NULL; environment: likewise; directory: its
/// working directory. Returns 0, or an errno, of starting as of exec.
int detached_process_start(
    const char *executable, char *const *arguments, char *const *environment, const char *directory, int output,
    pid_t *started);

/// Lets glibc's allocator keep freed memory in at most so many arenas; elsewhere nothing.
void process_limit_arenas(int count);

#endif
