/* Preloaded into a program, it adds the seconds that stand in the file $CLOCK_SKEW to its wall clock, and to no other clock
 * (row F17). It allocates nothing: libfaketime does, and stands still in a program with an allocator of its own. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *time) {
    int result = (int)syscall(SYS_clock_gettime, clock, time);
    const char *path = getenv("CLOCK_SKEW");
    if (result != 0 || clock != CLOCK_REALTIME || path == NULL)
        return result;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return result;
    char text[32] = {0};
    if (read(file, text, sizeof text - 1) > 0)
        time->tv_sec += strtol(text, NULL, 10);
    close(file);
    return result;
}
