import CLibPQ
import PasswordReset

// A pooler that gives each transaction another connection to the server loses prepared statements and settings, among them
// `synchronous_commit`. It also gives our settings to other programs.
extension PostgresSession {
  /// For how many seconds a second connection may wait. A pooler that has no connection left for it shares none.
  private static let patience = 2
  /// Another client may use the pooler at the same moment.
  private static let rounds = 3

  /// Throws if a pooler shares connections to the server between transactions. This must be known before a setting is
  /// changed.
  func checkPooler() throws(StoreOpenError) {
    // A pooler makes up the process id with which its clients cancel a query.
    let first = try processID()
    guard first != Int(PQbackendPID(connection)) else { return }
    var (ours, others): (Set<Int>, Set<Int>) = ([first], [])
    guard let other = try? PostgresSession(forComparison: address) else { return }
    for _ in 0..<Self.rounds {
      guard let id = try? other.processID(seconds: Self.patience) else { return }
      others.insert(id)
      ours.insert(try processID())
      // As long as this session is open, no other one has its process.
      guard ours.count == 1, others.count == 1, ours.isDisjoint(with: others) else { throw .sharedConnections }
    }
  }

  /// Returns the number of the server's process that runs this statement.
  private func processID(seconds: Int = 8) throws(StoreOpenError) -> Int {
    Int(try query("SELECT pg_backend_pid()", seconds: seconds).first?.integer(0) ?? 0)
  }
}
