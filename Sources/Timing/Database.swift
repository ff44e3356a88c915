import Credentials
import Foundation
import PasswordReset
import SQLiteStore

/// The users that the requests name.
enum Database {
  private static let batch = 1000

  /// Makes the file with `count` users of each kind that the comparison needs.
  static func make(at path: String, for comparison: Comparison, count: Int) async throws {
    let store = try SQLiteStore(path: path)
    try store.migrate()
    switch comparison.second {
    case .ask: for subject in comparison.subjects { try await add(subject, subject == .inCooldown ? Subject.inCooldownCount : count, to: store) }
    case .check: try await add(.known, count, to: store)
    }
  }

  private static func add(_ subject: Subject, _ count: Int, to store: SQLiteStore) async throws {
    if subject == .unknown { return }
    let time = SQLiteStore.djangoTime(Date())
    // As long as one of the usual cost; what it hashes does not matter.
    let password = subject == .unusable ? UnusablePassword.make() : try PBKDF2PasswordHasher(iterations: 1).encode("unknown")
    for start in stride(from: 0, to: count, by: batch) {
      let additions = try await store.add(
        (start..<min(start + batch, count)).map { index in
          UserRow(
            id: subject == .known ? UserID(Subject.id(index, isKnown: true)) : nil, username: subject.username(index), email: subject.email(index),
            firstName: "Alice", lastName: "Example", password: password, isActive: subject != .inactive, lastLogin: time, dateJoined: time)
        })
      guard additions.allSatisfy({ if case .added = $0 { true } else { false } }) else { throw Failure(description: "users are missing") }
    }
  }
}
