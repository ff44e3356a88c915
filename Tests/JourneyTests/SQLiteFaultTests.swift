import Foundation
import PasswordReset
import SQLiteStore
import Testing

@testable import App

/// The service on a disk that fails at any one operation.
@Suite struct `A failing disk` {
  /// A database with two users, and the path of a link of one.
  private struct Template {
    let file: String
    let link: String
    /// Keeps the file.
    private let harness: Harness

    static let shared = Task { try await Template() }

    private init() async throws {
      let harness = try Harness()
      self.harness = harness
      file = harness.path
      try await harness.run { client in
        try await harness.addUser()
        try await harness.addUser("bob", email: "bob@example.com")
        #expect(try await client.requestReset(email: "alice@example.com").status == 202)
        _ = try await harness.link()
        try await harness.drained()
      }
      link = try await harness.link()
      try harness.execute("DELETE FROM password_reset_audit")
      // Afterwards all is in the one file.
      try harness.openQueue().inDatabase { db in try db.execute(sql: "PRAGMA wal_checkpoint(TRUNCATE)") }
    }
  }

  private func reset(_ flow: String, _ fault: DiskFault, _ point: Int) async throws -> FaultyReset {
    let template = try await Template.shared.value
    // A disk that fails for good may keep the pages of a commit that it could not sync.
    return FaultyReset(
      try FaultyDisk(fault, template: template.file), link: template.link, point: point, fault: fault, mayBeUnknown: fault.lasts, flow)
  }

  @Test(arguments: FaultPoints.roles, DiskFault.tried)
  func `loses no request that was accepted, and mails none that was refused`(role: ProcessRole, fault: DiskFault) async throws {
    try await FaultPoints.exhaust("SQLite, request, \(role), \(fault)", every: role == .web ? 1 : 9) { point in
      try await reset("request, \(role)", fault, point).request(role)
    }
  }

  @Test(arguments: DiskFault.tried)
  func `makes no link invalid that is checked`(fault: DiskFault) async throws {
    try await FaultPoints.exhaust("SQLite, check, \(fault)", every: 1) { point in try await reset("check", fault, point).check() }
  }

  @Test(arguments: FaultPoints.roles, DiskFault.tried)
  func `lets a link set one password, with its notice and webhook, or none`(role: ProcessRole, fault: DiskFault) async throws {
    try await FaultPoints.exhaust("SQLite, confirm, \(role), \(fault)", every: role == .web ? 1 : 9) { point in
      try await reset("confirm, \(role)", fault, point).confirm(role)
    }
  }

  @Test(arguments: DiskFault.tried)
  func `delays the start, or the jobs that wait for it`(fault: DiskFault) async throws {
    try await FaultPoints.exhaust("SQLite, start, \(fault)", every: 53) { point in try await reset("start", fault, point).start() }
  }

  @Test(arguments: [false, true], DiskFault.tried)
  func `interrupts a migration, which can be repeated`(isUpgrade: Bool, fault: DiskFault) async throws {
    let what = isUpgrade ? "upgrade" : "migrate"
    let expected = try schema(FaultyDisk(fault), isUpgrade)
    try await FaultPoints.exhaust("SQLite, \(what), \(fault)", every: 23) { point in
      let disk = try FaultyDisk(fault)
      let comment: Comment = "\(what), \(fault), point \(point)"
      if isUpgrade { try disk.execute(OldDatabase.statements) }
      disk.fail(at: point)
      var isMigrated = true
      do { try migrate(disk) } catch { isMigrated = false }
      disk.repair()
      let isReached = disk.failure != nil
      try await disk.closed()
      try disk.expectIntact(comment)
      if isMigrated { #expect(try contents(disk) == expected, comment) }
      #expect(throws: Never.self, comment) { try migrate(disk) }
      #expect(try contents(disk) == expected, comment)
      try disk.expectIntact(comment)
      return (isReached, isMigrated ? "done" : "refused")
    }
  }

  private func migrate(_ disk: FaultyDisk) throws(StoreOpenError) { try SQLiteStore(path: disk.harness.path).migrate() }

  /// Returns what a migration without a fault leaves behind.
  private func schema(_ disk: FaultyDisk, _ isUpgrade: Bool) throws -> String {
    if isUpgrade { try disk.execute(OldDatabase.statements) }
    try migrate(disk)
    return try contents(disk)
  }

  private func contents(_ disk: FaultyDisk) throws -> String {
    try disk.text("SELECT type, name, sql FROM sqlite_master ORDER BY type, name") + disk.text("SELECT * FROM password_reset_outbox ORDER BY id")
      + disk.text("SELECT * FROM grdb_migrations ORDER BY identifier")
  }
}
