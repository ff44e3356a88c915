import CFaultyDisk
import Foundation
import GRDB
import Testing

/// Which operation of the disk fails.
struct DiskFault: FaultKind {
  /// Whether all later operations fail as well.
  var lasts = false
  /// Whether a write that fails has written half of its bytes.
  var tears = false

  static let tried =
    FaultPoints.areAllTried
    ? [false, true].flatMap { lasts in [false, true].map { DiskFault(lasts: lasts, tears: $0) } } : [DiskFault(tears: true), DiskFault(lasts: true)]

  var description: String { "\(lasts ? "lasting" : "single") fault, \(tears ? "torn" : "refused") writes" }
}

/// A SQLite database in the folder of a harness, on a disk that fails as a test demands.
struct FaultyDisk: FaultyDatabase {
  let harness: Harness
  let tables = "password_reset_"
  private let fault: DiskFault
  private let disk: Handle

  /// It is `@unchecked Sendable` because Swift knows nothing about the pointer. It is safe because the disk has a lock.
  private struct Handle: @unchecked Sendable {
    let pointer: OpaquePointer
  }

  /// - Parameter template: the file to start with, or `nil` to start without a database.
  init(_ fault: DiskFault, template: String? = nil) throws {
    harness = try Harness()
    self.fault = fault
    disk = Handle(pointer: try #require(faulty_disk_make((harness.path as NSString).deletingLastPathComponent)))
    if let template { try FileManager.default.copyItem(atPath: template, toPath: harness.path) }
  }

  var settings: [String: String] { [:] }

  var failure: String? { faulty_disk_failure(disk.pointer).map { String(cString: $0) } }

  func fail(at point: Int) { faulty_disk_fail(disk.pointer, CInt(point), fault.lasts, fault.tears) }

  func repair() { faulty_disk_repair(disk.pointer) }

  func closed() async throws { try await eventually("the database to be closed") { faulty_disk_open_files(disk.pointer) == 0 } }

  func text(_ query: String) throws -> String {
    let rows = try queue().read { db in try Row.fetchAll(db, sql: query) }
    return rows.map { row in row.databaseValues.map { $0.storage.value.map { "\($0)" } ?? "" }.joined(separator: "|") }.joined(separator: "\n")
  }

  func execute(_ statements: String) throws { try queue().write { db in try db.execute(sql: statements) } }

  func expectIntact(_ comment: Comment) throws { #expect(try text("PRAGMA integrity_check") == "ok", comment) }

  /// Opens the file with SQLite's own VFS, so that the test's operations are not counted and do not fail.
  private func queue() throws -> DatabaseQueue {
    var configuration = Configuration()
    configuration.busyMode = .timeout(30)
    return try DatabaseQueue(path: "file:\(harness.path)?vfs=unix", configuration: configuration)
  }
}
