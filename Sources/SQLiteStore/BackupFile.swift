import Foundation
import PasswordReset

/// A new file that has another name in the same folder until it is complete.
struct BackupFile {
  /// The files that SQLite may keep next to a database.
  private static let companions = ["-wal", "-shm", "-journal"]

  let name: String
  let partial: String

  /// Creates the partial file, which only its owner can read.
  init(_ name: String) throws(BackupError) {
    // SQLite would apply a log that another database of this name left behind to the new one.
    for name in [name] + Self.companions.map({ name + $0 }) where FileManager.default.fileExists(atPath: name) { throw .fileExists(name) }
    self.name = name
    partial = "\(name).partial-\(UUID().uuidString.prefix(8))"
    let descriptor = open(partial, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw failure() }
    close(descriptor)
  }

  /// Syncs the file, gives it its name, and returns its size. It never overwrites a file, as a rename could.
  func publish() throws(BackupError) -> Int {
    let bytes = try sync(partial)
    try takeName()
    // The backup is complete even if the folder cannot be synced, for example because this process may not read it.
    _ = try? sync(URL(fileURLWithPath: name).deletingLastPathComponent().path)
    return bytes
  }

  private func takeName() throws(BackupError) {
    if link(partial, name) == 0 {
      unlink(partial)
      return
    }
    guard errno == EPERM || errno == EOPNOTSUPP else { throw errno == EEXIST ? BackupError.fileExists(name) : failure() }
    // A file system without links, such as exFAT: reserve the name with an empty file, then rename the backup over it.
    let descriptor = open(name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw errno == EEXIST ? BackupError.fileExists(name) : failure() }
    close(descriptor)
    guard rename(partial, name) == 0 else {
      let failure = failure()
      unlink(name)
      throw failure
    }
  }

  func removePartial() {
    for name in [partial] + Self.companions.map({ partial + $0 }) { unlink(name) }
  }

  /// Syncs a file, or the names in a folder, and returns its size.
  @discardableResult
  private func sync(_ path: String) throws(BackupError) -> Int {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw failure() }
    defer { close(descriptor) }
    // EINVAL: some file systems cannot sync a folder.
    guard fsync(descriptor) == 0 || errno == EINVAL else { throw failure() }
    return Int(lseek(descriptor, 0, SEEK_END))
  }

  private func failure() -> BackupError { .failed(file: name, reason: String(cString: strerror(errno))) }
}
