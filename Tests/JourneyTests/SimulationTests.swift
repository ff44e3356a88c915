import Credentials
import Foundation
import GRDB
import PasswordReset
import SQLiteStore
import Simulation
import Testing

/// Runs the simulation for some seeds. `make simulate` runs more, and replays one.
@Suite struct `The simulation` {
  /// Schedules that run on the calling thread, which must not be one of Swift's.
  private func onThread<Result: Sendable>(_ work: @escaping @Sendable () -> Result) async -> Result {
    await withCheckedContinuation { continuation in Thread.detachNewThread { continuation.resume(returning: work()) } }
  }

  private func expectNoViolations(_ seeds: [UInt64]) async {
    let failed = await onThread { seeds.map { Simulation.run(seed: $0) }.filter { !$0.violations.isEmpty } }
    for result in failed.prefix(10) { Issue.record("make simulate SEEDS=\(result.seed) shows: \(result.violations)") }
  }

  @Test(arguments: 0..<2) func `keeps all promises in schedules with fixed seeds`(_ part: UInt64) async {
    await expectNoViolations(Array(part * 500 + 1...part * 500 + 500))
  }

  /// Of a million schedules, these showed faults: a late correction of times ended leases, or missed a time that was recorded after it; a late
  /// count of an email deleted those of others; leases ran out during a shutdown, or were too short for the next extension.
  @Test func `keeps all promises in schedules that once showed a fault`() async {
    await expectNoViolations([
      25786, 30857, 35040, 35870, 45998, 48713, 59884, 60211, 62170, 65918, 66573, 77972, 328013, 592410, 704987, 725975, 748712, 825806, 835319,
      966519,
    ])
  }

  @Test func `keeps all promises in schedules with random seeds`() async {
    await expectNoViolations((0..<200).map { _ in .random(in: .min ... .max) })
  }

  @Test func `does the same for the same seed`() async {
    for seed in UInt64(1)...40 {
      let (first, second) = await onThread { (Simulation.run(seed: seed, isTraced: true), Simulation.run(seed: seed, isTraced: true)) }
      #expect(first.trace == second.trace, "seed \(seed)")
      #expect(first.trace.count > 20)
    }
  }

  @Test(arguments: MemoryStore.Defect.allCases) func `finds each fault that is planted in the store`(_ defect: MemoryStore.Defect) async {
    let found = await onThread { (1...1000).first { !Simulation.run(seed: $0, on: .memory(defect: defect)).violations.isEmpty } }
    #expect(found != nil)
  }

  @Test func `keeps all promises on SQLite`() async throws {
    let count = ProcessInfo.processInfo.environment["SIMULATED_SQLITE_SCHEDULES"].flatMap { UInt64($0) } ?? 30
    let site = try SQLiteSite()
    let failed = await onThread { (1...count).map { Simulation.run(seed: $0, on: site.empty()) }.filter { !$0.violations.isEmpty } }
    for result in failed.prefix(10) { Issue.record("seed \(result.seed) on SQLite: \(result.violations)") }
  }
}

/// A database for one schedule after another.
private final class SQLiteSite: Sendable {
  private let folder: URL
  private let store: SQLiteStore
  private let queue: DatabaseQueue

  init() throws {
    // In memory if possible, because only the commits matter here, and not how long the disk takes.
    let memory = URL(fileURLWithPath: "/dev/shm")
    let parent = FileManager.default.isWritableFile(atPath: memory.path) ? memory : FileManager.default.temporaryDirectory
    folder = parent.appendingPathComponent("password-reset-simulation-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    let path = folder.appendingPathComponent("test.sqlite3").path
    store = try SQLiteStore(path: path)
    try store.migrate()
    var configuration = Configuration()
    configuration.busyMode = .timeout(30)
    queue = try DatabaseQueue(path: path, configuration: configuration)
  }

  deinit { try? FileManager.default.removeItem(at: folder) }

  /// Returns the store without rows.
  func empty() -> SimulatedStore {
    do {
      try queue.write { db in
        let tables = ["outbox", "mail_window", "audit", "cancellation", "password_history"].map { "password_reset_" + $0 } + ["auth_user"]
        for table in tables { try db.execute(sql: "DELETE FROM \(table)") }
      }
    } catch {
      Issue.record(error)
    }
    return .database(
      store,
      changeAddress: { [queue] id, address in
        try queue.write { db in try db.execute(sql: "UPDATE auth_user SET email = ? WHERE id = ?", arguments: [address, id.text]) }
      },
      deleteUser: { [queue] id in try queue.write { db in try db.execute(sql: "DELETE FROM auth_user WHERE id = ?", arguments: [id.text]) } })
  }
}
