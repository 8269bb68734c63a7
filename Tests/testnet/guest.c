// What a Golem virtual machine looks like from inside, for one process: the image's root with an overlay of its own,
// volumes bound at their paths, /proc /sys /dev /tmp, no network, no environment, nothing on stdin.
//
//     guest [-C FOLDER] [-v FOLDER:PATH]... ROOT PROGRAM [ARGUMENT]...
//
// The exit code is the program's, or the bare number of the signal that ended it, as ya-runtime-vm reports it: 9 stands
// for a program that could not be started, too. Needs root, or a kernel that lets users make namespaces.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SETUP_FAILED = 250, MAXIMUM_VOLUMES = 32 };

static void fail(const char *what, const char *of) {
    dprintf(2, "guest: %s %s: %s\n", what, of, strerror(errno));
    _exit(SETUP_FAILED);
}

static void write_file(const char *path, const char *text) {
    int file = open(path, O_WRONLY);
    if (file < 0 || write(file, text, strlen(text)) < 0) fail("cannot write", path);
    close(file);
}

static void inside(char *path, size_t size, const char *root, const char *name) {
    if (snprintf(path, size, "%s/%s", root, name) >= (int)size) {
        errno = ENAMETOOLONG;
        fail("path", name);
    }
}

static void make_folders(char *path) {
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        mkdir(path, 0755);
        *slash = '/';
    }
    mkdir(path, 0755);
}

static int status_of(int status) { return WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status); }

// Waits for `child` and for whatever it leaves behind; returns the code of `child`.
static int reap(pid_t child) {
    int status, code = SETUP_FAILED;
    for (pid_t ended; (ended = wait(&status)) > 0 || errno == EINTR;)
        if (ended == child) {
            code = status_of(status);
            break;
        }
    return code;
}

int main(int argc, char **argv) {
    const char *folder = "/", *volumes[MAXIMUM_VOLUMES];
    int count = 0, option;
    while ((option = getopt(argc, argv, "+C:v:")) != -1) {
        if (option == 'C') folder = optarg;
        else if (option == 'v' && count < MAXIMUM_VOLUMES && strchr(optarg, ':')) volumes[count++] = optarg;
        else return SETUP_FAILED;
    }
    if (argc - optind < 2) return SETUP_FAILED;
    const char *root = argv[optind], *program = argv[optind + 1];
    char **arguments = argv + optind + 1, path[4096], text[128];

    int spaces = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS;
    unsigned uid = getuid(), gid = getgid();
    if (uid != 0) spaces |= CLONE_NEWUSER;
    if (unshare(spaces) != 0) fail("cannot make namespaces for", root);
    if (uid != 0) {
        write_file("/proc/self/setgroups", "deny");
        snprintf(text, sizeof text, "0 %u 1", uid);
        write_file("/proc/self/uid_map", text);
        snprintf(text, sizeof text, "0 %u 1", gid);
        write_file("/proc/self/gid_map", text);
    }

    pid_t first = fork();
    if (first < 0) fail("cannot fork for", program);
    if (first > 0) return reap(first);

    // The first process of the guest: when it dies, so does everything in it.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    sethostname("guest", 5);
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) fail("cannot make private", "/");
    if (mount(root, root, NULL, MS_BIND | MS_REC, NULL) != 0) fail("cannot bind", root);
    static const struct {
        const char *name, *type, *options;
    } systems[] = {{"proc", "proc", NULL}, {"sys", "sysfs", NULL}, {"tmp", "tmpfs", "mode=1777"}, {"dev", "tmpfs", "mode=755"}};
    for (size_t i = 0; i < sizeof systems / sizeof *systems; i++) {
        inside(path, sizeof path, root, systems[i].name);
        if (i >= 2) make_folders(path);  // the agent of the real guest makes these two and powers off without the others
        if (mount(systems[i].type, path, systems[i].type, MS_NOSUID, systems[i].options) != 0) {
            if (i != 1) fail("cannot mount", path);  // sysfs is refused in some containers; nothing here reads it
        }
    }
    static const char *devices[] = {"null", "zero", "full", "random", "urandom"};
    for (size_t i = 0; i < sizeof devices / sizeof *devices; i++) {
        snprintf(text, sizeof text, "dev/%s", devices[i]);
        inside(path, sizeof path, root, text);
        close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0666));
        snprintf(text, sizeof text, "/dev/%s", devices[i]);
        if (mount(text, path, NULL, MS_BIND, NULL) != 0) fail("cannot bind", text);
    }
    inside(path, sizeof path, root, "dev/shm");
    mkdir(path, 01777);
    for (int i = 0; i < count; i++) {
        char *colon = strchr(volumes[i], ':');
        *colon = 0;
        inside(path, sizeof path, root, colon + 1);
        make_folders(path);
        if (mount(volumes[i], path, NULL, MS_BIND, NULL) != 0) fail("cannot bind", path);
    }

    pid_t child = fork();
    if (child < 0) fail("cannot fork for", program);
    if (child > 0) _exit(reap(child));
    if (chroot(root) != 0) fail("cannot enter", root);
    if (chdir(folder) != 0) _exit(9);
    struct rlimit files = {1024, 4096};
    setrlimit(RLIMIT_NOFILE, &files);
    int nothing = open("/dev/null", O_RDONLY);
    dup2(nothing, 0);
    if (nothing > 2) close(nothing);
    char *slash = strrchr(program, '/'), *none[] = {NULL};
    arguments[0] = slash ? slash + 1 : (char *)program;
    execve(program, arguments, none);
    _exit(9);
}
