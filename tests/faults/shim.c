/* What a disk, a clock or the end of a process does to a program, at a chosen moment.
 *
 * Loaded with LD_PRELOAD. It counts the calls that change what is under a folder and, from the
 * call that was asked for, ends the process group (before the call, or with half of its bytes
 * written) or answers as a full or a read-only disk does. It can also end the group after some
 * processor time, answer as a file system without locks, and let the clock jump once by three
 * days. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

enum kind { COUNT, KILL, HALF, FULL, READ_ONLY };
enum change { WRITE, MAKE, OTHER }; /* a full disk refuses data and new folders */

static struct { atomic_long calls; } *shared; /* with those who are forked */
static char under[PATH_MAX];
static size_t length;
static enum kind kind;
static long moment;
static long jump; /* after so many looks at the clock it is ahead, or if negative back */
static int lockless;

__attribute__((constructor)) static void begin(void) {
  shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

EXPORT void fault_arm(const char *folder, int what, long at, long clock_jump, int without_locks) {
  kind = what, moment = at, jump = clock_jump, lockless = without_locks;
  length = strlen(strncpy(under, folder, sizeof under - 1));
}

static void end(int number) {
  (void)number;
  kill(0, SIGKILL);
}

/* Processor time, as a moment in the work: what the clock says depends on who else is at work. */
EXPORT void fault_after(double seconds) {
  struct itimerval when = {.it_value.tv_sec = (time_t)seconds};
  when.it_value.tv_usec = 1 + (suseconds_t)(999998 * (seconds - (time_t)seconds));
  signal(SIGPROF, end);
  setitimer(ITIMER_PROF, &when, NULL);
}

EXPORT long fault_take(void) { return atomic_exchange(&shared->calls, 0); }

#define REAL(name) ((__typeof__(&name))real(#name))
static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

static int inside(const char *path) {
  return !strncmp(path, under, length) && (path[length] == '/' || path[length] == 0);
}

static int names(int folder, char *path) {
  char link[64];
  if (folder == AT_FDCWD) return getcwd(path, PATH_MAX) != NULL;
  snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
  ssize_t n = readlink(link, path, PATH_MAX - 1);
  path[n > 0 ? n : 0] = 0;
  return n > 0;
}

static int ours(int folder, const char *path) {
  char whole[2 * PATH_MAX];
  if (!length || !path) return 0;
  if (path[0] == '/') return inside(path);
  if (!names(folder, whole)) return 0;
  size_t n = strlen(whole);
  snprintf(whole + n, sizeof whole - n, "/%s", path);
  return inside(whole);
}

static int ours_open(int file) {
  char path[PATH_MAX];
  return length && file > 2 && names(file, path) && inside(path);
}

/* Count a call. Returns 0 to go on, -1 with errno to fail, or 1 to do half of it. */
static int meet(enum change change) {
  long call = 1 + atomic_fetch_add(&shared->calls, 1);
  switch (kind) {
    case KILL:
      if (call == moment) kill(0, SIGKILL);
      return 0;
    case HALF:
      if (call == moment && change != WRITE) kill(0, SIGKILL);
      return call == moment;
    case FULL:
      if (call < moment || change == OTHER) return 0;
      if (call == moment && change == WRITE) return 1;
      errno = ENOSPC;
      return -1;
    case READ_ONLY:
      errno = EROFS;
      return -1;
    default:
      return 0;
  }
}

static void after_half(void) {
  if (kind == HALF) kill(0, SIGKILL);
}

static int opens(int folder, const char *path, int flags) {
  if ((flags & O_ACCMODE) == O_RDONLY && !(flags & (O_CREAT | O_TRUNC))) return 0;
  return ours(folder, path) ? meet(OTHER) : 0;
}

static mode_t mode_of(int flags, va_list more) {
  return flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
}

#define OPEN(name)                                        \
  EXPORT int name(const char *path, int flags, ...) {     \
    va_list more;                                         \
    va_start(more, flags);                                \
    mode_t mode = mode_of(flags, more);                   \
    va_end(more);                                         \
    if (opens(AT_FDCWD, path, flags) < 0) return -1;      \
    return REAL(name)(path, flags, mode);                 \
  }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                             \
  EXPORT int name(int folder, const char *path, int flags, ...) { \
    va_list more;                                                \
    va_start(more, flags);                                       \
    mode_t mode = mode_of(flags, more);                          \
    va_end(more);                                                \
    if (opens(folder, path, flags) < 0) return -1;               \
    return REAL(name)(folder, path, flags, mode);                \
  }
OPENAT(openat)
OPENAT(openat64)

#define FOPEN(name)                                                                       \
  EXPORT FILE *name(const char *path, const char *mode) {                                 \
    if (strpbrk(mode, "wa+") && ours(AT_FDCWD, path) && meet(OTHER) < 0) return NULL;     \
    return REAL(name)(path, mode);                                                        \
  }
FOPEN(fopen)
FOPEN(fopen64)

EXPORT size_t fwrite(const void *data, size_t size, size_t count, FILE *file) {
  int half = ours_open(fileno(file)) ? meet(WRITE) : 0;
  if (half < 0) return 0;
  size_t done = REAL(fwrite)(data, size, half ? count / 2 : count, file);
  if (half) {
    REAL(fflush)(file);
    after_half();
    errno = ENOSPC;
  }
  return done;
}

/* A write of one byte has no half: the next one finds the disk full. */
#define WRITES(name, parameters, call, size)               \
  EXPORT ssize_t name parameters {                         \
    int half = ours_open(file) ? meet(WRITE) : 0;          \
    if (half < 0) return -1;                               \
    if (half && size > 1) size /= 2;                       \
    ssize_t done = REAL(name) call;                        \
    if (half) after_half();                                \
    return done;                                           \
  }
WRITES(write, (int file, const void *data, size_t size), (file, data, size), size)
WRITES(pwrite, (int file, const void *data, size_t size, off_t at), (file, data, size, at), size)
WRITES(pwrite64, (int file, const void *data, size_t size, off64_t at), (file, data, size, at),
       size)
WRITES(writev, (int file, const struct iovec *data, int size), (file, data, size), size)
WRITES(sendfile, (int file, int from, off_t *at, size_t size), (file, from, at, size), size)
WRITES(sendfile64, (int file, int from, off64_t *at, size_t size), (file, from, at, size), size)

#define CHANGES(name, change, test, parameters, call)            \
  EXPORT int name parameters {                                   \
    if ((test) && meet(change) < 0) return -1;                   \
    return REAL(name) call;                                      \
  }
#define HERE(path) ours(AT_FDCWD, path)
CHANGES(mkdir, MAKE, HERE(path), (const char *path, mode_t mode), (path, mode))
CHANGES(mkdirat, MAKE, ours(folder, path), (int folder, const char *path, mode_t mode),
        (folder, path, mode))
CHANGES(rmdir, OTHER, HERE(path), (const char *path), (path))
CHANGES(unlink, OTHER, HERE(path), (const char *path), (path))
CHANGES(unlinkat, OTHER, ours(folder, path), (int folder, const char *path, int flags),
        (folder, path, flags))
CHANGES(rename, OTHER, HERE(from) || HERE(to), (const char *from, const char *to), (from, to))
CHANGES(renameat, OTHER, ours(one, from) || ours(two, to),
        (int one, const char *from, int two, const char *to), (one, from, two, to))
CHANGES(renameat2, OTHER, ours(one, from) || ours(two, to),
        (int one, const char *from, int two, const char *to, unsigned int flags),
        (one, from, two, to, flags))
CHANGES(link, OTHER, HERE(to), (const char *from, const char *to), (from, to))
CHANGES(symlink, OTHER, HERE(to), (const char *from, const char *to), (from, to))
CHANGES(ftruncate, OTHER, ours_open(file), (int file, off_t size), (file, size))
CHANGES(ftruncate64, OTHER, ours_open(file), (int file, off64_t size), (file, size))
CHANGES(chmod, OTHER, HERE(path), (const char *path, mode_t mode), (path, mode))

EXPORT int access(const char *path, int mode) {
  if (kind == READ_ONLY && mode & W_OK && HERE(path)) {
    errno = EROFS;
    return -1;
  }
  return REAL(access)(path, mode);
}

EXPORT int flock(int file, int operation) {
  if (lockless && ours_open(file)) {
    errno = ENOLCK;
    return -1;
  }
  return REAL(flock)(file, operation);
}

static time_t shift(void) {
  static atomic_long looks;
  if (!jump || atomic_fetch_add(&looks, 1) < labs(jump)) return 0;
  return (jump > 0 ? 3 : -3) * 86400;
}

EXPORT int clock_gettime(clockid_t clock, struct timespec *now) {
  int failed = REAL(clock_gettime)(clock, now);
  if (!failed && clock == CLOCK_REALTIME) now->tv_sec += shift();
  return failed;
}

EXPORT int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  int failed = REAL(gettimeofday)(now, zone);
  if (!failed) now->tv_sec += shift();
  return failed;
}

EXPORT time_t time(time_t *out) {
  time_t now = REAL(time)(NULL) + shift();
  if (out) *out = now;
  return now;
}
