import Foundation
import PasswordReset

/// Checks before the measurement that accounts of each kind are treated as expected, and uses up the email limit of the accounts in cooldown.
struct WarmUp {
  /// The number of requests per kind. The measurement must not use their indices.
  static let count = 20
  private static let timeout = Duration.seconds(60)

  private let server: ServerProcess
  private let connection: Connection

  /// - Parameter server: the service with a running worker.
  init(on server: ServerProcess) {
    self.server = server
    connection = Connection(port: server.port, pollsForResponse: false)
  }

  func run(_ comparison: Comparison) async throws {
    for kind in comparison.accountKinds {
      if kind == .inCooldown { try await request(kind, AccountKind.inCooldownCount, expecting: AccountKind.known.event) }
      try await request(kind, Self.count, expecting: kind.event)
    }
  }

  /// Requests `count` resets and waits until each has caused `event`.
  private func request(_ kind: AccountKind, _ count: Int, expecting event: AuditEvent) async throws {
    let requestClass = RequestClass.resetRequest(kind)
    let before = try server.count(of: event)
    for index in 0..<count {
      _ = try connection.prepare(for: 1)
      _ = try connection.time(requestClass.request(index), status: requestClass.status)
    }
    let deadline = ContinuousClock.now + Self.timeout
    while try server.count(of: event) < before + count {
      guard ContinuousClock.now < deadline else {
        throw TimingError(description: "not all of \(count) requests for \(kind) accounts caused the audit event \(event.rawValue)")
      }
      try await Task.sleep(for: .milliseconds(50))
    }
  }
}
