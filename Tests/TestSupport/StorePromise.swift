import Credentials
public import Foundation
public import PasswordReset
public import Testing

/// A promise of one of the ports. Every store that implements the port must keep it.
///
/// The promises use only the ports, so that a second store can prove with them that it behaves like the first. What a
/// port cannot express, such as damaged rows, a store tests on its own.
public struct StorePromise: Sendable, CustomTestStringConvertible {
  public let testDescription: String
  /// Checks the promise on an empty store.
  public let check: @Sendable (any Store) async throws -> Void

  init(_ name: String, _ check: @escaping @Sendable (any Store) async throws -> Void) {
    testDescription = name
    self.check = check
  }
}

/// A whole second, because a store may round times to milliseconds.
let start = Date(timeIntervalSince1970: 1_800_000_000)

extension UserDirectory where Self: UserStore {
  /// Adds a user with the password `x` and an address of the same name.
  func addUser(_ username: String, email: String? = nil, lastLogin: String? = nil) async throws -> User {
    var row = UserRow(
      username: username, email: email ?? "\(username)@example.com", firstName: "A", lastName: "B", password: "x",
      dateJoined: DjangoTime.text(of: start))
    row.lastLogin = lastLogin
    guard case .added(let id) = try #require(await add([row]).first) else { throw UserIsMissing() }
    return try #require(await user(id: id))
  }

  /// Makes a user active or inactive, and returns whether there is one with this key.
  func setActive(_ isActive: Bool, _ id: UserID) async throws -> Bool {
    try await update(id, try #require(userMapping.assignments(isActive: isActive)), runsAfterReset: false)
  }
}

private struct UserIsMissing: Error {}

extension NewJob {
  /// A reset request for `address` that is due at once unless said otherwise.
  public static func request(
    _ address: String = "a@example.com", requestID: String = "r", at now: Date = Date(), due: Date? = nil, owner: String? = nil
  ) -> NewJob {
    NewJob(.resetRequest(.email(address)), locale: "en", requestID: requestID, createdAt: now, due: due ?? now, owner: owner)
  }
}

extension OutboxStore {
  /// Commits how a job ended, without jobs that follow.
  public func finish(_ job: Job, owner: String, _ outcome: JobOutcome, at now: Date) async throws(StoreError) -> Bool {
    try await finish(job, owner: owner, outcome, adding: [], at: now)
  }
}
