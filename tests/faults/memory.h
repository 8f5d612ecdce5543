/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What stands before malloc and its like, by ld's --wrap: one of the calls
 * that the library makes can be made to fail, and what is not freed is
 * found.
 */

#ifndef FAULTS_MEMORY_H
#define FAULTS_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/* Calls number from 0 from now on; that of number 'at' fails. */
extern void memory_arm (unsigned at);
/* All work again.  Did one fail? */
extern bool memory_disarm (void);

/* Blocks that are allocated now. */
extern unsigned memory_blocks (void);

/* For jansson. */
extern void *memory_malloc (size_t size);
extern void memory_free (void *p);

#endif /* FAULTS_MEMORY_H */
