import Credentials
import Foundation
import GRDB
import GRDBSQLite
import PasswordReset

extension AfterResetStatements {
  /// For how long the statements of one reset may run. Meanwhile no one else can write to the database.
  private static let timeLimit = Duration.seconds(5)

  /// Runs the statements for a user in the caller's transaction.
  /// - Returns: what the audit keeps about them, or `nil` if there are none.
  /// - Throws: ``AfterResetFailure``, or a `DatabaseError` of the disk.
  func run(for id: UserID, of users: UserStatements, at now: Date, in db: Database) throws -> String? {
    guard !entries.isEmpty else { return nil }
    let rows = try Deadline(after: Self.timeLimit).limiting(db) {
      try entries.enumerated().map { index, steps in
        do {
          return try steps.reduce(0) { try $0 + run($1, for: id, of: users, at: now, in: db) }
        } catch let error as DatabaseError where GroupCommit.isOfOneWrite(error) {
          throw AfterResetFailure(entry: index + 1, reason: Self.text(of: error))
        } catch let error as DatabaseError where error.resultCode == .SQLITE_INTERRUPT {
          throw AfterResetFailure(entry: index + 1, reason: "it did not end within \(Self.timeLimit)", isTimeout: true)
        } catch let error as MissingFunction {
          throw AfterResetFailure(entry: index + 1, reason: "\(error)")
        }
      }
    }
    // SQLite would report it only at the commit, which other writes share.
    guard Self.keepsForeignKeys(db) else {
      throw AfterResetFailure(reason: "a foreign key refers to a row that an entry deletes, or to one that does not exist")
    }
    return afterReset.detail(rows: rows)
  }

  private func run(_ step: Step, for id: UserID, of users: UserStatements, at now: Date, in db: Database) throws -> Int {
    try MissingFunction.named(in: db, table: users.mapping.table) {
      let statement = try db.cachedStatement(sql: step.sql)
      let returned = try statement.rows(step.parameters.map { value(of: $0, users.parameter(id), at: now) }) { _ in () }.count
      return statement.isReadonly ? returned : db.changesCount
    }
  }

  private func value(of parameter: Parameter, _ key: RawParameter, at now: Date) -> RawParameter {
    switch parameter {
    case .userID: return key
    case .now(let isDate): return .text(DjangoTime.text(of: now, in: afterReset.timeZone, isDate: isDate))
    case .randomText(let length): return .text(AfterReset.randomText(length: length))
    case .uuid(let isDigits):
      let text = UUID().uuidString.lowercased()
      return .text(isDigits ? text.replacing("-", with: "") : text)
    }
  }

  /// Returns whether no deferred foreign key is broken.
  private static func keepsForeignKeys(_ db: Database) -> Bool {
    var (current, highest) = (CInt(0), CInt(0))
    sqlite3_db_status(db.sqliteConnection, SQLITE_DBSTATUS_DEFERRED_FKS, &current, &highest, 0)
    return current == 0
  }

  /// Returns the code and the message, which a trigger of the site may have filled with any text.
  private static func text(of error: DatabaseError) -> String {
    if error.extendedResultCode == .SQLITE_CONSTRAINT_TRIGGER {
      return "SQLite error \(error.extendedResultCode.rawValue), which a trigger of the site raised"
    }
    return "SQLite error \(error.extendedResultCode.rawValue): \(error.message ?? "unknown")"
  }
}

/// Interrupts statements that run for too long.
private final class Deadline {
  /// After how many instructions of SQLite's virtual machine the time is compared.
  private static let instructions: CInt = 10_000

  private let end: ContinuousClock.Instant

  init(after limit: Duration) { end = .now + limit }

  /// Runs `work`, and interrupts its statements at the deadline.
  func limiting<Result>(_ db: Database, _ work: () throws -> Result) rethrows -> Result {
    sqlite3_progress_handler(
      db.sqliteConnection, Self.instructions,
      { context in
        guard let context else { return 0 }
        return Unmanaged<Deadline>.fromOpaque(context).takeUnretainedValue().hasPassed ? 1 : 0
      }, Unmanaged.passUnretained(self).toOpaque())
    defer { sqlite3_progress_handler(db.sqliteConnection, 0, nil, nil) }
    return try work()
  }

  private var hasPassed: Bool { ContinuousClock.now > end }
}
