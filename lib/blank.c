/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Is a device blank?  What libblkid knows (filesystems, partition tables,
 * LVM, RAID) is asked of libblkid; disk image formats, which it does not
 * know, are in a table here; and anything else is seen by bytes that are
 * not zero.
 *
 * libblkid wants a file descriptor, and a device here may be anything, so
 * it is shown a sparse copy of the device's beginning and end in memory.
 */

#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <blkid.h>

#include "bytes.h"
#include "error.h"
#include "format.h"

/* What must be zero. */
#define ZERO_HEAD (UINT64_C (1) << 20)
#define ZERO_TAIL (UINT64_C (64) << 10)
/* What libblkid sees: the farthest header that it looks for is LUKS2's
 * second one, at up to 4 MiB. */
#define SEEN (UINT64_C (8) << 20)

static const struct {
  size_t offset;
  size_t length;
  const char *magic;
  const char *name;
} magics[] = {
  { 0, 4, "QFI\373", "a qcow2 image" },
  { 0, 4, "QED", "a QED image" },
  { 0, 4, "KDMV", "a VMDK image" },
  { 0, 4, "COWD", "a VMDK image" },
  { 0, 21, "# Disk DescriptorFile", "a VMDK descriptor" },
  { 0, 8, "vhdxfile", "a VHDX image" },
  { 0, 8, "conectix", "a VHD image" },
  { 0x40, 4, "\177\020\332\276", "a VDI image" },
  { 0, 16, "WithoutFreeSpace", "a Parallels image" },
  { 0, 16, "WithouFreSpacExt", "a Parallels image" },
  { 0, 22, "Bochs Virtual HD Image", "a Bochs image" },
};

static bool
all_zero (const unsigned char *p, size_t n, size_t *where)
{
  size_t i;

  for (i = 0; i < n; ++i)
    if (p[i] != 0) {
      *where = i;
      return false;
    }
  return true;
}

static const char *
image_format (const unsigned char *head, size_t n)
{
  size_t i;

  for (i = 0; i < sizeof magics / sizeof magics[0]; ++i)
    if (magics[i].offset + magics[i].length <= n &&
        memcmp (head + magics[i].offset, magics[i].magic,
                magics[i].length) == 0)
      return magics[i].name;
  return NULL;
}

/* 1: found something, named in 'what'; 0: nothing; -1. */
static int
ask_libblkid (int fd, uint64_t size, char *what, size_t what_size)
{
  blkid_probe probe = blkid_new_probe ();
  const char *type = NULL, *table = NULL;
  int r;

  if (probe == NULL || blkid_probe_set_device (probe, fd, 0, size) == -1) {
    blkid_free_probe (probe);
    return set_error (EIO, "libblkid cannot look at the device");
  }
  blkid_probe_enable_superblocks (probe, 1);
  blkid_probe_set_superblocks_flags (probe, BLKID_SUBLKS_TYPE);
  blkid_probe_enable_partitions (probe, 1);
  r = blkid_do_safeprobe (probe);
  blkid_probe_lookup_value (probe, "TYPE", &type, NULL);
  blkid_probe_lookup_value (probe, "PTTYPE", &table, NULL);
  if (type)
    snprintf (what, what_size, "%s (found by libblkid)", type);
  else if (table)
    snprintf (what, what_size, "a partition table (%s)", table);
  else if (r == -2)
    snprintf (what, what_size, "several signatures (found by libblkid)");
  blkid_free_probe (probe);
  if (r == -1)
    return set_error (EIO, "libblkid cannot look at the device");
  return type || table || r == -2;
}

/* Copy [offset, offset + n) of the device into the sparse copy. */
static int
show (int fd, const unsigned char *p, size_t n, uint64_t offset)
{
  ssize_t r;

  while (n > 0) {
    r = pwrite (fd, p, n, offset);
    if (r == -1 && errno == EINTR)
      continue;
    if (r <= 0)
      return set_errno_error (r == 0 ? EIO : errno, "cannot copy for "
                              "libblkid");
    p += r;
    n -= r;
    offset += r;
  }
  return 0;
}

/* In whole sectors: what lies behind them cannot be read. */
static uint64_t
whole_size (const blkring_device *device)
{
  return round_down (device->geometry.size, device->geometry.sector_size);
}

static int
look (blkring_device *device, unsigned char *buf, int fd, char *what,
      size_t what_size)
{
  const uint64_t size = whole_size (device);
  const size_t n = min_u64 (size, SEEN);
  const size_t tail = min_u64 (size, ZERO_TAIL);
  const char *image;
  size_t where;
  bool zero;
  int r;

  if (blkring_device_read (device, buf, n, 0) == -1 ||
      show (fd, buf, n, 0) == -1)
    return -1;
  image = image_format (buf, n);
  if (image) {
    snprintf (what, what_size, "%s", image);
    return 0;
  }
  zero = all_zero (buf, min_u64 (n, ZERO_HEAD), &where);
  if (!zero)
    snprintf (what, what_size, "data (a byte that is not zero at %zu)",
              where);

  if (blkring_device_read (device, buf, n, size - n) == -1 ||
      show (fd, buf, n, size - n) == -1)
    return -1;
  if (zero && !all_zero (buf + n - tail, tail, &where)) {
    zero = false;
    snprintf (what, what_size, "data (a byte that is not zero at %" PRIu64
              ")", size - tail + where);
  }
  r = ask_libblkid (fd, size, what, what_size);
  if (r == -1)
    return -1;
  return zero && r == 0;
}

int
device_is_blank (blkring_device *device, char *what, size_t what_size)
{
  const uint64_t size = whole_size (device);
  unsigned char *buf;
  int fd, r;

  if (size == 0)
    return 1;
  buf = device_buffer (device, min_u64 (size, SEEN));
  if (buf == NULL)
    return -1;
  fd = memfd_create ("blkring", MFD_CLOEXEC);
  if (fd == -1 || ftruncate (fd, size) == -1)
    r = set_errno_error (errno, "cannot make a copy for libblkid");
  else
    r = look (device, buf, fd, what, what_size);
  if (fd != -1)
    close (fd);
  free (buf);
  return r;
}
