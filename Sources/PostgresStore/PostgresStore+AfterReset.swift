import Credentials
import Foundation
import PasswordReset

// What follows a change of a user in its transaction, and depends on its result.
extension PostgresStore {
  /// Runs the deferred checks of foreign keys, so that the error is known to be one of `AFTER_RESET`.
  private static let checkConstraints = Statement("password_reset_constraints", "SET CONSTRAINTS ALL IMMEDIATE")

  /// Returns what follows a change of a user, if the change was made.
  /// - Parameter audit: returns the command that records it, from what the audit keeps about the entries.
  func afterReset(
    for id: UserID, at now: Date, isMade: @escaping @Sendable ([Rows]) -> Bool, audit: (@Sendable (String) -> Command)? = nil
  ) -> FollowUp? {
    guard !users.afterReset.isEmpty else { return nil }
    let (statements, key) = (users.afterReset, users.keyText(id))
    let count = statements.afterReset.entries.count
    return FollowUp { results in
      // The first results are those of the change, and then come those of each entry.
      guard isMade(results[0]) else { return nil }
      let next = results.count - 1
      if next < count { return FollowUp.Step(name: "entry \(next + 1)", commands: statements.commands(next, for: key, at: now)) }
      if next == count { return FollowUp.Step(name: "the entries together", commands: [Command(Self.checkConstraints)]) }
      guard next == count + 1, let audit else { return nil }
      let rows = results[1...count].map { $0.reduce(0) { $0 + $1.changes } }
      return FollowUp.Step(name: nil, commands: [audit(statements.afterReset.detail(rows: rows))])
    }
  }
}

/// The commands that a transaction runs after its first ones, each step when the results of the one before are known.
struct FollowUp: Sendable {
  struct Step: Sendable {
    /// What an error of the commands is reported as one of `AFTER_RESET` for, or `nil` if they are our own.
    var name: String?
    var commands: [Command]
  }

  /// Returns the next step, or `nil` if the transaction is complete.
  /// - Parameter results: the rows of each command of each step until now.
  var next: @Sendable (_ results: [[Rows]]) -> Step?
}
