// A machine whose clock was set wrong, for one process: the time of day is off by WRONG_BY_SECONDS. All other clocks are right.

#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    int result = (int)syscall(SYS_clock_gettime, clock, now);
    const char *wrong_by = getenv("WRONG_BY_SECONDS");
    if (result == 0 && clock == CLOCK_REALTIME && wrong_by != NULL) {
        now->tv_sec += atol(wrong_by);
    }
    return result;
}
