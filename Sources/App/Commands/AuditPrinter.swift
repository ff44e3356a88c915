import Foundation
import PasswordReset
import UnixSignals

/// Prints the latest lines of the audit, and then new ones as they are recorded.
struct AuditPrinter: Sendable {
  private static let interval = Duration.seconds(1)
  /// How often a failure that lasts is reported.
  private static let reportInterval = Duration.seconds(60)

  let store: any Store
  let filter: AuditFilter
  /// Returns the text of a line.
  let line: @Sendable (AuditRow) throws -> String

  /// Runs until SIGINT, SIGTERM, or the end of the program that reads standard output.
  /// - Parameter limit: how many of the latest lines to print first.
  func run(limit: Int) async throws {
    // `print` must not hold the first lines back.
    fflush(nil)
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { for await _ in await UnixSignalsSequence(trapping: .sigint, .sigterm) { return } }
      group.addTask { try await follow(limit: limit) }
      try await group.next()
      group.cancelAll()
    }
  }

  private func follow(limit: Int) async throws {
    var follower = try await AuditFollower(store)
    guard try write(await store.auditRows(filter, limit: limit).filter(follower.isKnown)) else { return }
    var nextReport = ContinuousClock.now
    while !Task.isCancelled, hasReader {
      do {
        let rows = try await follower.next()
        guard try write(rows.filter(filter.matches)) else { return }
        nextReport = .now
        if !rows.isEmpty { continue }
      } catch let error as StoreError {
        if nextReport <= .now {
          printError("Cannot read the audit, and tries again every second: \(error)")
          nextReport = .now + Self.reportInterval
        }
      }
      // The end of this command cancels the task, which ends the wait.
      try? await Task.sleep(for: Self.interval)
    }
  }

  /// Writes lines without a buffer. Returns `false` if no program reads them any more.
  private func write(_ rows: [AuditRow]) throws -> Bool {
    guard !rows.isEmpty else { return true }
    let text = try rows.map { try line($0) + "\n" }.joined()
    do {
      try FileHandle.standardOutput.write(contentsOf: Data(text.utf8))
      return true
    } catch  where !hasReader {
      return false
    }
  }

  /// Whether standard output is still open at its other end, which otherwise only the next line would show.
  private var hasReader: Bool {
    var descriptor = pollfd(fd: STDOUT_FILENO, events: 0, revents: 0)
    return poll(&descriptor, 1, 0) < 1 || descriptor.revents & Int16(POLLERR) == 0
  }
}
