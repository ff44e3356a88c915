/* A library to preload (LD_PRELOAD): records in which order a service with SQLite writes its log, syncs it and responds,
 * and makes these calls fail on demand.
 *
 *   ORDER_LOG                 the file for the records
 *   ORDER_SKIP_SYNC           if set, a sync is reported but not done, like on a disk that lies
 *   ORDER_SYNC_MILLISECONDS   how many milliseconds longer a sync takes
 *   ORDER_SYNC_FAILS          while a file of this name exists, syncs of the log fail with EIO
 *   ORDER_WRITE_FAILS         while a file of this name exists, writes to the log fail with ENOSPC
 *
 * One line per record, each with its place in one order for all threads:
 *
 *   <place> page <0|1> <run>,…        a page is in the log, 1 if it completes a transaction; its runs of at least 32 hexadecimal digits
 *   <place> sync <place of its start> a sync of the log has succeeded
 *   <place> reply <status> <id>       a response is about to be passed to the kernel
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { ID = 32, FRAME_HEADER = 24, LONGEST_NOTE = 16384, LONGEST_HEAD = 65536 };

#define REAL(name)                                                                  \
  ({                                                                                \
    static _Atomic(__typeof__(&name)) found;                                        \
    if (!found) found = (__typeof__(&name))dlsym(RTLD_NEXT, #name);                 \
    found;                                                                          \
  })

static int notes = -1;
static bool skips_sync;
static unsigned sync_milliseconds;
static const char *sync_fails, *write_fails;
static atomic_ulong last_place;
/* Whether the frame whose header this thread wrote last completes a transaction. */
static _Thread_local bool is_commit;

__attribute__((constructor)) static void begin(void) {
  const char *path = getenv("ORDER_LOG"), *milliseconds = getenv("ORDER_SYNC_MILLISECONDS");
  if (path) notes = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (milliseconds) sync_milliseconds = (unsigned)atoi(milliseconds);
  skips_sync = getenv("ORDER_SKIP_SYNC") != NULL;
  sync_fails = getenv("ORDER_SYNC_FAILS");
  write_fails = getenv("ORDER_WRITE_FAILS");
}

static unsigned long next_place(void) { return atomic_fetch_add(&last_place, 1) + 1; }

static bool is_there(const char *path) { return path && access(path, F_OK) == 0; }

/* Writes each record at once, because several threads write them. A record that is too long aborts the test instead of being cut. */
static void note(const char *format, ...) {
  char text[LONGEST_NOTE];
  va_list values;
  va_start(values, format);
  int length = vsnprintf(text, sizeof text, format, values);
  va_end(values);
  int before = errno;
  if (length < 0 || (size_t)length >= sizeof text || REAL(write)(notes, text, (size_t)length) != length) abort();
  errno = before;
}

static bool is_log(int descriptor) {
  if (notes < 0) return false;
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
  int before = errno;
  ssize_t length = readlink(link, path, sizeof path);
  errno = before;
  return length >= 4 && memcmp(path + length - 4, "-wal", 4) == 0;
}

static bool is_hexadecimal(char digit) { return (digit >= '0' && digit <= '9') || (digit >= 'a' && digit <= 'f'); }

static void note_page(const char *bytes, size_t count) {
  char runs[LONGEST_NOTE / 2];
  size_t used = 0;
  for (size_t start = 0, end; start < count; start = end + 1) {
    for (end = start; end < count && is_hexadecimal(bytes[end]);) end++;
    if (end - start < ID) continue;
    if (used + end - start + 2 > sizeof runs) abort();
    memcpy(runs + used, bytes + start, end - start);
    used += end - start;
    runs[used++] = ',';
  }
  runs[used] = 0;
  note("%lu page %d %s\n", next_place(), is_commit, runs);
}

/* In the file format, frames follow the log's header. A frame is a header and a page. Bytes 4 to 7 of the header are the
 * size of the database if the frame is the last of a transaction, and otherwise zeros. */
static void note_log(const char *bytes, size_t count, off64_t offset) {
  if (offset == 0) return;
  if (count == FRAME_HEADER) {
    is_commit = memcmp(bytes + 4, "\0\0\0\0", 4) != 0;
  } else {
    note_page(bytes, count);
    is_commit = false;
  }
}

static void note_replies(const struct iovec *pieces, size_t count) {
  static const char version[] = "HTTP/1.1 ", field[] = "\r\nx-request-id: ";
  char text[LONGEST_HEAD];
  size_t used = 0;
  /* The first bytes distinguish a response from other writes, such as lines of the service's log. */
  if (notes < 0 || count == 0 || pieces[0].iov_len < 12 || memcmp(pieces[0].iov_base, version, strlen(version)) != 0) return;
  for (size_t piece = 0; piece < count; piece++) {
    if (used + pieces[piece].iov_len >= sizeof text) abort();
    memcpy(text + used, pieces[piece].iov_base, pieces[piece].iov_len);
    used += pieces[piece].iov_len;
  }
  text[used] = 0;
  for (const char *head = text, *next; head; head = next) {
    const char *id = strcasestr(head, field);
    next = strstr(head + 1, version);
    if (id && (!next || id < next)) note("%lu reply %.3s %.32s\n", next_place(), head + strlen(version), id + strlen(field));
  }
}

static void note_reply(const void *bytes, size_t count) {
  struct iovec piece = {.iov_base = (void *)bytes, .iov_len = count};
  note_replies(&piece, 1);
}

static bool refuses_write(int descriptor) {
  if (!is_log(descriptor) || !is_there(write_fails)) return false;
  errno = ENOSPC;
  return true;
}

static int synced(int descriptor, int (*real)(int)) {
  if (!is_log(descriptor)) return real(descriptor);
  unsigned long place = next_place();
  if (is_there(sync_fails)) {
    errno = EIO;
    return -1;
  }
  usleep(sync_milliseconds * 1000);
  if (skips_sync) return 0;
  int result = real(descriptor);
  if (result == 0) note("%lu sync %lu\n", next_place(), place);
  return result;
}

int fsync(int descriptor) { return synced(descriptor, REAL(fsync)); }

int fdatasync(int descriptor) { return synced(descriptor, REAL(fdatasync)); }

ssize_t pwrite(int descriptor, const void *bytes, size_t count, off_t offset) {
  if (refuses_write(descriptor)) return -1;
  ssize_t written = REAL(pwrite)(descriptor, bytes, count, offset);
  if (written > 0 && is_log(descriptor)) note_log(bytes, (size_t)written, offset);
  return written;
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t count, off64_t offset) {
  if (refuses_write(descriptor)) return -1;
  ssize_t written = REAL(pwrite64)(descriptor, bytes, count, offset);
  if (written > 0 && is_log(descriptor)) note_log(bytes, (size_t)written, offset);
  return written;
}

ssize_t write(int descriptor, const void *bytes, size_t count) {
  note_reply(bytes, count);
  return REAL(write)(descriptor, bytes, count);
}

ssize_t writev(int descriptor, const struct iovec *pieces, int count) {
  note_replies(pieces, (size_t)count);
  return REAL(writev)(descriptor, pieces, count);
}

ssize_t send(int descriptor, const void *bytes, size_t count, int flags) {
  note_reply(bytes, count);
  return REAL(send)(descriptor, bytes, count, flags);
}

ssize_t sendmsg(int descriptor, const struct msghdr *message, int flags) {
  note_replies(message->msg_iov, message->msg_iovlen);
  return REAL(sendmsg)(descriptor, message, flags);
}
