/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Items as bytes of a stream: lines, NUL-ended, preceded by their length,
 * or a file each.
 */

#ifndef BLKRING_FRAMING_H
#define BLKRING_FRAMING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum framing {
  FRAMING_LINE,
  FRAMING_NULL,
  FRAMING_LENGTH,            /* u32 little-endian, then the bytes */
  FRAMING_FILE,              /* to the end of the input */
  FRAMING_NONE,              /* writing: nothing between */
};

/* The byte that ends an item, or -1. */
extern int framing_separator (enum framing framing);

/* Splits inputs, one after the other, into items. */
struct reader {
  enum framing framing;
  char *const *files;        /* names, "-" is stdin; not read yet */
  int nr_files;
  uint64_t largest;          /* bytes of an item */

  int fd;                    /* -1: no input is open */
  const char *name;
  bool ended;                /* all of the input that is open was read */
  uint64_t number;           /* of the next item of this input, from 1 */
  uint64_t bytes_read;       /* of all inputs */

  char *buffer;
  size_t start, end, size;   /* buffer[start … end) is not split yet */
  size_t scanned;            /* no separator before this */
  char error[512];
};

/* The next item that is in the buffer, as an offset into it: 1; 0 when
 * more has to be read; -1 and r->error. */
extern int reader_next (struct reader *r, size_t *offset, size_t *length);

/* Read once more, and open the next input where one has ended: 1; 0 when
 * all inputs have ended; -1 and r->error.  Offsets that reader_next gave
 * hold until reader_discard. */
extern int reader_fill (struct reader *r);

/* Is there something for reader_fill to do?  Waits for it, up to
 * 'timeout_ms'. */
extern bool reader_is_ready (const struct reader *r, int timeout_ms);

/* Forget the items that reader_next gave. */
extern void reader_discard (struct reader *r);

extern void reader_free (struct reader *r);

#endif /* BLKRING_FRAMING_H */
