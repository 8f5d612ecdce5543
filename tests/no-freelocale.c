/* SPDX-License-Identifier: BSD-3-Clause
 *
 * For nbdkit with libasan loaded before it (tests/nbdkit.bash): there glibc's
 * lock of locales stays taken once strerror was called, and nbdkit then never
 * ends, for a destructor of libp11-kit frees a locale.  At the end of a
 * process that can be left.
 */

#include <config.h>

#include <locale.h>

void
freelocale (locale_t locale)
{
  (void) locale;
}
