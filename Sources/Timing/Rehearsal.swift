import Foundation
import PasswordReset

/// Shows, before anything is timed, that those whom the requests name are what they are taken for; and brings into cooldown those who are to be in it.
struct Rehearsal {
  /// How many of each kind are asked for: the series must not name them.
  static let count = 20
  private static let patience = Duration.seconds(60)

  private let server: Server
  private let connection: Connection

  /// - Parameter server: the service, its worker at work.
  init(on server: Server) {
    self.server = server
    connection = Connection(port: server.port, isAwake: false)
  }

  func run(_ comparison: Comparison) async throws {
    for subject in comparison.subjects {
      if subject == .inCooldown { try await ask(for: subject, Subject.inCooldownCount, expecting: .known) }
      try await ask(for: subject, Self.count, expecting: subject)
    }
  }

  /// - Parameter other: whose fate the requests are to share.
  private func ask(for subject: Subject, _ count: Int, expecting other: Subject) async throws {
    let before = try server.count(of: other.event)
    for index in 0..<count {
      _ = try connection.prepare(for: 1)
      _ = try connection.time(Side.ask(subject).request(index), status: Side.ask(subject).status)
    }
    let deadline = ContinuousClock.now + Self.patience
    while try server.count(of: other.event) < before + count {
      guard ContinuousClock.now < deadline else {
        throw Failure(description: "of \(count) requests for \(subject) addresses not all came to the end \(other.event.rawValue)")
      }
      try await Task.sleep(for: .milliseconds(50))
    }
  }
}
