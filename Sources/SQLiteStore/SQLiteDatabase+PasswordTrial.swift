import Foundation
import GRDB
public import PasswordReset

extension SQLiteDatabase {
  /// How many milliseconds the trial waits for another program's lock. The start must not wait long.
  private static let trialTimeout = 1000

  public func tryPasswordChange(to specimen: String) throws(StoreOpenError) {
    // A connection that may write would create a missing file.
    guard FileManager.default.fileExists(atPath: path) else { return }
    guard let mapping = try preflight()?.users else { return }
    do {
      let queue = try DatabaseQueue(path: path, configuration: SQLiteStore.configuration(busyTimeout: Self.trialTimeout, onStatement: nil))
      let statements = UserStatements(mapping, hasOwnTables: false)
      let afterReset = try queue.read { db in try AfterResetStatements(statements, users.afterReset, db) }
      let trial = PasswordTrial(users: statements, afterReset: afterReset, specimen: specimen)
      if let fault = try trial.fault(in: queue) { throw StoreOpenError.unchangeablePassword(mapping, fault) }
    } catch let error as DatabaseError where [.SQLITE_BUSY, .SQLITE_LOCKED].contains(error.resultCode) {
      return
    } catch {
      throw StoreOpenError(error, path)
    }
  }
}

/// Changes passwords, and rolls that back.
private struct PasswordTrial {
  let users: UserStatements
  let afterReset: AfterResetStatements
  let specimen: String

  /// Returns why none of some users can get a new password, or `nil` if one can, or if there is none to try.
  func fault(in queue: DatabaseQueue) throws -> PasswordChangeFault? {
    let candidates = try queue.read { db in
      try db.makeStatement(sql: users.someUsers).rows([]) { row in SQLiteStore.user(row, users) }.compactMap(\.self).filter(\.isActive)
    }
    var first: PasswordChangeFault?
    for user in candidates {
      guard let fault = try fault(changing: user, in: queue) else { return nil }
      first = first ?? fault
    }
    return first
  }

  private func fault(changing user: User, in queue: DatabaseQueue) throws -> PasswordChangeFault? {
    var fault: PasswordChangeFault?
    do {
      try queue.inTransaction(.immediate) { db in
        fault = try effect(on: user, db)
        return .rollback
      }
    } catch let error as DatabaseError where GroupCommit.isOfOneWrite(error) {
      return .refused(error.message ?? "SQLite error \(error.extendedResultCode.rawValue)")
    }
    return fault
  }

  private func effect(on user: User, _ db: Database) throws -> PasswordChangeFault? {
    try db.makeStatement(sql: users.setPassword).run(
      .text(specimen), users.parameter(user.id), .text(user.password), .text(user.email), RawParameter(user.lastLogin))
    guard db.changesCount == 1 else { return .ineffective }
    let stored = try db.makeStatement(sql: users.userByID).rows([users.parameter(user.id)]) { row in SQLiteStore.user(row, users) }
    guard stored.compactMap(\.self).first(where: { $0.id == user.id })?.password.utf8.elementsEqual(specimen.utf8) == true else { return .altered }
    do {
      _ = try afterReset.run(for: user.id, of: users, at: Date(), in: db)
      return nil
    } catch let failure as AfterResetFailure {
      // Another user would take as long, and the site cannot write meanwhile.
      if failure.isTimeout { throw StoreOpenError.failingAfterReset("\(failure)") }
      return .afterReset("\(failure)")
    }
  }
}
