import Foundation
import PasswordReset

/// What happens to a commit whose confirmation was lost
/// ([decision 22](../../docs/decisions/0022-resolve-commits-by-their-transaction-id.md)).
extension ReconnectingSession {
  /// For how long the server is asked about it.
  private static let resolutionTime = Duration.seconds(5)

  /// Finds out whether the transaction was committed.
  func resolve(_ transaction: PostgresSession.Transaction, _ failure: PostgresSession.Failure) -> Attempt {
    session = nil
    let outage = StoreError.unavailable(reason: failure.reason)
    let deadline = ContinuousClock.now + Self.resolutionTime
    search: while ContinuousClock.now < deadline {
      switch status(of: transaction) {
      case .committed:
        onOutage(nil)
        return .committed(transaction.results)
      case .aborted:
        onOutage(nil)
        return .lost(outage)
      case .inProgress: break
      // Requests that arrive now must not wait for the server to return.
      case .noConnection: onOutage(outage)
      case .unknown: break search
      }
      usleep(.random(in: 20_000...60_000))
    }
    session = nil
    return .outage(.unavailable(reason: "\(failure.reason), and whether the last transaction was committed is unknown"))
  }

  private enum TransactionStatus {
    case committed, aborted, inProgress, noConnection
    /// The server cannot say.
    case unknown
  }

  private func status(of transaction: PostgresSession.Transaction) -> TransactionStatus {
    do {
      let session = try connected()
      // After the promotion of a standby the same id may be another transaction's.
      guard transaction.timeline != nil, session.timeline == transaction.timeline else { return .unknown }
      switch try session.query("SELECT pg_xact_status($1::xid8)", transaction.id).first?.text(0) {
      case "committed": return .committed
      case "aborted": return .aborted
      case "in progress": return .inProgress
      default: return .unknown
      }
    } catch {
      session = nil
      return .noConnection
    }
  }
}
