/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Writes to a service in threads of their own, and whether they wait.
 */

#ifndef SERVICE_JOBS_H
#define SERVICE_JOBS_H

#include <sys/syscall.h>
#include <unistd.h>

#include "service2-fixture.h"

/* A write in a thread of its own. */
struct job {
  struct service_client *client;
  const void *buf;
  size_t count;
  uint64_t offset;
  pthread_t thread;
  pthread_mutex_t lock;
  pthread_cond_t started;
  pid_t tid;
  bool done;
  int result, error;
};

static inline void *
run_job (void *arg)
{
  struct job *job = arg;

  pthread_mutex_lock (&job->lock);
  job->tid = syscall (SYS_gettid);
  pthread_cond_broadcast (&job->started);
  pthread_mutex_unlock (&job->lock);
  job->result = service_pwrite (job->client, job->buf, job->count,
                                job->offset, 0);
  job->error = errno;
  pthread_mutex_lock (&job->lock);
  job->done = true;
  pthread_mutex_unlock (&job->lock);
  return NULL;
}

static inline void
start_job (struct job *job, struct service_client *c, uint64_t offset,
           const void *buf, size_t count)
{
  *job = (struct job) {
    .client = c, .buf = buf, .count = count, .offset = offset,
    .lock = PTHREAD_MUTEX_INITIALIZER, .started = PTHREAD_COND_INITIALIZER,
  };
  pthread_create (&job->thread, NULL, run_job, job);
  pthread_mutex_lock (&job->lock);
  while (job->tid == 0)
    pthread_cond_wait (&job->started, &job->lock);
  pthread_mutex_unlock (&job->lock);
}

static inline bool
is_done (struct job *job)
{
  bool done;

  pthread_mutex_lock (&job->lock);
  done = job->done;
  pthread_mutex_unlock (&job->lock);
  return done;
}

static inline bool
sleeps (const struct job *job)
{
  char name[64], line[512] = "", *p;
  FILE *f;

  snprintf (name, sizeof name, "/proc/self/task/%d/stat", (int) job->tid);
  f = fopen (name, "r");
  if (f == NULL)
    return true;
  p = fgets (line, sizeof line, f);
  fclose (f);
  p = p ? strrchr (line, ')') : NULL;
  return p && p[2] == 'S';
}

/* It has nothing to do but wait. */
static inline void
assert_waits (struct job *job)
{
  unsigned times = 0;

  while (times < 20 && !is_done (job)) {
    times = sleeps (job) ? times + 1 : 0;
    usleep (1000);
  }
  if (is_done (job))
    fail_msg ("it did not wait: %d, errno %d", job->result, job->error);
}

static inline void
end_job (struct job *job, int result)
{
  pthread_join (job->thread, NULL);
  if (job->result != result)
    fail_msg ("%d, errno %d", job->result, job->error);
}

#endif /* SERVICE_JOBS_H */
