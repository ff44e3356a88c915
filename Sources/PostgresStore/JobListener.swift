import CLibPQ
import Foundation
import Synchronization

/// Listens for the notifications of instances that add jobs, on a separate connection and thread.
///
/// The server delivers them when the transaction with the jobs is committed. Without a connection there are none, and the
/// worker only polls.
final class JobListener: Sendable {
  /// The statement that tells all instances of new jobs.
  static let notify = Statement("password_reset_notify", "SELECT pg_notify('password_reset_jobs', '')", sharing: .once)

  /// How often the thread looks whether to stop, and the pause before it connects again.
  private static let pause = Duration.seconds(1)

  private let address: PostgresAddress
  private let isStopped = Atomic(false)

  private init(_ address: PostgresAddress) { self.address = address }

  /// Returns a value for new jobs, and for each new connection, because notifications may have been missed before it.
  static func notifications(_ address: PostgresAddress) -> AsyncStream<Void> {
    let (stream, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    let listener = JobListener(address)
    continuation.onTermination = { _ in listener.isStopped.store(true, ordering: .relaxed) }
    Thread.detachNewThread { listener.run(continuation) }
    return stream
  }

  private func run(_ continuation: AsyncStream<Void>.Continuation) {
    while !isStopped.load(ordering: .relaxed) {
      // The other connections report why there is none; this one only tries again.
      if let session = try? PostgresSession(address), (try? session.query("LISTEN password_reset_jobs")) != nil {
        continuation.yield()
        listen(session, continuation)
      }
      Thread.sleep(forTimeInterval: Self.pause / .seconds(1))
    }
  }

  /// Returns when the connection is lost.
  private func listen(_ session: PostgresSession, _ continuation: AsyncStream<Void>.Continuation) {
    while !isStopped.load(ordering: .relaxed) {
      guard PostgresSession.wait(session.connection, for: POLLIN, until: .now + Self.pause) else { continue }
      guard PQconsumeInput(session.connection) == 1 else { return }
      while let notification = PQnotifies(session.connection) {
        PQfreemem(notification)
        continuation.yield()
      }
    }
  }
}
