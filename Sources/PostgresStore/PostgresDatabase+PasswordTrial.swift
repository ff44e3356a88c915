import Foundation
public import PasswordReset

extension PostgresDatabase {
  public func tryPasswordChange(to specimen: String) throws(StoreOpenError) {
    let session = try PostgresSession(address)
    try UserTableCheck.checkZone(loginZone, session)
    guard let users = try UserTableCheck.statements(of: users, loginZone: loginZone, session) else { return }
    do {
      if let fault = try PasswordTrial(users: users, specimen: specimen, session: session).fault() {
        throw StoreOpenError.unchangeablePassword(users.mapping, fault)
      }
    } catch let error as StoreOpenError {
      throw error
    } catch let error as SQLError where error.isOfTrial {
      throw .unusableUserTable(users.mapping.table, faults: ["\(error)"])
    } catch is SQLError {
      // A lock, a missing privilege or a standby. The start itself reports those that matter.
      return
    } catch {
      throw StoreOpenError(error)
    }
  }
}

extension SQLError {
  /// Whether every other attempt would fail as well.
  fileprivate var isOfTrial: Bool { isOfOneRequest && state != "42501" && !isConflict }

  /// Whether an entry of `AFTER_RESET` would fail in every other attempt as well: for any reason except a conflict, a lock of the site, a
  /// standby, or a server that is ending or has no room.
  fileprivate var isOfEntry: Bool { !isConflict && !isReadOnly && !isOfDisk && state != "55P03" && !["08", "57P"].contains(where: state.hasPrefix) }
}

/// Changes passwords, and rolls that back.
private struct PasswordTrial {
  let users: UserStatements
  let specimen: String
  let session: PostgresSession

  /// Returns why none of some users can get a new password, or `nil` if one can, or if there is none to try.
  func fault() throws -> PasswordChangeFault? {
    let candidates = try session.rows(of: Command(users.someUsers)).map { PostgresStore.user($0, users) }.compactMap(\.self).filter(\.isActive)
    // A trial must not wait long for a lock of the site.
    _ = try run("SELECT set_config('lock_timeout', '1s', false)")
    var first: PasswordChangeFault?
    for user in candidates {
      guard let fault = try fault(changing: user) else { return nil }
      first = first ?? fault
    }
    return first
  }

  private func fault(changing user: User) throws -> PasswordChangeFault? {
    if let fault = try rollingBack({ try effect(on: user) }) { return fault }
    // Another transaction, because the first one has made its deferred constraints immediate.
    return users.afterReset.isEmpty ? nil : try rollingBack { try afterResetFault(of: user) }
  }

  private func rollingBack(_ work: () throws -> PasswordChangeFault?) throws -> PasswordChangeFault? {
    try run("BEGIN")
    let result = Result { try work() }
    try run("ROLLBACK")
    do {
      return try result.get()
    } catch let error as SQLError where error.isOfTrial {
      return .refused("\(error)")
    }
  }

  private func change(_ user: User) throws -> Bool {
    let change = Command(users.tryPassword, specimen, users.keyText(user.id), user.password, user.email, user.lastLogin)
    return try session.rows(of: change).first?.integer(0) == 1
  }

  private func effect(on user: User) throws -> PasswordChangeFault? {
    guard try change(user) else { return .ineffective }
    // Runs the triggers that otherwise wait for the commit.
    try run("SET CONSTRAINTS ALL IMMEDIATE")
    let stored = try session.rows(of: Command(users.userOfTrial, users.keyText(user.id))).map { PostgresStore.user($0, users) }
    return stored.compactMap(\.self).first { $0.id == user.id }?.password.utf8.elementsEqual(specimen.utf8) == true ? nil : .altered
  }

  private func afterResetFault(of user: User) throws -> PasswordChangeFault? {
    guard try change(user) else { return .ineffective }
    for entry in users.afterReset.afterReset.entries.indices {
      do {
        for command in users.afterReset.commands(entry, for: users.keyText(user.id), at: Date()) { _ = try session.rows(of: command) }
      } catch let error as SQLError where error.isOfEntry {
        return .afterReset("entry \(entry + 1): \(error)")
      }
    }
    do { try run("SET CONSTRAINTS ALL IMMEDIATE") } catch let error as SQLError where error.isOfEntry {
      return .afterReset("the entries together: \(error)")
    }
    return nil
  }

  private func run(_ sql: String) throws { _ = try session.rows(of: Command(Statement(nil, sql))) }
}
