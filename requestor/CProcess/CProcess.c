// What Swift cannot call: fork, pipe2, prctl and close_range. Everything between fork and exec is async-signal-safe.
#define _GNU_SOURCE
#include "CProcess.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __GLIBC__
#include <malloc.h>
#endif
#ifdef __linux__
#include <sys/prctl.h>
#include <sys/syscall.h>
#endif

static void close_pair(int pair[2]) {
    close(pair[0]);
    close(pair[1]);
}

static int make_pipe(int ends[2]) {
#ifdef __linux__
    return pipe2(ends, O_CLOEXEC);
#else
    if (pipe(ends) != 0) return -1;
    fcntl(ends[0], F_SETFD, FD_CLOEXEC);
    fcntl(ends[1], F_SETFD, FD_CLOEXEC);
    return 0;
#endif
}

// Every file of ours is close-on-exec; this is for what a library has opened otherwise. `keep` stays.
static void close_others(int keep) {
#if defined(__linux__) && defined(SYS_close_range)
    if ((keep <= 3 || syscall(SYS_close_range, 3, keep - 1, 0) == 0) && syscall(SYS_close_range, keep + 1, ~0U, 0) == 0)
        return;
#endif
    for (int file = 3; file < 1024; file++)
        if (file != keep) close(file);
}

// In the child: never returns.
static void become(
    const char *executable, char *const *arguments, char *const *environment, const char *directory, int output,
    int errors, int failure) {
    for (int number = 1; number < 32; number++) signal(number, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, 0);

    int input = open("/dev/null", O_RDONLY);
    if (input >= 0 && dup2(input, 0) == 0 && dup2(output, 1) == 1 && dup2(errors, 2) == 2 && chdir(directory) == 0) {
        close_others(failure);
        execve(executable, arguments, environment);
    }
    int number = errno;
    while (write(failure, &number, sizeof number) < 0 && errno == EINTR) {}
    _exit(127);
}

int child_process_start(
    const char *executable, char *const *arguments, const char *directory, struct child_process *child) {
    int output[2], errors[2], failure[2];
    if (make_pipe(output) != 0) return errno;
    if (make_pipe(errors) != 0) {
        int number = errno;
        close_pair(output);
        return number;
    }
    if (make_pipe(failure) != 0) {
        int number = errno;
        close_pair(output);
        close_pair(errors);
        return number;
    }
    // No handler of ours may run in the child before it has become another program.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t process = fork();
    int number = errno;
    if (process == 0) {
#ifdef __linux__
        pid_t parent = getppid();
        // A parent that was gone before this line would not be noticed by it.
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() != parent) _exit(127);
#endif
        setpgid(0, 0);
        char *const environment[] = {0};
        become(executable, arguments, environment, directory, output[1], errors[1], failure[1]);
    }
    pthread_sigmask(SIG_SETMASK, &before, 0);
    close(output[1]);
    close(errors[1]);
    close(failure[1]);
    if (process > 0) {
        // Both set it, so that it is set whoever comes first.
        setpgid(process, process);
        ssize_t got;
        while ((got = read(failure[0], &number, sizeof number)) < 0 && errno == EINTR) {}
        if (got == 0) {
            close(failure[0]);
            fcntl(output[0], F_SETFL, O_NONBLOCK);
            fcntl(errors[0], F_SETFL, O_NONBLOCK);
            child->process = process;
            child->output = output[0];
            child->errors = errors[0];
            return 0;
        }
        int status;
        while (waitpid(process, &status, 0) < 0 && errno == EINTR) {}
    }
    close(failure[0]);
    close(output[0]);
    close(errors[0]);
    return number;
}

int detached_process_start(
    const char *executable, char *const *arguments, char *const *environment, const char *directory, int output,
    pid_t *started) {
    int failure[2];
    if (make_pipe(failure) != 0) return errno;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t process = fork();
    int number = errno;
    if (process == 0) {
        setsid();
        become(executable, arguments, environment, directory, output, output, failure[1]);
    }
    pthread_sigmask(SIG_SETMASK, &before, 0);
    close(failure[1]);
    if (process > 0) {
        ssize_t got;
        while ((got = read(failure[0], &number, sizeof number)) < 0 && errno == EINTR) {}
        if (got == 0) {
            close(failure[0]);
            *started = process;
            return 0;
        }
        int status;
        while (waitpid(process, &status, 0) < 0 && errno == EINTR) {}
    }
    close(failure[0]);
    return number;
}

void process_limit_arenas(int count) {
#ifdef __GLIBC__
    mallopt(M_ARENA_MAX, count);
#else
    (void)count;
#endif
}
