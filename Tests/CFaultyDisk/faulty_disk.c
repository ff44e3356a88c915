// A VFS of SQLite that passes everything to the default one, except for the operations that a test lets fail.
#include "CFaultyDisk.h"

#include <limits.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

struct faulty_disk {
  faulty_disk *next;
  char *folder;
  // The operation that fails, or 0 for none.
  int failing;
  bool lasts, tears;
  int operations;
  const char *failure;
  int open_files;
};

// SQLite's own file follows in memory.
typedef struct {
  sqlite3_file base;
  faulty_disk *disk;
} faulty_file;

// Guards the list and all disks.
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static faulty_disk *disks;
static sqlite3_vfs *original;
static sqlite3_vfs faulty;

// Counts an operation, and returns whether it fails.
static bool fails(faulty_disk *disk, const char *kind) {
  pthread_mutex_lock(&lock);
  disk->operations++;
  bool result = disk->failing && (disk->lasts ? disk->operations >= disk->failing : disk->operations == disk->failing);
  if (result && !disk->failure) disk->failure = kind;
  pthread_mutex_unlock(&lock);
  return result;
}

static faulty_disk *disk_of(const char *path) {
  if (!path) return NULL;
  pthread_mutex_lock(&lock);
  faulty_disk *disk = disks;
  while (disk && strncmp(path, disk->folder, strlen(disk->folder))) disk = disk->next;
  pthread_mutex_unlock(&lock);
  return disk;
}

static void count_open_files(faulty_disk *disk, int change) {
  pthread_mutex_lock(&lock);
  disk->open_files += change;
  pthread_mutex_unlock(&lock);
}

static faulty_disk *disk_of_file(sqlite3_file *file) { return ((faulty_file *)file)->disk; }

static sqlite3_file *real(sqlite3_file *file) { return (sqlite3_file *)((faulty_file *)file + 1); }

static int close_file(sqlite3_file *file) {
  count_open_files(disk_of_file(file), -1);
  return real(file)->pMethods->xClose(real(file));
}

static int read_file(sqlite3_file *file, void *buffer, int count, sqlite3_int64 offset) {
  if (fails(disk_of_file(file), "read")) return SQLITE_IOERR_READ;
  return real(file)->pMethods->xRead(real(file), buffer, count, offset);
}

static int write_file(sqlite3_file *file, const void *buffer, int count, sqlite3_int64 offset) {
  faulty_disk *disk = disk_of_file(file);
  if (!fails(disk, "write")) return real(file)->pMethods->xWrite(real(file), buffer, count, offset);
  if (!disk->tears) return SQLITE_IOERR_WRITE;
  real(file)->pMethods->xWrite(real(file), buffer, count / 2, offset);
  return SQLITE_FULL;
}

static int truncate_file(sqlite3_file *file, sqlite3_int64 size) {
  if (fails(disk_of_file(file), "truncate")) return SQLITE_IOERR_TRUNCATE;
  return real(file)->pMethods->xTruncate(real(file), size);
}

static int sync_file(sqlite3_file *file, int flags) {
  if (fails(disk_of_file(file), "sync")) return SQLITE_IOERR_FSYNC;
  return real(file)->pMethods->xSync(real(file), flags);
}

static int file_size(sqlite3_file *file, sqlite3_int64 *size) {
  if (fails(disk_of_file(file), "file size")) return SQLITE_IOERR_FSTAT;
  return real(file)->pMethods->xFileSize(real(file), size);
}

static int lock_file(sqlite3_file *file, int kind) {
  if (fails(disk_of_file(file), "lock")) return SQLITE_IOERR_LOCK;
  return real(file)->pMethods->xLock(real(file), kind);
}

static int unlock_file(sqlite3_file *file, int kind) { return real(file)->pMethods->xUnlock(real(file), kind); }

static int check_reserved_lock(sqlite3_file *file, int *result) {
  if (fails(disk_of_file(file), "check of a lock")) return SQLITE_IOERR_CHECKRESERVEDLOCK;
  return real(file)->pMethods->xCheckReservedLock(real(file), result);
}

// SQLITE_FCNTL_COMMIT_PHASETWO never fails: it follows a commit that is already on disk, and SQLite's own VFS ignores it.
static int file_control(sqlite3_file *file, int code, void *argument) {
  if (code == SQLITE_FCNTL_SYNC && fails(disk_of_file(file), "sync of a commit")) return SQLITE_IOERR;
  return real(file)->pMethods->xFileControl(real(file), code, argument);
}

static int sector_size(sqlite3_file *file) { return real(file)->pMethods->xSectorSize(real(file)); }

static int characteristics(sqlite3_file *file) { return real(file)->pMethods->xDeviceCharacteristics(real(file)); }

static int map_index(sqlite3_file *file, int page, int size, int extends, void volatile **memory) {
  if (fails(disk_of_file(file), "map of the index")) {
    *memory = NULL;
    return SQLITE_IOERR_SHMMAP;
  }
  return real(file)->pMethods->xShmMap(real(file), page, size, extends, memory);
}

static int lock_index(sqlite3_file *file, int offset, int count, int flags) {
  if (flags & SQLITE_SHM_LOCK && fails(disk_of_file(file), "lock of the index")) return SQLITE_IOERR_SHMLOCK;
  return real(file)->pMethods->xShmLock(real(file), offset, count, flags);
}

static void index_barrier(sqlite3_file *file) { real(file)->pMethods->xShmBarrier(real(file)); }

static int unmap_index(sqlite3_file *file, int deletes) { return real(file)->pMethods->xShmUnmap(real(file), deletes); }

// Version 2 has no memory-mapped reads, which would not be counted.
static const sqlite3_io_methods methods = {
  .iVersion = 2,
  .xClose = close_file,
  .xRead = read_file,
  .xWrite = write_file,
  .xTruncate = truncate_file,
  .xSync = sync_file,
  .xFileSize = file_size,
  .xLock = lock_file,
  .xUnlock = unlock_file,
  .xCheckReservedLock = check_reserved_lock,
  .xFileControl = file_control,
  .xSectorSize = sector_size,
  .xDeviceCharacteristics = characteristics,
  .xShmMap = map_index,
  .xShmLock = lock_index,
  .xShmBarrier = index_barrier,
  .xShmUnmap = unmap_index,
};

static int open_file(sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags, int *result_flags) {
  (void)vfs;
  faulty_disk *disk = disk_of(path);
  // Without a faulty disk, SQLite's own file uses the memory alone.
  if (!disk) return original->xOpen(original, path, file, flags, result_flags);
  file->pMethods = NULL;
  if (fails(disk, "open")) return SQLITE_CANTOPEN;
  int code = original->xOpen(original, path, real(file), flags, result_flags);
  if (!real(file)->pMethods) return code;
  ((faulty_file *)file)->disk = disk;
  file->pMethods = &methods;
  count_open_files(disk, 1);
  return code;
}

static int delete_file(sqlite3_vfs *vfs, const char *path, int syncs) {
  (void)vfs;
  faulty_disk *disk = disk_of(path);
  if (disk && fails(disk, "delete")) return SQLITE_IOERR_DELETE;
  return original->xDelete(original, path, syncs);
}

static void install(void) {
  original = sqlite3_vfs_find(NULL);
  faulty = *original;
  faulty.zName = "faulty";
  faulty.pNext = NULL;
  faulty.szOsFile += sizeof(faulty_file);
  faulty.xOpen = open_file;
  faulty.xDelete = delete_file;
  sqlite3_vfs_register(&faulty, 1);
}

faulty_disk *faulty_disk_make(const char *folder) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, install);
  faulty_disk *disk = calloc(1, sizeof *disk);
  disk->folder = realpath(folder, NULL);
  pthread_mutex_lock(&lock);
  disk->next = disks;
  disks = disk;
  pthread_mutex_unlock(&lock);
  return disk;
}

void faulty_disk_fail(faulty_disk *disk, int operation, bool lasts, bool tears) {
  pthread_mutex_lock(&lock);
  disk->failing = operation;
  disk->lasts = lasts;
  disk->tears = tears;
  disk->operations = 0;
  disk->failure = NULL;
  pthread_mutex_unlock(&lock);
}

void faulty_disk_repair(faulty_disk *disk) {
  pthread_mutex_lock(&lock);
  disk->failing = 0;
  pthread_mutex_unlock(&lock);
}

const char *faulty_disk_failure(faulty_disk *disk) {
  pthread_mutex_lock(&lock);
  const char *failure = disk->failure;
  pthread_mutex_unlock(&lock);
  return failure;
}

int faulty_disk_open_files(faulty_disk *disk) {
  pthread_mutex_lock(&lock);
  int count = disk->open_files;
  pthread_mutex_unlock(&lock);
  return count;
}
