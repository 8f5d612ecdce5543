/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Fuzz target: what the command line and the input of blkring-img are read
 * with.
 *
 *   byte 0   what: a number, a size, seconds, a word, or items
 *   then     the text; for items how they are told apart, the largest one,
 *            and the input
 */

#define _GNU_SOURCE
#include <config.h>

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bytes.h"
#include "framing.h"
#include "img.h"

static _Noreturn void
wrong (const char *what, const char *text)
{
  FILE *tty = fdopen (STDERR_FILENO, "w");

  if (tty) {
    fprintf (tty, "violation: %s: '%s'\n", what, text);
    fflush (tty);
  }
  abort ();
}

/* The value of the digits that the text begins with, and how many. */
static unsigned __int128
digits (const char *text, size_t *n)
{
  unsigned __int128 value = 0;
  const unsigned __int128 most = (unsigned __int128) 1 << 70;

  for (*n = 0; text[*n] >= '0' && text[*n] <= '9'; ++*n)
    value = value >= most ? most : value * 10 + (text[*n] - '0');
  return value;
}

static void
number (const char *text, bool is_size)
{
  static const char suffixes[] = "BKMGTP";
  uint64_t value = 0;
  size_t n;
  unsigned __int128 expected = digits (text, &n);
  const char *suffix = text + n;
  bool valid = n > 0;
  const char *found;

  if (is_size) {
    if (*suffix) {
      found = strchr (suffixes, *suffix == 'k' ? 'K' : *suffix == 'b' ? 'B'
                      : *suffix);
      valid = valid && found && suffix[1] == '\0';
      if (found)
        expected <<= 10 * (found - suffixes);
    }
    valid = valid && expected <= INT64_MAX;
  }
  else
    valid = valid && *suffix == '\0' && expected >= 5 &&
      expected <= UINT64_MAX - 5;
  if ((is_size ? parse_size ("it", text, &value)
       : parse_number ("it", text, 5, UINT64_MAX - 5, &value)) !=
      (valid ? 0 : -1))
    wrong (valid ? "a number is refused" : "what is no number is taken",
           text);
  if (valid && value != expected)
    wrong ("a number is another one", text);
}

static void
seconds (const char *text)
{
  int ms = -1;

  if (parse_seconds ("it", text, &ms) == 0 && (ms < 0 || ms > 2000000000))
    wrong ("impossible seconds", text);
}

static void
word (const char *text)
{
  static const char *const words[] = { "on", "off", "o", "", NULL };
  const int found = parse_word ("it", text, words);

  if (found < -1 || found > 3 ||
      (found >= 0 && strcmp (words[found], text) != 0))
    wrong ("another word", text);
}

/*---------------------------------------------------------------------*/

/* The items, with what stands between them, must be the input as far as it
 * was read. */
static void
items (enum framing framing, uint64_t largest, const uint8_t *input,
       size_t size)
{
  char path[40], *files[] = { path };
  const int fd = memfd_create ("input", MFD_CLOEXEC);
  struct reader r = {
    .framing = framing, .files = files, .nr_files = 1, .largest = largest,
    .fd = -1,
  };
  const int separator = framing_separator (framing);
  size_t at = 0, offset, length;
  int n = 1;

  if (fd == -1 || write (fd, input, size) != (ssize_t) size)
    abort ();
  snprintf (path, sizeof path, "/proc/self/fd/%d", fd);
  while (n == 1) {
    while ((n = reader_next (&r, &offset, &length)) == 1) {
      if (framing == FRAMING_LENGTH) {
        if (size - at < 4 || get_le32 (input + at) != length)
          wrong ("another length", "");
        at += 4;
      }
      if (length > largest || length > size - at ||
          (length && memcmp (r.buffer + offset, input + at, length) != 0))
        wrong ("another item", "");
      at += length;
      if (separator != -1 && at < size && input[at++] != separator)
        wrong ("an item that ends early", "");
    }
    if (n == -1)
      break;
    reader_discard (&r);
    n = reader_fill (&r);
  }
  if (n == -1 && r.error[0] == '\0')
    wrong ("no message", "");
  if (n == 0 && at != size)
    wrong ("some input is left", "");
  reader_free (&r);
  close (fd);
}

extern int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
  static FILE *silence;
  FILE *const tty = stderr;
  char *text;

  if (size < 3)
    return 0;
  if (silence == NULL && (silence = fopen ("/dev/null", "w")) == NULL)
    abort ();
  text = malloc (size);
  if (text == NULL)
    abort ();
  memcpy (text, data + 1, size - 1);
  text[size - 1] = '\0';
  stderr = silence;
  switch (data[0] % 8) {
  case 0:
    number (text, false);
    break;
  case 1:
    number (text, true);
    break;
  case 2:
    seconds (text);
    break;
  case 3:
    word (text);
    break;
  default:
    items (data[0] % 4, data[1] * data[2], data + 3, size - 3);
  }
  stderr = tty;
  free (text);
  return 0;
}
