#ifndef C_FAULTY_DISK_H
#define C_FAULTY_DISK_H

#include <stdbool.h>

/// A folder in which the operations of SQLite fail as a test demands.
typedef struct faulty_disk faulty_disk;

/// Adds a disk for the files of a folder. It works until faulty_disk_fail is called. Disks are never freed, because a
/// connection may be closed late.
faulty_disk *faulty_disk_make(const char *folder);

/// Lets an operation fail, counted from now and from 1: all that reads, writes, syncs, locks, opens or deletes a file.
/// @param lasts Whether all later operations fail as well, until faulty_disk_repair.
/// @param tears Whether a write that fails has written the first half.
void faulty_disk_fail(faulty_disk *disk, int operation, bool lasts, bool tears);

/// Lets all operations succeed.
void faulty_disk_repair(faulty_disk *disk);

/// Returns the kind of the operation that failed first since faulty_disk_fail, or NULL if none did.
const char *faulty_disk_failure(faulty_disk *disk);

/// Returns how many files are open.
int faulty_disk_open_files(faulty_disk *disk);

#endif
