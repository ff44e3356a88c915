import CLibPQ
import Foundation
import PasswordReset
import Synchronization

/// Listens for the notifications of instances that add jobs, on a separate connection and thread.
///
/// The server delivers them when the transaction with the jobs is committed. Without a connection there are none, and the
/// worker only polls.
final class JobListener: Sendable {
  private typealias Continuations = [JobChannel: AsyncStream<Void>.Continuation]

  /// Returns the command that tells other instances of new jobs. An instance ignores those of its origin.
  static func notify(_ channel: JobChannel, origin: String) -> Command {
    Command(
      Statement("password_reset_notify_\(channel)", "SELECT pg_notify('password_reset_jobs', $1::text)", sharing: .once), "\(channel) \(origin)")
  }

  /// How often the thread looks whether to stop, and the pause before it connects again.
  private static let pause = Duration.seconds(1)

  private let address: PostgresAddress
  private let origin: String
  /// How many streams someone still waits for. Without any, the thread ends.
  private let openStreams = Atomic(JobChannel.allCases.count)

  private init(_ address: PostgresAddress, origin: String) { (self.address, self.origin) = (address, origin) }

  /// Returns a stream for each channel with a value for new jobs, and for each new connection, because notifications may have been missed
  /// before it.
  /// - Parameter origin: the origin of this instance's notifications, which it ignores: it knows its jobs.
  static func notifications(_ address: PostgresAddress, origin: String) -> [JobChannel: AsyncStream<Void>] {
    let listener = JobListener(address, origin: origin)
    var (streams, continuations) = ([JobChannel: AsyncStream<Void>](), Continuations())
    for channel in JobChannel.allCases {
      let (stream, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
      continuation.onTermination = { _ in listener.openStreams.subtract(1, ordering: .relaxed) }
      (streams[channel], continuations[channel]) = (stream, continuation)
    }
    Thread.detachNewThread { [continuations] in listener.run(continuations) }
    return streams
  }

  private func run(_ continuations: Continuations) {
    while openStreams.load(ordering: .relaxed) > 0 {
      // The other connections report why there is none; this one only tries again.
      if let session = try? PostgresSession(address), (try? session.query("LISTEN password_reset_jobs")) != nil {
        for continuation in continuations.values { continuation.yield() }
        listen(session, continuations)
      }
      Thread.sleep(forTimeInterval: Self.pause / .seconds(1))
    }
  }

  /// Returns when the connection is lost.
  private func listen(_ session: PostgresSession, _ continuations: Continuations) {
    while openStreams.load(ordering: .relaxed) > 0 {
      guard PostgresSession.wait(session.connection, for: POLLIN, until: .now + Self.pause) else { continue }
      guard PQconsumeInput(session.connection) == 1 else { return }
      while let notification = PQnotifies(session.connection) {
        let payload = notification.pointee.extra.map { String(cString: $0) } ?? ""
        PQfreemem(notification)
        for channel in channels(in: payload) { continuations[channel]?.yield() }
      }
    }
  }

  /// Returns the channels in which another instance added jobs. A release that names none may have added them in any.
  private func channels(in payload: String) -> [JobChannel] {
    let parts = payload.split(separator: " ")
    guard parts.count == 2 else { return JobChannel.allCases }
    return parts[1] == origin ? [] : [JobChannel(rawValue: String(parts[0]))].compactMap(\.self)
  }
}
