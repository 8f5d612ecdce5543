/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The operations in which something is made to fail.
 */

#ifndef FAULTS_OPERATION_H
#define FAULTS_OPERATION_H

#include "world.h"

/* What may be said of an operation. */
#define ON_PRODUCER 1        /* of a handle, which is poisoned by a failed
                                write or flush */
#define ON_CONSUMER 2
#define MAY_IGNORE  4        /* it may succeed although something failed */
#define FORMAT2     8        /* is of format 2 alone */
#define NOT_SERVED 16        /* not through a service */
#define SERVED     32        /* only through one */
#define TWO        64        /* only on a ring of two consumers */

struct operation {
  const char *name;
  unsigned flags;
  void (*prepare) (struct world *w);
  int (*run) (struct world *w); /* -1 and errno */
};

extern const struct operation operations[];
extern const unsigned nr_operations;

#endif /* FAULTS_OPERATION_H */
