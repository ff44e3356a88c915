import Credentials
import Foundation
import PasswordReset

/// The users that the requests name.
enum TestUsers {
  private static let batch = 1000

  /// Adds the tables and `count` users of each kind that the comparison needs.
  static func add(to database: TestDatabase, for comparison: Comparison, count: Int) async throws {
    let store = try TestDatabase.open(database.url)
    try store.migrate()
    switch comparison.second {
    case .resetRequest:
      for kind in comparison.accountKinds { try await add(kind, kind == .inCooldown ? AccountKind.inCooldownCount : count, to: store) }
    case .linkCheck: try await add(.known, count, to: store)
    }
    try database.analyze()
  }

  private static func add(_ kind: AccountKind, _ count: Int, to store: any Store) async throws {
    if kind == .unknown { return }
    let time = DjangoTime.text(of: Date())
    // The hash has the usual length. Its cost does not matter, because no request hashes a password.
    let password = kind == .unusable ? UnusablePassword.make() : try PBKDF2PasswordHasher(iterations: 1).encode("unknown")
    for start in stride(from: 0, to: count, by: batch) {
      let additions = try await store.add(
        (start..<min(start + batch, count)).map { index in
          var row = UserRow(
            id: kind == .known ? TestKey.current.id(index, isKnown: true) : nil, username: kind.username(index), email: kind.email(index),
            firstName: "Alice", lastName: "Example", password: password, dateJoined: time)
          row.isActive = kind != .inactive
          row.lastLogin = time
          return row
        })
      guard additions.allSatisfy({ if case .added = $0 { true } else { false } }) else {
        throw TimingError(description: "the store did not add all test users")
      }
    }
  }
}
