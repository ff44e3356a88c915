import GRDB
import PasswordReset

/// The texts for the operator.
extension StoreOpenError {
  static func cannotOpen(path: String, reason: String) -> Self {
    Self(.unusable, "cannot open the database \(path): \(reason); check DATABASE_URL")
  }

  /// The database can be read, but not written.
  static func notWritable(path: String, reason: String) -> Self {
    Self(
      .unusable,
      """
      the database \(path) cannot be written (\(reason)); check the owner and mode of the file and its folder, the user that runs the service, and \
      DATABASE_URL
      """)
  }

  static func locked(path: String) -> Self {
    Self(.locked, "another program has locked the database \(path); `fuser` shows which program has it open. Try again")
  }

  static func unfinished(path: String) -> Self {
    Self(
      .unfinishedTransaction,
      "the last transaction in the database \(path) was interrupted; `password-reset migrate`, or any program that writes to it, rolls it back")
  }

  static func unsafeSetting(_ setting: String) -> Self { Self(.unusable, "the database does not keep the setting \(setting)") }

  static func damaged(path: String) -> Self { Self(.damaged, "the database \(path) is damaged; restore a backup") }

  /// SQLite does not understand the schema. That is not damage: a newer SQLite may have written it.
  static func unreadableSchema(path: String, reason: String) -> Self {
    Self(
      .unusable,
      "SQLite cannot read the schema of the database \(path): \(reason); check whether the program that wrote it uses a newer SQLite than this one")
  }

  static let newerSchema = Self(
    .newerSchema, "a newer release of password-reset wrote the database; run that release, or restore a backup")

  static func oldSQLite(version: String) -> Self {
    Self(.outdatedLibrary, "SQLite \(version) is too old; update the package libsqlite3-0 to at least \(SQLiteDatabase.minimumVersion)")
  }

  init(_ error: any Error, _ path: String) {
    if let error = error as? StoreOpenError {
      self = error
    } else if let error = error as? DatabaseError {
      self =
        switch error.extendedResultCode {
        case .SQLITE_READONLY_ROLLBACK: .unfinished(path: path)
        default:
          switch error.resultCode {
          case .SQLITE_BUSY, .SQLITE_LOCKED: .locked(path: path)
          case .SQLITE_CORRUPT where error.message?.hasPrefix("malformed database schema") == true:
            .unreadableSchema(path: path, reason: "\(error.message ?? "")")
          case .SQLITE_CORRUPT: .damaged(path: path)
          default: .cannotOpen(path: path, reason: "\(error)")
          }
        }
    } else {
      self = .cannotOpen(path: path, reason: withoutValues(error))
    }
  }
}

extension StoreError {
  init(_ error: any Error) {
    if let error = error as? StoreError {
      self = error
    } else if let error = error as? AfterResetFailure {
      self = .afterReset(reason: "\(error)")
    } else if let error = error as? DatabaseError {
      // The message and the code, without the values of the statement.
      self = .unavailable(reason: "SQLite error \(error.extendedResultCode.rawValue): \(error.message ?? "unknown")")
    } else {
      self = .unavailable(reason: withoutValues(error))
    }
  }
}

/// Returns the text of an error. GRDB's text about a value that it cannot convert contains the whole row, with hash and
/// address.
private func withoutValues(_ error: any Error) -> String {
  error is RowDecodingError ? "a value in the database does not have the type that it must have" : "\(error)"
}
