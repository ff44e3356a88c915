/// Copies a database to a file.
public protocol DatabaseBackup: Sendable {
  /// Copies the database, as it is at one moment, into a new file while other processes read and write it.
  ///
  /// The file appears when it is complete, checked and on disk, or not at all, and only its owner may read it.
  /// - Parameter onProgress: receives the copied share, from 0 to 1.
  func backUp(to file: String, onProgress: ((Double) -> Void)?) throws(BackupError) -> BackupSummary
}

/// What a backup contains.
public struct BackupSummary: Sendable, Equatable {
  /// The number of users.
  public var users: Int
  /// The size of the file.
  public var bytes: Int

  public init(users: Int, bytes: Int) {
    self.users = users
    self.bytes = bytes
  }
}

/// Why there is no backup. The messages are for the operator.
public enum BackupError: Error, Sendable, CustomStringConvertible {
  /// The database cannot be read, or is damaged.
  case database(StoreOpenError)
  /// The file exists already.
  case fileExists(String)
  case failed(file: String, reason: String)

  public var description: String {
    switch self {
    case .database(let error): error.description
    case .fileExists(let file): "\(file) exists already and is not overwritten; name another file, or remove that one"
    case .failed(let file, let reason): "the backup to \(file) failed: \(reason)"
    }
  }
}
